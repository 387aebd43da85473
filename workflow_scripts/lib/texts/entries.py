"""The concept table: its rows and columns."""

from typing import NamedTuple

import pyarrow as pa


class Entry(NamedTuple):
    """A row of the concept table. None: unknown.

    concept: normalised name. pos: part of speech. source: the file's name without its ending.
    wnid: id of the WordNet synset, a letter and 8 digits ("n02084071"). lexname: its lexicographer
    file ("noun.animal"; pertainyms are in "adj.pert"). parents: ids of its hypernyms joined by ";",
    "" if it has none. proper: whether this sense of the word is a proper noun (WordNet: an instance
    of its hypernym). count: number of captions that hold it.
    """

    concept: str
    pos: str
    source: str
    wnid: str | None = None
    lexname: str | None = None
    parents: str | None = None
    proper: bool | None = None
    count: int | None = None


def corpus_table(entries):
    """The concept table, a pyarrow Table, of one or more Entries."""
    columns = zip(Entry._fields, zip(*entries, strict=True), strict=True)
    kinds = {"proper": pa.bool_(), "count": pa.int64()}
    return pa.table(
        {name: pa.array(values, kinds.get(name, pa.string())) for name, values in columns}
    )
