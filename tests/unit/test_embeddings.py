import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from workflow_scripts.lib import artifacts, embeddings
from workflow_scripts.lib.artifacts import write_array, write_table
from workflow_scripts.lib.errors import InputError

ENCODER = {"model": "tiny", "dim": 8, "versions": {"torch": "1"}}


def unit_rows(count, dim=8, seed=0):
    rows = np.random.default_rng(seed).normal(size=(count, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def unit(rows):
    """Rows scaled to unit norm, in float64."""
    rows = rows.astype(np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def write_shard(folder, name, rows, encoder=ENCODER, labels=None, index_rows=None):
    count = len(rows) if index_rows is None else index_rows
    ids = [f"{name}/{i}" for i in range(count)]
    index = pa.table([ids, labels or [None] * count, [None] * count], schema=embeddings.IMAGE_INDEX)
    write_array(folder / f"{name}.npy", rows)
    write_table(folder / f"{name}.parquet", index, {"encoder": encoder})
    return folder / f"{name}.npy", folder / f"{name}.parquet"


def open_shards(shards):
    return embeddings.open_embeddings([npy for npy, _ in shards], [index for _, index in shards])


def test_shards_read_as_one_set_in_order(tmp_path):
    parts = [unit_rows(5), unit_rows(0), unit_rows(3, seed=1)]
    newer = ENCODER | {"versions": {"torch": "2"}}
    shards = [
        write_shard(tmp_path, "a", parts[0], labels=list("vwxyz")),
        write_shard(tmp_path, "b", parts[1]),
        write_shard(tmp_path, "c", parts[2], encoder=newer),
    ]
    opened = open_shards(shards)
    expected = unit(np.concatenate(parts))
    assert (opened.rows, opened.dim, opened.meta) == (8, 8, {"encoder": ENCODER})
    assert opened.ids == [*(f"a/{i}" for i in range(5)), *(f"c/{i}" for i in range(3))]
    assert opened.labels == ["v", "w", "x", "y", "z", None, None, None]
    assert opened.array().dtype == np.float32
    np.testing.assert_allclose(opened.array(), expected, rtol=0, atol=1e-7)
    blocks = list(opened.blocks(2))
    assert [len(block) for block in blocks] == [2, 2, 1, 2, 1]
    assert all(block.dtype == np.float32 for block in blocks)
    assert np.array_equal(np.concatenate(blocks), opened.array())


def test_chosen_rows_come_in_the_order_asked_for(tmp_path):
    parts = [unit_rows(5), unit_rows(0), unit_rows(3, seed=1)]
    stored = np.concatenate(parts)
    whole = unit(stored)
    rows = np.array([7, 0, 4, 5, 4])
    for arrays in (parts, [np.concatenate(parts)]):
        shards = [write_shard(tmp_path, str(i), part) for i, part in enumerate(arrays)]
        opened = open_shards(shards)
        blocks = list(opened.blocks(2, rows))
        assert [len(block) for block in blocks] == [2, 2, 1]
        np.testing.assert_allclose(np.concatenate(blocks), whole[rows], rtol=0, atol=1e-7)
        assert np.array_equal(opened.array(rows), opened.array()[rows])
        assert np.array_equal(np.concatenate(blocks), opened.array(rows))
        assert np.array_equal(np.concatenate(list(opened.stored(rows, 2))), stored[rows])
        assert next(opened.stored(rows)).dtype == np.float16
        assert opened.array(rows).dtype == np.float32
        assert list(opened.blocks(2, rows[:0])) == []
        assert opened.array(rows[:0]).shape == (0, 8)


def test_rows_are_of_unit_norm_again_however_they_are_read(tmp_path):
    """Cosines and sharp scores are those of float64, which float16 rows as they are miss."""
    true = unit(np.random.default_rng(0).normal(size=(300, 512)))
    rounded = (1.0004 * true).astype(np.float16)  # as float16 may leave them
    opened = open_shards([write_shard(tmp_path, "a", rounded)])
    texts = embeddings.read_texts(tmp_path / "a.npy", None)
    ways = [opened.array(), opened.joined()[np.arange(300)], opened.joined()[:], texts]
    for rows in [*ways, np.concatenate(list(opened.blocks(7)))]:
        assert rows.dtype == np.float32
        assert np.array_equal(rows, texts)
        assert np.abs(np.linalg.norm(rows.astype(float), axis=1) - 1).max() < 5e-7
    cosines = unit(rounded) @ unit(rounded).T
    np.testing.assert_allclose(texts @ texts.T, cosines, rtol=0, atol=2e-6)
    plain = rounded.astype(np.float32)
    assert np.abs(plain @ plain.T - cosines).max() > 5e-4


def test_rows_without_a_direction_stay_as_they_are(tmp_path):
    write_array(tmp_path / "a.npy", np.array([[0, 0], [np.nan, 1], [3, 4]], np.float16))
    rows = embeddings.read_texts(tmp_path / "a.npy", None)
    np.testing.assert_array_equal(rows[0], [0, 0])
    assert np.isnan(rows[1]).any()
    np.testing.assert_allclose(rows[2], [0.6, 0.8], rtol=1e-6)


def test_a_stream_knows_how_many_blocks_it_has(tmp_path):
    shards = [
        write_shard(tmp_path, name, unit_rows(n)) for name, n in (("a", 5), ("b", 0), ("c", 3))
    ]
    opened = open_shards(shards)
    for rows in (None, np.array([7, 0, 1]), np.array([], int)):
        for size in (1, 2, 3, 8):
            blocks = opened.blocks(size, rows)
            assert len(blocks) == len(list(blocks))


def test_written_rows_are_read_back_exactly(tmp_path):
    rows = unit_rows(7)
    stored = [row.astype(np.float32) for row in np.split(rows, [3, 3])]
    embeddings.write_rows(tmp_path / "copy.npy", stored, (7, 8))
    write_array(tmp_path / "plain.npy", rows)
    assert (tmp_path / "copy.npy").read_bytes() == (tmp_path / "plain.npy").read_bytes()


def test_parts_are_split_by_image_set(tmp_path):
    assert embeddings.split_parts("abcd", {"x": 1, "y": 0, "z": 3}) == {
        "x": ["a"], "y": [], "z": ["b", "c", "d"],
    }  # fmt: skip
    shards = [write_shard(tmp_path, name, unit_rows(i + 1)) for i, name in enumerate("abc")]
    arrays, indexes = zip(*shards, strict=True)
    sets = embeddings.open_sets(arrays, indexes, {"one": 2, "two": 1})
    assert {name: opened.ids for name, opened in sets.items()} == {
        "one": ["a/0", "b/0", "b/1"], "two": ["c/0", "c/1", "c/2"],
    }  # fmt: skip
    for wrong in ({"one": 2}, {"one": 2, "two": 2}):
        with pytest.raises(InputError, match=r"3 files, but \d parts"):
            embeddings.open_sets(arrays, indexes, wrong)


def test_mismatches_are_refused(tmp_path):
    good = write_shard(tmp_path, "good", unit_rows(4))
    short = write_shard(tmp_path, "short", unit_rows(4), index_rows=3)
    wide = write_shard(tmp_path, "wide", unit_rows(4, dim=9))
    other = write_shard(tmp_path, "other", unit_rows(4), encoder=ENCODER | {"model": "big"})
    with pytest.raises(InputError, match=r"short.npy has 4 rows but .*short.parquet 3"):
        open_shards([good, short])
    with pytest.raises(InputError, match=r"wide.npy has shape \(4, 9\)"):
        open_shards([good, wide])
    with pytest.raises(InputError, match="different encoders"):
        open_shards([good, other])
    with pytest.raises(InputError, match="1 embedding files but 0 index"):
        embeddings.open_embeddings([good[0]], [])


def test_check_same_encoder_names_what_differs():
    images = {"encoder": ENCODER, "params": 1}
    embeddings.check_same_encoder(images, {"encoder": ENCODER | {"versions": {}}, "params": 2})
    for change in ({"dim": 9}, {"model": "big"}, {"sha256": "0"}):
        key = next(iter(change))
        with pytest.raises(InputError, match=f"different encoders.*{key}: images"):
            embeddings.check_same_encoder(images, {"encoder": ENCODER | change})
    with pytest.raises(InputError):
        embeddings.check_same_encoder(images, {})


def test_reading_embeddings_does_not_import_torch():
    code = (
        "import sys, json, workflow_scripts.lib.embeddings, workflow_scripts.lib.images.decode,"
        "workflow_scripts.lib.texts.corpora, workflow_scripts.import_images,"
        "workflow_scripts.import_texts;"
        "print(json.dumps([m for m in ('torch', 'open_clip', 'pandas') if m in sys.modules]))"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    )
    assert json.loads(output.stdout) == []


def test_an_archive_of_arrays_is_no_array(tmp_path):
    np.savez(tmp_path / "x.npy", unit_rows(3))
    (tmp_path / "x.npy.npz").rename(tmp_path / "x.npy")
    with pytest.raises(InputError, match=r"x.npy is an archive .*np.save"):
        artifacts.read_array(tmp_path / "x.npy")
    np.save(tmp_path / "o.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(InputError, match=r"o.npy is not a readable .npy array"):
        artifacts.read_array(tmp_path / "o.npy")
