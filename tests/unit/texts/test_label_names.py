from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workflow_scripts.lib.artifacts import write_table
from workflow_scripts.lib.concepts.quality import true_names_of
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.texts.label_names import label_names_of, naming
from workflow_scripts.mine_ground_truth import true_concepts

WORDNET = Path("/usr/share/wordnet/data.noun")
OPTIONS = {"label": "label", "name": "name", "coarse": False}


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_tables_of_every_kind(tmp_path):
    expected = {"0": "great white shark", "01": "duck, mandarin", "crane bird": "crane"}
    rows = [("0", "Great_White  Shark"), ("01", "Duck, Mandarin"), ("Crane_Bird", "crane")]
    comma = "\n".join(f'{label},"{name}",x' for label, name in rows)
    assert label_names_of(write(tmp_path / "a.csv", f"label,name,other\n{comma}\n")) == expected
    tab = "\n".join(f"{name}\t{label}" for label, name in rows)
    path = write(tmp_path / "a.tsv", f"class\twnid\n{tab}\n")
    assert label_names_of(path, label="wnid", name="class") == expected
    pq.write_table(pa.table({"label": [7, 12], "name": ["Fox", "owl"]}), tmp_path / "a.parquet")
    assert label_names_of(tmp_path / "a.parquet") == {"7": "fox", "12": "owl"}


def test_the_first_name_of_a_synset_mapping(tmp_path):
    lines = "n01440764 tench, Tinca tinca\n\nn02012849 crane\nn03126707 crane\n"
    assert label_names_of(write(tmp_path / "LOC_synset_mapping.txt", lines)) == {
        "n01440764": "tench", "n02012849": "crane", "n03126707": "crane",
    }  # fmt: skip


def test_the_first_words_of_wordnet(tmp_path):
    lines = "  1 licence\n00000003 05 n 02 Domestic_Dog 0 dog 0 000 | a | b\n"
    path = write(tmp_path / "data.noun", lines)
    assert label_names_of(path) == {"n00000003": "domestic dog"}
    with pytest.raises(InputError, match=r"data.noun is no WordNet 3 database file"):
        label_names_of(write(tmp_path / "data.noun", "00000003 05\n"))


@pytest.mark.skipif(not WORDNET.is_file(), reason="no WordNet on this machine")
def test_imagenets_ids_in_the_real_wordnet():
    names = label_names_of(WORDNET)
    assert names["n01440764"] == "tench"
    # Two classes of ImageNet-1K, one name.
    assert names["n02012849"] == names["n03126707"] == "crane"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "label,title\n0,fox\n", r"a.csv, line 1: no column 'name' but \['label', 'title"),
        ("a.csv", "label,name\n0,fox\n1,\n", "a.csv, line 3: a label and its name are needed"),
        (
            "a.csv",
            "label,name\n0,fox\n0,owl\n",
            "a.csv, line 3: the label '0' has two names",
        ),
        ("a.csv", "label,name\n", "a.csv names no labels"),
        ("a.txt", "0 fox\n", "a.txt, line 1: .*'n01440764 tench, Tinca tinca'"),
        ("a.json", "{}", "a.json must end in .txt"),
    ],
)
def test_bad_tables_are_named_with_the_line(tmp_path, name, text, message):
    with pytest.raises(InputError, match=message):
        label_names_of(write(tmp_path / name, text))


@pytest.mark.parametrize("name", ["a.txt", "data.noun"])
@pytest.mark.parametrize("columns", [{"label": "wnid"}, {"name": "class"}])
def test_columns_need_a_table(tmp_path, name, columns):
    path = write(tmp_path / name, "n01440764 tench\n")
    with pytest.raises(InputError, match=rf"{name} is no table .*leave label and name out"):
        label_names_of(path, **columns)


def test_one_name_twice_is_no_contradiction(tmp_path):
    path = write(tmp_path / "a.csv", "label,name\nA_1,Fox\na 1,fox\n")
    assert label_names_of(path) == {"a 1": "fox"}


def test_naming_of_several_image_sets(tmp_path):
    """Sets without a table keep their labels, those of one table need a row per label."""
    first = write(tmp_path / "first.csv", "label,name\n0,Red_Fox\n")
    second = write(tmp_path / "second.csv", "id,name\n0,owl\n")
    blocks = [None, OPTIONS, None, OPTIONS | {"label": "id", "coarse": True}]
    plain, strict, also_plain, coarse = naming([str(first), str(second)], blocks)
    assert [plain("Big_Cat"), also_plain("0")] == ["big cat", "0"]
    assert strict("0") == "red fox"
    with pytest.raises(InputError, match=r"first.csv has no name for the label '1'"):
        strict("1")
    assert [coarse("0"), coarse("Some_Bird")] == ["owl", "some bird"]


def test_the_oracle_compares_names(tmp_path):
    """Labels of two shards; the two cranes are one concept."""
    table = write(tmp_path / "a.csv", "label,name\n0,fox\n1,crane\n2,Crane\n3,not in the corpus\n")
    index = [tmp_path / "0.parquet", tmp_path / "1.parquet"]
    for path, labels in zip(index, (["0", "1", None], ["2", "3", "1"]), strict=True):
        write_table(path, {"label": pa.array(labels, pa.string())})
    corpus = pa.array(["crane", "0", "owl", "fox"])
    (name_of,) = naming([table], [OPTIONS])
    assert true_concepts(index, corpus, name_of) == [0, 3]
    assert true_names_of(index, name_of) == {"fox", "crane", "not in the corpus"}
    (plain,) = naming([], [None])
    assert true_concepts(index, corpus, plain) == [1]
    with pytest.raises(InputError, match=r"none of the 4 class names .* label_names"):
        true_concepts(index, pa.array(["owl"]), plain)
