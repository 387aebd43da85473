"""Damaged texts, trees and tables: refused by their name, in bounded time and memory."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_corpora import concepts, write_wordnet

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.texts import files
from workflow_scripts.lib.texts.trees import read_table_tree, read_wordnet


def test_a_line_that_no_list_has_is_not_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_LINE", 1000)
    path = tmp_path / "words.txt"
    path.write_text("dog\n" + "x" * 1001)
    with pytest.raises(InputError, match=r"words\.txt, line 2: a line of more than 1,000"):
        concepts([path])


def test_the_line_that_is_no_utf8_is_found(tmp_path):
    path = tmp_path / "words.txt"
    path.write_bytes(b"dog\r\ncat\rcow\nm\xe4use\nbee\n")
    with pytest.raises(InputError, match=r"words\.txt, line 4: not UTF-8"):
        concepts([path])


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet"])
def test_a_quote_in_a_table_swallows_no_rows(tmp_path, ending):
    path = tmp_path / f"words.{ending}"
    if ending == "parquet":
        pq.write_table(pa.table({"concept": ["fox", "dog\ncat\nbird"]}), path)
    else:
        path.write_text('concept\nfox\n"dog\ncat\nbird"\n')
    with pytest.raises(InputError, match=r"words.*(line 5|row 1 .*): a text goes over several"):
        concepts([path])
    rows = files.read_texts(path, "concept", several_lines=True)  # as captions are read
    assert [text for _, text, _ in rows] == ["fox", "dog\ncat\nbird"]


def test_a_quote_in_a_tree_swallows_no_edges(tmp_path):
    path = tmp_path / "tree.csv"
    path.write_text('child,parent\npug,"dog\ndog,animal"\n')
    with pytest.raises(InputError, match=r"tree\.csv, line 3: a text goes over several lines"):
        read_table_tree(path)


@pytest.mark.parametrize("column", ["concept", "pos"])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_column_that_is_there_twice_is_named(tmp_path, column, ending):
    names, path = ["concept", "pos", column], tmp_path / f"words.{ending}"
    if ending == "csv":
        path.write_text(f"{','.join(names)}\ndog,noun,cat\n")
    else:
        pq.write_table(pa.Table.from_arrays([pa.array(["dog"])] * 3, names=names), path)
    with pytest.raises(InputError, match=rf"words.*the column '{column}' is there twice"):
        concepts([path])


def test_a_long_chain_is_read_in_time(tmp_path):
    """Of 100,000 nodes; a search for cycles level by level would take hours."""
    path = tmp_path / "tree.csv"
    rows = [f"n{i},n{i + 1}" for i in range(100_000)]
    path.write_text("\n".join(["child,parent", *rows]))
    assert read_table_tree(path).depth("n0") == 100_000


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("data.noun", "00000010 05", "99999999 05", "no synset 'n00000010'"),
        ("index.noun", "1 1 00000010", "1 1 7", "no synset 'n7'"),
        ("index.noun", "pet n 1 1", "pet n 4 1", "no synset"),
        ("data.noun", "entity 0 000", "entity 0 001 @ 00000003 n 0000", "is its own ancestor"),
        ("data.noun", "a living thing", "a \udcff thing", "can't decode byte 0xff"),
    ],
)
def test_a_damaged_wordnet_is_named(tmp_path, file, old, new, message):
    folder = write_wordnet(tmp_path / "wordnet")
    text = (folder / file).read_text().replace(old, new, 1)
    (folder / file).write_text(text, errors="surrogateescape")
    with pytest.raises(InputError, match="wordnet") as error:
        read_wordnet(folder)
    assert message in str(error.value) and len(str(error.value)) < 400
