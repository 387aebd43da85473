import sys
import unicodedata
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workflow_scripts.build_corpus import build_corpus
from workflow_scripts.conjugate_corpus import conjugate_corpus
from workflow_scripts.lib.artifacts import read_meta
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.texts.corpora import read_corpus
from workflow_scripts.lib.texts.names import normalise
from workflow_scripts.lib.texts.prompts import apply_prompts

WORDNET = Path("/usr/share/wordnet")
COLUMNS = ["concept", "pos", "source", "wnid", "lexname", "parents", "proper", "count"]


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def rows(table, columns=COLUMNS[:3]):
    return [tuple(row.values()) for row in table.select(columns).to_pylist()]


def concepts(*args):
    return read_corpus(*args)["concept"].to_pylist()


# ---- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Red_Fox", "red fox"),
        ("  great \t white__shark\u00a0", "great white shark"),
        (unicodedata.normalize("NFD", "CAFÉ"), unicodedata.normalize("NFC", "café")),
        ("well-known", "well-known"),
        ("__", ""),
        ("ﬂying ﬁsh", "flying fish"),  # ligatures, full width: NFKC
        ("Ｒｅｄ＿Ｆｏｘ　１", "red fox 1"),
        ("ℋ²", "h2"),  # lower case after NFKC
        ("Straße", "straße"),  # lower case, no case folding
        ("\u200bfox\u200d hole\ufeff\u200e\u2060", "fox hole"),
        ("for\u00adest", "forest"),
        ("e\u200b\u0301clair", "éclair"),  # composed once the zero-width space is gone
        ("Geoffroy’s Cat", "geoffroy's cat"),
        ("\u200b\ufeff", ""),
    ],
)
def test_normalise(name, expected):
    assert normalise(name) == expected
    assert normalise(normalise(name)) == expected


def test_normalise_twice_is_normalise_once():
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code)) not in ("Cn", "Co", "Cs"):
            once = normalise(f"A{chr(code)}\u0301_b")
            assert normalise(once) == once, hex(code)


# ---- word lists ---------------------------------------------------------------------------------


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
    # An id is taken for one only where the config says so.
    assert concepts([names])[:2] == ["n01440764 tench, tinca tinca", "n02012849 crane"]


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


# ---- WordNet ------------------------------------------------------------------------------------

LICENCE = "  1 This software and database is being provided to you, the LICENSEE, by  \n"
# wndb(5WN): offset, lexicographer file, type, number of words (hex), words with their ids, number
# of pointers, pointers (symbol, offset, type, source/target) | gloss. 18 is noun.person, 5
# noun.animal, 15 noun.location, 6 noun.artifact, 3 noun.Tops.
NOUNS = """\
00000001 03 n 01 entity 0 000 | all there is
00000002 05 n 02 animal 0 beast 0 001 @ 00000001 n 0000 | a living thing
00000003 05 n 03 dog 0 domestic_dog 0 Canis_familiaris 0 002 @ 00000002 n 0000 @ 00000010 n 0000 | a
00000004 18 n 02 cad 0 dog 0 001 @ 00000001 n 0000 | someone who is morally reprehensible
00000005 06 n 01 dog 1 001 @ 00000001 n 0000 | a firedog
00000006 15 n 02 Paris 0 City_of_Light 0 001 @i 00000001 n 0000 | the capital of France
00000007 06 n 01 crane 0 001 @ 00000001 n 0000 | lifts and moves heavy objects
00000008 05 n 01 crane 1 001 @ 00000002 n 0000 | a bird
00000009 18 n 02 Crane 2 Hart_Crane 0 001 @i 00000001 n 0000 | a poet
00000010 05 n 01 pet 0 001 @ 00000002 n 0000 | kept for companionship
"""
# The index has lemmas in alphabetical order and their senses by frequency: lemma, type, number of
# senses, number of pointer symbols, the symbols, number of senses, of those tagged, offsets.
NOUN_INDEX = """\
animal n 1 2 @ ~ 1 1 00000002
beast n 1 2 @ ~ 1 1 00000002
cad n 1 1 @ 1 0 00000004
canis_familiaris n 1 1 @ 1 0 00000003
city_of_light n 1 1 @i 1 0 00000006
crane n 3 2 @ @i 3 1 00000009 00000008 00000007
dog n 3 1 @ 3 1 00000004 00000003 00000005
domestic_dog n 1 1 @ 1 0 00000003
entity n 1 1 ~ 1 1 00000001
hart_crane n 1 1 @i 1 0 00000009
paris n 1 1 @i 1 1 00000006
pet n 1 1 @ 1 1 00000010
"""
ADJECTIVES = """\
00000001 00 a 02 afraid(p) 0 scared 0 001 ! 00000002 a 0101 | filled with fear
00000002 00 a 01 unafraid(ip) 0 000 | not afraid
00000003 01 a 01 alpine 0 001 \\ 00000002 n 0101 | relating to the Alps
"""
ADJECTIVE_INDEX = """\
afraid a 1 1 ! 1 1 00000001
alpine a 1 1 \\ 1 0 00000003
scared a 1 0 1 1 00000001
unafraid a 1 0 1 0 00000002
"""


@pytest.fixture
def wordnet(tmp_path):
    folder = tmp_path / "wordnet"
    folder.mkdir()
    files = {"noun": (NOUNS, NOUN_INDEX), "adj": (ADJECTIVES, ADJECTIVE_INDEX)}
    for ending, (data, index) in files.items():
        write(folder / f"data.{ending}", LICENCE + data.replace("\n", "  \n"))
        write(folder / f"index.{ending}", LICENCE + index.replace("\n", "  \n"))
    return folder


def test_the_first_words_of_wordnets_nouns(wordnet):
    table = read_corpus([wordnet])
    assert table.column_names == COLUMNS
    # dog is also a word for the cad, its most frequent sense; but not that synset's first word.
    assert rows(table, COLUMNS[:7]) == [
        ("animal", "noun", "wordnet", "n00000002", "noun.animal", "n00000001", False),
        ("cad", "noun", "wordnet", "n00000004", "noun.person", "n00000001", False),
        ("crane", "noun", "wordnet", "n00000009", "noun.person", "n00000001", True),
        ("dog", "noun", "wordnet", "n00000003", "noun.animal", "n00000002;n00000010", False),
        ("entity", "noun", "wordnet", "n00000001", "noun.Tops", "", False),
        ("paris", "noun", "wordnet", "n00000006", "noun.location", "n00000001", True),
        ("pet", "noun", "wordnet", "n00000010", "noun.animal", "n00000002", False),
    ]
    assert read_corpus([str(wordnet / "data.noun")]).equals(table)


def test_all_words_of_wordnets_nouns_with_their_most_frequent_sense(wordnet):
    table = read_corpus([wordnet], [{"senses": "all_lemmas"}])
    assert dict(rows(table, ["concept", "wnid"])) == {
        "animal": "n00000002", "beast": "n00000002", "cad": "n00000004",
        "canis familiaris": "n00000003", "city of light": "n00000006", "crane": "n00000009",
        "dog": "n00000004", "domestic dog": "n00000003", "entity": "n00000001",
        "hart crane": "n00000009", "paris": "n00000006", "pet": "n00000010",
    }  # fmt: skip
    assert len(table) == 12


@pytest.mark.parametrize(
    ("block", "missing", "crane", "dog"),
    [
        ({"proper": False}, {"paris", "city of light", "hart crane"}, 8, 4),
        ({"drop_files": ["noun.person"]}, {"cad", "hart crane"}, 8, 3),
        (
            {"drop_files": ["noun.person", "noun.animal"]},
            {"cad", "hart crane", "animal", "beast", "domestic dog", "canis familiaris", "pet"},
            7,
            5,
        ),
        (
            {"drop_files": ["noun.animal", "noun.artifact"], "proper": False},
            {"paris", "city of light", "hart crane", "animal", "beast", "domestic dog"}
            | {"canis familiaris", "pet", "crane"},
            None,
            4,
        ),
    ],
)
def test_a_word_stays_if_one_of_its_senses_passes(wordnet, block, missing, crane, dog):
    everything = set(concepts([wordnet], [{"senses": "all_lemmas"}]))
    table = read_corpus([wordnet], [{"senses": "all_lemmas"} | block])
    found = dict(rows(table, ["concept", "wnid"]))
    assert everything - found.keys() == missing
    assert found.get("crane") == (crane and f"n{crane:08d}")
    assert found["dog"] == f"n{dog:08d}"


def test_wordnets_adjectives(wordnet):
    table = read_corpus([wordnet], [{"pos": "adjective"}])
    assert rows(table, COLUMNS[:7]) == [
        ("afraid", "adjective", "wordnet", "a00000001", "adj.all", "", False),
        ("alpine", "adjective", "wordnet", "a00000003", "adj.pert", "", False),
        ("unafraid", "adjective", "wordnet", "a00000002", "adj.all", "", False),
    ]
    block = {"pos": "adjective", "senses": "all_lemmas", "drop_files": ["adj.pert"]}
    assert concepts([wordnet], [block]) == ["afraid", "scared", "unafraid"]


def test_wordnet_among_other_files(wordnet, tmp_path):
    names = write(tmp_path / "mine.txt", "Dog\nsofa\n")
    blocks = [{}, {"proper": False}, {"pos": "adjective"}]
    table = read_corpus([names, wordnet, wordnet], blocks, [write(tmp_path / "x.txt", "pet")])
    assert rows(table, ["concept", "pos", "source", "wnid", "proper"]) == [
        ("dog", "noun", "mine", None, None),
        ("sofa", "noun", "mine", None, None),
        ("animal", "noun", "wordnet", "n00000002", False),
        ("cad", "noun", "wordnet", "n00000004", False),
        ("crane", "noun", "wordnet", "n00000008", False),
        ("entity", "noun", "wordnet", "n00000001", False),
        ("afraid", "adjective", "wordnet", "a00000001", False),
        ("alpine", "adjective", "wordnet", "a00000003", False),
        ("unafraid", "adjective", "wordnet", "a00000002", False),
    ]


def test_what_is_wrong_with_a_wordnet(wordnet, tmp_path):
    every = ["noun.Tops", "noun.animal", "noun.person", "noun.artifact", "noun.location"]
    for block, message in [
        ({"pos": "verb"}, r"wordnet: pos of WordNet must be one of \['noun', 'adjective'\]"),
        ({"drop_files": ["noun.persons"]}, "no lexicographer file 'noun.persons' but adj.all, "),
        ({"drop_files": every}, "wordnet holds no concepts.*drop_files"),
        ({"format": "captions"}, "wordnet: format needs a list of names or captions as path"),
        ({"format": "synset_mapping"}, "wordnet: format needs .*; leave format out"),
    ]:
        with pytest.raises(InputError, match=message):
            read_corpus([wordnet], [block])
    with pytest.raises(InputError, match=r"data.adj does not hold the pos 'noun'"):
        read_corpus([wordnet / "data.adj"])
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "nowhere" / "data.noun"):
        with pytest.raises(InputError, match=r"data.noun does not exist.*WordNet's database"):
            read_corpus([path])
    (wordnet / "index.noun").unlink()
    with pytest.raises(InputError, match=r"index.noun does not exist"):
        read_corpus([wordnet])


@pytest.mark.skipif(not (WORDNET / "data.noun").is_file(), reason="no WordNet on this machine")
def test_the_real_wordnet():
    table = read_corpus([WORDNET])
    assert len(table) == 67186
    found = dict(rows(table, ["concept", "wnid"]))
    assert found["dog"] == "n02084071"  # ImageNet's id
    assert found["crane"] == "n10914447"  # the index has Stephen Crane first
    common = dict(rows(read_corpus([WORDNET], [{"proper": False}]), ["concept", "wnid"]))
    assert common["crane"] == "n03126707"  # ImageNet's id of the machine
    assert len(read_corpus([WORDNET], [{"senses": "all_lemmas"}])) == 117798


# ---- scripts ------------------------------------------------------------------------------------


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


# ---- prompts ------------------------------------------------------------------------------------


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
