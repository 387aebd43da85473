import unicodedata

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workflow_scripts.lib.corpora import apply_prompts, normalise, read_corpus
from workflow_scripts.lib.errors import InputError


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def rows(table):
    return [tuple(row.values()) for row in table.to_pylist()]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Red_Fox", "red fox"),
        ("  great \t white__shark\u00a0", "great white shark"),
        (unicodedata.normalize("NFD", "CAFÉ"), unicodedata.normalize("NFC", "café")),
        ("well-known", "well-known"),
        ("__", ""),
    ],
)
def test_normalise(name, expected):
    assert normalise(name) == expected
    assert normalise(normalise(name)) == expected


def test_text_files_keep_their_order_and_the_first_of_duplicates(tmp_path):
    first = write(tmp_path / "first.txt", "\ufeffzebra\r\n\r\nRed_Fox\n  \nzebra\n")
    second = write(tmp_path / "second.txt", "red  fox\nant\n")
    table = read_corpus([first, second])
    assert table.column_names == ["concept", "pos", "source"]
    assert rows(table) == [
        ("zebra", "noun", "first"),
        ("red fox", "noun", "first"),
        ("ant", "noun", "second"),
    ]
    assert rows(read_corpus([str(second)], pos="adjective"))[0] == (
        "red fox",
        "adjective",
        "second",
    )


def test_csv_and_tsv(tmp_path):
    comma = write(
        tmp_path / "a.csv", 'id,concept,pos\r\n1,"Duck, Mandarin",noun\r\n2,shiny,adjective\r\n'
    )
    tab = write(tmp_path / "b.tsv", "concept\tother\nold barn\tx\n\ty\n")
    assert rows(read_corpus([comma, tab])) == [
        ("duck, mandarin", "noun", "a"),
        ("shiny", "adjective", "a"),
        ("old barn", "noun", "b"),
    ]


def test_parquet_with_missing_values_and_dictionaries(tmp_path):
    names = pa.array(["Fox", None, "Tall"]).dictionary_encode()
    pq.write_table(
        pa.table({"concept": names, "pos": [None, "noun", "adjective"]}), tmp_path / "x.parquet"
    )
    assert rows(read_corpus([tmp_path / "x.parquet"])) == [
        ("fox", "noun", "x"),
        ("tall", "adjective", "x"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.txt", b"fine\nalso fine\ncaf\xe9\n", "x.txt, line 3: not UTF-8"),
        ("x.txt", "fox\n".encode("utf-16"), "x.txt, line 1: not UTF-8"),
        ("x.txt", "\n  \n__\n", "x.txt holds no concepts"),
        ("x.csv", "concept\n", "x.csv holds no concepts"),
        ("x.csv", "", "x.csv, line 1: no column 'concept'"),
        ("x.csv", "name,pos\nfox,noun\n", "x.csv, line 1: no column 'concept'"),
        ("x.csv", 'concept\nfox\n"never closed\nowl\n', "x.csv, line 3: "),
        ("x.parquet", "concept\nfox\n", "x.parquet is not a readable Parquet"),
        ("x.doc", "fox\n", "must end in .txt"),
    ],
)
def test_bad_files_are_named_with_the_line(tmp_path, name, content, message):
    with pytest.raises(InputError, match=message):
        read_corpus([write(tmp_path / name, content)])


def test_missing_file_and_bad_parquet_columns(tmp_path):
    with pytest.raises(InputError, match=r"nowhere.txt does not exist"):
        read_corpus([tmp_path / "nowhere.txt"])
    pq.write_table(pa.table({"name": ["fox"]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a.parquet has no column 'concept'"):
        read_corpus([tmp_path / "a.parquet"])
    pq.write_table(pa.table({"concept": [["fox"], ["owl"]]}), tmp_path / "b.parquet")
    with pytest.raises(InputError, match=r"b.parquet: columns concept and pos must be text"):
        read_corpus([tmp_path / "b.parquet"])


def test_apply_prompts_by_part_of_speech():
    prompts = {"default": ["a {}.", "the {}."], "adjective": ["a {} photo {{"]}
    assert apply_prompts(["fox", "red", "{}"], ["noun", "adjective", "verb"], prompts) == [
        ["a fox.", "the fox."],
        ["a red photo {{"],
        ["a {}.", "the {}."],
    ]


@pytest.mark.parametrize("template", ["a photo", "{} and {}", "a { }"])
def test_apply_prompts_refuses_bad_templates(template):
    with pytest.raises(InputError, match=r"prompts.noun: .* exactly one"):
        apply_prompts(["fox"], ["noun"], {"noun": [template]})


def test_apply_prompts_refuses_a_part_of_speech_without_templates():
    with pytest.raises(InputError, match="no templates for 'verb'"):
        apply_prompts(["run"], ["verb"], {"noun": ["a {}"]})
