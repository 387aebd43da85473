from pathlib import Path

import pytest
from small_corpora import COLUMNS, concepts, rows, write

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.texts.corpora import read_corpus

WORDNET = Path("/usr/share/wordnet")


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
