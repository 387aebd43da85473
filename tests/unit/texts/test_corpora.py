import unicodedata

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_corpora import COLUMNS, concepts, rows, write

from workflow_scripts.build_corpus import build_corpus
from workflow_scripts.conjugate_corpus import conjugate_corpus
from workflow_scripts.lib.artifacts import read_meta
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.texts.corpora import read_corpus


def test_text_files_keep_their_order_and_the_first_of_duplicates(tmp_path):
    first = write(tmp_path / "first.txt", "\ufeffzebra\r\n\r\nRed_Fox\n  \nzebra\n")
    second = write(tmp_path / "second.txt", "red  fox\nant\n# no comment\n")
    table = read_corpus([first, second])
    assert table.column_names == COLUMNS
    assert [str(kind) for kind in table.schema.types] == ["string"] * 6 + ["bool", "int64"]
    assert rows(table) == [
        ("zebra", "noun", "first"),
        ("red fox", "noun", "first"),
        ("ant", "noun", "second"),
        ("# no comment", "noun", "second"),
    ]
    assert all(table[name].null_count == 4 for name in COLUMNS[3:])
    assert rows(read_corpus([str(second)], [{"pos": "adjective"}]))[0] == (
        "red fox",
        "adjective",
        "second",
    )


def test_names_that_only_look_different_are_one_concept(tmp_path):
    composed, decomposed = (
        unicodedata.normalize("NFC", "café"),
        unicodedata.normalize("NFD", "Café"),
    )
    names = ["fish", "ﬁsh", "FISH", "ｆｉｓｈ", "fish\u200b", "_fish_", composed, decomposed]
    assert concepts([write(tmp_path / "x.txt", "\n".join(names))]) == ["fish", composed]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_of_all_systems(tmp_path, end):
    names = write(tmp_path / "x.txt", end.join(["fox", "", "red owl", ""]))
    table = write(tmp_path / "y.csv", end.join(["concept,pos", "ant,noun", "", "bee,noun"]))
    assert concepts([names, table]) == ["fox", "red owl", "ant", "bee"]
    broken = write(tmp_path / "z.txt", end.join(["fox", "owl", "caf"]).encode() + b"\xe9")
    with pytest.raises(InputError, match=r"z.txt, line 3: not UTF-8"):
        read_corpus([broken])


def test_csv_and_tsv(tmp_path):
    comma = write(
        tmp_path / "a.csv", 'id,concept,pos\r\n1,"Duck, Mandarin",noun\r\n2,shiny,adjective\r\n'
    )
    tab = write(tmp_path / "b.tsv", "concept\tother\nold barn\tx\n\ty\nshort\n")
    assert rows(read_corpus([comma, tab])) == [
        ("duck, mandarin", "noun", "a"),
        ("shiny", "adjective", "a"),
        ("old barn", "noun", "b"),
        ("short", "noun", "b"),
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


def test_the_column_of_concepts_can_have_any_name(tmp_path):
    comma = write(tmp_path / "a.csv", "\ufeffid,class name\n1,Fox\n")
    tab = write(tmp_path / "b.tsv", "label\tconcept\nOwl\t7\n")
    pq.write_table(pa.table({"name": ["Ant"], "concept": ["x"]}), tmp_path / "c.parquet")
    files = [comma, tab, tmp_path / "c.parquet"]
    blocks = [{"column": "class name"}, {"column": "label"}, {"column": "name"}]
    assert concepts(files, blocks) == ["fox", "owl", "ant"]
    for file in files:
        with pytest.raises(InputError, match=f"{file.name}.*no column 'x'.*name the right one"):
            read_corpus([file], [{"column": "x"}])


def test_lists_of_imagenets_classes(tmp_path):
    names = write(
        tmp_path / "LOC_synset_mapping.txt",
        "n01440764 tench, Tinca tinca\r\nn02012849\tcrane\n\nn03126707 crane\n"
        "n03729826 matchstick_holder \n",
    )
    table = read_corpus([names], [{"format": "synset_mapping"}])
    assert rows(table, COLUMNS[:4]) == [
        ("tench", "noun", "LOC_synset_mapping", "n01440764"),
        ("crane", "noun", "LOC_synset_mapping", "n02012849"),
        ("matchstick holder", "noun", "LOC_synset_mapping", "n03729826"),
    ]
    with pytest.raises(InputError, match=r"line 1: .*set format: synset_mapping"):
        read_corpus([names])


@pytest.mark.parametrize("line", ["tench", "n1440764 tench", "n01440764", "n01440764 , tench"])
def test_a_list_of_imagenets_classes_without_ids_or_names(tmp_path, line):
    path = write(tmp_path / "x.txt", f"n02012849 crane\n\n{line}\n")
    with pytest.raises(InputError, match=r"x.txt, line 3: .*'n01440764 tench, Tinca tinca'"):
        read_corpus([path], [{"format": "synset_mapping"}])


def test_excluded_names(tmp_path):
    names = write(tmp_path / "x.txt", "fox\nRed Owl\nant\n")
    out = write(tmp_path / "out.txt", "red_owl\nnot there\n")
    assert concepts([names], None, [out]) == ["fox", "ant"]
    with pytest.raises(InputError, match=r"x.txt: no concepts are left without those of .*x.txt"):
        read_corpus([names], None, [names])


def test_excluded_names_of_every_kind_of_source(tmp_path, wordnet):
    names = write(tmp_path / "x.txt", "fox\nRed Owl\nant\nPet\nparis\nafraid\ntench\n")
    table = write(tmp_path / "a.csv", "id,class\n1,RED_OWL\n2,not there\n")
    mapping = write(tmp_path / "b.txt", "n01440764 tench, Tinca tinca\n")
    exclude = [table, mapping, wordnet, str(wordnet)]
    blocks = [{"column": "class"}, {"format": "synset_mapping"}, {"proper": False}]
    blocks += [{"pos": "adjective"}]
    assert concepts([names], None, exclude, blocks) == ["fox", "ant", "paris"]
    with pytest.raises(InputError, match=r"a.csv, line 1: no column 'concept'"):
        read_corpus([names], None, [table])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.txt", b"fine\nalso fine\ncaf\xe9\n", "x.txt, line 3: not UTF-8"),
        ("x.txt", "fox\n".encode("utf-16"), "x.txt, line 1: not UTF-8 but UTF-16"),
        ("x.csv", "concept\nfox\n".encode("utf-16"), "x.csv, line 1: not UTF-8 but UTF-16"),
        ("x.txt", b"\xfe\xff" + "fox".encode("utf-16-be"), "x.txt, line 1: not UTF-8 but UTF-16"),
        ("x.txt", "fox\n".encode("utf-32"), "x.txt, line 1: not UTF-8 but UTF-16 or UTF-32"),
        ("x.txt", b"\0\0\xfe\xff" + "fox".encode("utf-32-be"), "not UTF-8 but UTF-16 or UTF-32"),
        ("x.txt", "fox\n".encode("utf-16-le"), "x.txt, line 1: a NUL byte"),
        ("x.csv", "concept\nfox\nan\0t\n", "x.csv, line 3: a NUL byte"),
        ("x.txt", "fox\nr\x08at\n", r"x.txt, line 2: character U\+0008"),
        ("x.txt", "fox\nowl\x0c\n", r"x.txt, line 2: character U\+000C"),
        ("x.txt", "fox\nowl\x85\n", r"x.txt, line 2: character U\+0085"),
        ("x.csv", "concept\nfox\nca\x1bt\n", r"x.csv, line 3: character U\+001B"),
        ("x.txt", "caf\ufffd\n", r"x.txt, line 1: character U\+FFFD"),
        ("x.txt", "fox\n" + "a" * 201, "x.txt, line 2: a name of 201 characters.* 77 tokens"),
        ("x.csv", f"concept\n{'a' * 300}\n", "x.csv, line 2: a name of 300 characters"),
        ("x.txt", "", "x.txt holds no concepts"),
        ("x.txt", "\n  \n__\n\u200b\n", "x.txt holds no concepts"),
        ("x.csv", "concept\n", "x.csv holds no concepts"),
        ("x.csv", "", "x.csv, line 1: no column 'concept'"),
        ("x.csv", "name,pos\nfox,noun\n", r"x.csv, line 1: no column 'concept'.*\['name', 'pos'\]"),
        ("x.csv", 'concept\nfox\n"never closed\nowl\n', "x.csv, line 3: "),
        ("x.csv", "concept\nfox\nDuck, Mandarin\n", "x.csv, line 3: more fields than the header"),
        ("x.parquet", "concept\nfox\n", "x.parquet is not a readable Parquet"),
        ("x.doc", "fox\n", "must end in .txt"),
    ],
)
def test_bad_files_are_named_with_the_line(tmp_path, name, content, message):
    with pytest.raises(InputError, match=message):
        read_corpus([write(tmp_path / name, content)])


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("ending", ["txt", "csv"])
def test_the_line_of_a_mistake_far_down(tmp_path, end, ending):
    """Files are read in pieces; the line is counted from the top."""
    lines = ["concept", *(f"name {i}" for i in range(9000))]
    for bad, message in [
        (b"caf\xe9", "not UTF-8"),
        (b"an\0t", "a NUL byte"),
        (b"a\x07", "U\\+0007"),
    ]:
        path = write(tmp_path / f"x.{ending}", end.join([*lines, ""]).encode() + bad)
        with pytest.raises(InputError, match=rf"x.{ending}, line 9002: .*{message}"):
            read_corpus([path])


def test_a_name_of_200_characters_is_read(tmp_path):
    name = "a" * 200
    assert concepts([write(tmp_path / "x.txt", f"   {name}   \n")]) == [name]


def test_missing_file_and_bad_parquet_columns(tmp_path):
    with pytest.raises(InputError, match=r"nowhere.txt does not exist"):
        read_corpus([tmp_path / "nowhere.txt"])
    pq.write_table(pa.table({"name": ["fox"]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a.parquet: no column 'concept' but \['name'\]"):
        read_corpus([tmp_path / "a.parquet"])
    pq.write_table(pa.table({"concept": [["fox"], ["owl"]]}), tmp_path / "b.parquet")
    with pytest.raises(InputError, match=r"b.parquet: column 'concept' must be text"):
        read_corpus([tmp_path / "b.parquet"])
    pq.write_table(pa.table({"concept": ["fox", None, "b\x07ee"]}), tmp_path / "c.parquet")
    with pytest.raises(InputError, match=r"c.parquet, row 2 \(from 0\): character U\+0007"):
        read_corpus([tmp_path / "c.parquet"])


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"drop_files": ["noun.person"]}, "drop_files needs a WordNet folder"),
        ({"proper": False}, "proper needs a WordNet folder"),
        ({"senses": "all_lemmas"}, "senses needs a WordNet folder"),
        ({"format": "synset_mapping"}, "format synset_mapping is for .txt files"),
    ],
)
def test_keys_that_do_not_fit_the_file(tmp_path, block, message):
    path = write(tmp_path / "x.csv", "concept\nfox\n")
    with pytest.raises(InputError, match=f"x.csv: {message}"):
        read_corpus([path], [block])


def test_scripts_write_the_same_columns(wordnet, tmp_path):
    built, derived = tmp_path / "built.parquet", tmp_path / "derived.parquet"
    files = [{"path": "wordnet", "pos": "adjective", "drop_files": ["adj.pert"]}]
    build_corpus([str(wordnet)], [], {"files": files, "exclude": []}, built)
    assert read_meta(built) == {"files": files, "exclude": [], "concepts": 2}
    cfg = {"corpus": "built", "superclasses": ["place"], "seed": 0}
    conjugate_corpus(built, cfg, derived)
    one, other = pq.read_table(built), pq.read_table(derived)
    assert one.schema.equals(other.schema)
    assert rows(one) == [
        ("afraid", "adjective", "wordnet"), ("unafraid", "adjective", "wordnet"),
    ]  # fmt: skip
    assert rows(other, COLUMNS) == [
        ("afraid place", "conjugated", "conjugated", *[None] * 5),
        ("unafraid place", "conjugated", "conjugated", *[None] * 5),
    ]
    content = built.read_bytes()
    build_corpus([str(wordnet)], [], {"files": files, "exclude": []}, built)
    assert built.read_bytes() == content


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("n00001740\tentity\nn00001930\tphysical entity\n", "set format: synset_mapping"),
        ("n01440764\nn01443537\n", "ids without names"),
        ("/m/011k07\n/m/011q46kg\n", "ids without names"),
        ("0: tench\n1: goldfish\n", "is numbers"),
        ("001.Black_footed_Albatross\n002.Laysan_Albatross\n", "is numbers"),
        ("1\n2\n", "is numbers"),
        ("{0: 'tench, Tinca tinca',\n 1: 'goldfish',\n", "JSON or Python"),
        ('["cat", "dog"]\n', "JSON or Python"),
        ("id,name\n1,cat\n2,dog\n", "a table, no name: call it .csv"),
        ("cat\tnoun\ndog\tnoun\n", "a table, no name: call it .tsv"),
        ("# my words\ncat\n", "a comment, no name"),
    ],
)
def test_lists_of_something_else_than_names_are_refused(tmp_path, text, problem):
    for line, blank in enumerate(("", "\n"), 1):
        with pytest.raises(InputError, match=rf"x\.txt, line {line}: .*{problem}"):
            read_corpus([write(tmp_path / "x.txt", blank + text)])


def test_names_that_look_like_something_else_are_names(tmp_path):
    text = "tench, Tinca tinca\n3.5 mm jack\n1. FC\n7 up\nn01440764\n#selfie\n"
    assert len(concepts([write(tmp_path / "x.txt", text)])) == 6


@pytest.mark.parametrize("column", [" pos", "Pos"])
def test_a_misspelled_part_of_speech_is_refused(tmp_path, column):
    path = write(tmp_path / "x.csv", f"concept,{column}\nred,adjective\n")
    with pytest.raises(InputError, match=f"column '{column}' would not be read: call it 'pos'"):
        read_corpus([path])
    pq.write_table(pa.table({"concept": ["red"], column: ["adjective"]}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match=f"column '{column}' would not be read"):
        read_corpus([tmp_path / "x.parquet"])


@pytest.mark.parametrize("ending", [".CSV", ".Tsv", ".TXT"])
def test_endings_in_capitals(tmp_path, ending):
    text = "red\n" if ending == ".TXT" else "concept\nred\n"
    assert concepts([write(tmp_path / f"x{ending}", text)]) == ["red"]
