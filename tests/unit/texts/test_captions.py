import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.texts.corpora import read_corpus
from workflow_scripts.lib.texts.sources.captions import frequent_phrases, phrase_finder

# Captions and their noun phrases by hand.
BY_HAND = [
    ("A brown dog is running on the green grass.", {"brown dog", "green grass"}),
    ("the statue of liberty at night", {"statue", "liberty", "night"}),
    ("two red apples and a green pear on his old wooden table",
     {"red apples", "green pear", "old wooden table"}),
    ("both big dogs", {"big dogs"}),  # determiners and numbers end a phrase
    ("the guitar a man holds", {"guitar", "man"}),
    ("Cats and dogs", {"cats", "dogs"}),
    ("a dog near a dog", {"dog"}),
    ("they see it", set()),  # pronouns only
    ("the beautiful", set()),  # no noun
    ("!!! --- ...", set()),
    ("", set()),
    ("woman’s red\ndress", {"woman's red dress"}),
    ("a Ｃａｆé,  a red\u200b cat 😀", {"café", "red cat"}),
]  # fmt: skip
APOSTROPHES = [
    ("They won't eat, I can’t see, it ISN'T a dog", {"dog"}),  # contractions end a phrase
    ("they're dogs and I'm sure we've cats, he'd run", {"dogs", "cats"}),
    ("she'll hold what's left: it's a girl that's happy", {"girl"}),
    ("happy father's day", {"happy father's day"}),  # possessives do not
    ("John's dog's ball at the cats' house", {"john's dog's ball", "cats", "house"}),
    ("the dog's asleep and a cat's on the table", {"dog", "cat", "table"}),  # verbs
    ("rock'n'roll at five o'clock", {"rock'n'roll", "o'clock"}),
    ("a sign says 'big sale'", {"sign", "big sale"}),  # quotes
]  # fmt: skip


@pytest.fixture(scope="module")
def noun_phrases():
    return phrase_finder()


@pytest.mark.parametrize(("caption", "expected"), BY_HAND + APOSTROPHES)
def test_noun_phrases_by_hand(noun_phrases, caption, expected):
    assert noun_phrases(caption) == expected


def test_counts_are_of_captions_and_order_is_fixed():
    """Against a slow count of the phrases found by hand, one phrase at a time."""
    pick = [0, 6, 5, 6, 2, 0, 6, 4, 1, 9, 10, 11]
    captions = [*(BY_HAND[i][0] for i in pick), None]
    held = [BY_HAND[i][1] for i in pick]
    names = sorted(set().union(*held))
    counted = {name: sum(name in phrases for phrases in held) for name in names}
    expected = [(n, counted[n]) for count in (3, 2, 1) for n in names if counted[n] == count]
    assert frequent_phrases(captions) == expected
    assert expected[:4] == [("dog", 3), ("brown dog", 2), ("green grass", 2), ("cats", 1)]
    assert frequent_phrases(reversed(captions)) == expected
    assert frequent_phrases(captions, minimum_count=2) == expected[:3]
    assert frequent_phrases(captions, top=5) == expected[:5]
    assert frequent_phrases(captions, minimum_count=2, top=5) == expected[:3]
    assert frequent_phrases(iter(captions), minimum_count=4) == []


def test_phrases_that_no_encoder_reads_are_left_out():
    captions = ["the red \ufffdcat on a table", f"a {'very' * 60} dog", "the old caf\x07e"]
    assert [name for name, _ in frequent_phrases(captions)] == ["table"]


def test_markup_and_addresses_are_no_names(caplog):
    caplog.set_level("INFO")
    captions = [
        "<PERSON> on a horse", "<b>red dog</b>", "a photo of http://foo.com/a.jpg",
        "www.foo.com", "mail me@foo.com", "a cat <3", "a black/white dog",
    ]  # fmt: skip
    expected = {"horse", "photo", "cat", "black/white dog"}
    assert {name for name, _ in frequent_phrases(captions)} == expected
    assert "4 noun phrases, 4 of them in 1 captions or more; 5 left out" in caplog.text


@pytest.mark.parametrize("ending", ["txt", "tsv", "csv", "parquet"])
def test_files_of_captions(tmp_path, ending):
    captions = [*(caption.replace("\n", " ") for caption, _ in BY_HAND), "a dog and a table"]
    path = tmp_path / f"captions.{ending}"
    if ending == "txt":
        path.write_text("\n".join(captions))
    elif ending == "parquet":  # several row groups, a missing caption
        table = pa.table({"id": range(len(captions) + 1), "text": [*captions, None]})
        pq.write_table(table, path, row_group_size=3)
    else:
        mark = {"tsv": "\t", "csv": ","}[ending]
        lines = [f"id{mark}text", *(f'1{mark}"{caption}"' for caption in captions)]
        path.write_text("\n".join(lines))
    block = {"format": "captions", "column": "text", "minimum_count": 2, "pos": "thing"}
    rows = read_corpus([path], [block]).select(["concept", "pos", "source", "count"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [("dog", "thing", "captions", 2)]
    everything = read_corpus([path], [block | {"minimum_count": 1}])
    names = set().union(*(phrases for _, phrases in BY_HAND))
    assert set(everything["concept"].to_pylist()) == names | {"table"}


def test_captions_among_word_lists(tmp_path):
    """The first source of a name stays; captions can be left out like names."""
    names, captions = tmp_path / "names.txt", tmp_path / "captions.txt"
    names.write_text("Dog\nowl\n")
    captions.write_text("a dog near a cat\na cat\na red bird\n")
    block = {"format": "captions"}
    table = read_corpus([names, captions], [{}, block])
    assert table.select(["concept", "count"]).to_pylist() == [
        {"concept": "dog", "count": None}, {"concept": "owl", "count": None},
        {"concept": "cat", "count": 2}, {"concept": "red bird", "count": 1},
    ]  # fmt: skip
    table = read_corpus([names], [{}], [captions], [block])
    assert table["concept"].to_pylist() == ["owl"]
    with pytest.raises(InputError, match=r"captions.txt holds no concepts.*minimum_count"):
        read_corpus([captions], [block | {"minimum_count": 9}])


def test_keys_of_captions_need_captions(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("fox\n")
    for block in ({"minimum_count": 2}, {"top": 10}):
        with pytest.raises(InputError, match=rf"x.txt: {next(iter(block))} needs format captions"):
            read_corpus([path], [block])


def test_a_missing_textblob_is_named_with_its_remedy(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "textblob.en", None)
    path = tmp_path / "x.txt"
    path.write_text("a fox\n")
    with pytest.raises(InputError, match=r"captions need TextBlob: .*uv pip install .*textblob"):
        read_corpus([path], [{"format": "captions"}])
