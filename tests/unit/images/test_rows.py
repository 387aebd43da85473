"""Rows in columns are the rows that were given, in blocks of any size."""

import random

import numpy as np
import pyarrow as pa
import pytest
from image_files import make_tar, picture

from workflow_scripts.lib.images import containers, listing, rows
from workflow_scripts.lib.images.containers import open_container
from workflow_scripts.lib.images.manifest import shard_of

SCHEMA = pa.schema([("name", pa.string()), ("number", pa.int64())])


@pytest.fixture
def given(monkeypatch):
    """Rows that need several blocks and groups, as a list and as `Rows`."""
    monkeypatch.setattr(rows, "BLOCK", 8)
    monkeypatch.setattr(rows, "ROW_GROUP", 16)
    values = [(None if i % 7 == 3 else f"é{i % 5}", i) for i in range(51)]
    random.Random(0).shuffle(values)
    kept = rows.Rows(SCHEMA)
    for row in values:
        kept.append(row)
    return values, kept


def test_rows_come_back_as_they_went_in(given):
    values, kept = given
    table = kept.table()
    assert (table.schema, table.to_pylist()) == (
        SCHEMA, [dict(zip(SCHEMA.names, row, strict=True)) for row in values],
    )  # fmt: skip
    assert list(rows.tuples(table)) == values
    assert list(kept.used_up()) == values
    assert list(kept.used_up()) == []
    assert len(rows.Rows(SCHEMA).table()) == 0


def test_in_order_sorts_as_python_does(given):
    values, kept = given
    found = rows.in_order(kept.table(), ["name", "number"])
    expected = sorted(values, key=lambda row: (row[0] is None, row[0] or "", row[1]))
    assert list(rows.tuples(found)) == expected  # nulls at the end
    assert [len(chunk) for chunk in found["name"].chunks] == [16, 16, 16, 3]
    assert found.schema == SCHEMA
    numbers = pa.array([50, None, 0])
    names = [values[50][0], None, values[0][0]]
    assert rows.taken(kept.table()["name"], numbers).to_pylist() == names


@pytest.mark.parametrize("shards", [1, 3])
def test_a_listing_in_blocks_is_that_of_one_block(tmp_path, monkeypatch, shards):
    names = [f"{'ab'[i % 2]}/{i}.png" for i in range(30)] + ["a/0.png", "x.txt", "a/4.png"]
    make_tar(tmp_path / "a.tar", [(name, picture(i)) for i, name in enumerate(names)])
    cfg = {"kind": "tar", "labels": None, "options": {}, "shards": shards}
    whole = listing.scan(tmp_path / "a.tar", cfg)
    ids = sorted(names[:30], key=lambda name: (shard_of(name, shards), name))
    assert whole.table["image_id"].to_pylist() == ids
    assert whole.rejected["image_id"].to_pylist() == ["a/0.png", "a/4.png", "x.txt"]
    monkeypatch.setattr(rows, "BLOCK", 4)
    monkeypatch.setattr(rows, "ROW_GROUP", 8)
    parts = listing.scan(tmp_path / "a.tar", cfg)
    assert parts.table.equals(whole.table)
    assert parts.rejected.equals(whole.rejected)


def test_other_ids_of_the_same_hash_are_no_repetition(tmp_path, monkeypatch):
    names = ["a.png", "b.png", "a.png", "c.png"]
    make_tar(tmp_path / "a.tar", [(name, picture(i)) for i, name in enumerate(names)])
    monkeypatch.setattr(containers, "hash", lambda name: 7, raising=False)
    reasons = [locator.reason for _, locator in open_container("tar", tmp_path / "a.tar").entries()]
    assert [reason is not None for reason in reasons] == [False, False, True, False]
    assert reasons[2].startswith("same image id as the entry at a.tar:512")


@pytest.mark.parametrize("threads", [1, 3])
def test_mapped_keeps_order_and_reads_little_ahead(threads):
    taken = []
    items = (taken.append(i) or i for i in range(2000))
    found = listing.mapped(np.negative, items, 2000, threads)
    assert [next(found) for _ in range(5)] == [0, -1, -2, -3, -4]
    assert len(taken) <= (2 * threads + 1) * listing.CHUNK
    assert list(found) == [-i for i in range(5, 2000)]
