"""Artifacts carry what is needed to notice damage and mix-ups; what cannot be written says why."""

import json
import resource
import shutil
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from snakemake.persistence.file import FilePersistence

from workflow_scripts.lib import artifacts
from workflow_scripts.lib.clustering.graph import read_neighbours
from workflow_scripts.lib.embeddings import open_embeddings
from workflow_scripts.lib.errors import InputError, memory_is_short, unwritable
from workflow_scripts.lib.recipes import _noted, notes_are_lost


def store(folder, seed=0):
    """Two shards in a folder: the paths of arrays and indexes."""
    stems = [folder / f"results/embeddings/clip/images/photos/{i:05d}" for i in range(2)]
    for i, stem in enumerate(stems):
        rows = np.random.default_rng([seed, i]).normal(size=(5, 4)).astype(np.float16)
        note = artifacts.write_array(f"{stem}.npy", rows)
        artifacts.write_table(f"{stem}.parquet", {"image_id": list("abcde")}, {"array": note})
    return [f"{stem}.npy" for stem in stems], [f"{stem}.parquet" for stem in stems]


def test_the_note_of_an_array_says_what_it_is(tmp_path):
    rows = np.arange(12, dtype=np.int32).reshape(4, 3)
    path = tmp_path / "results/neighbours/clip/photos/k3.npy"
    assert artifacts.write_blocks(path, [rows[:3], rows[3:]], (4, 3), np.int32) == {
        "path": "neighbours/clip/photos/k3.npy",
        "shape": [4, 3],
        "dtype": "int32",
        "crc32": f"{zlib.crc32(rows.tobytes()):08x}",
    }
    np.testing.assert_array_equal(np.load(path), rows)
    told = path.with_name("told.npy")
    note = artifacts.write_blocks(told, [rows[:3], rows[3:]], (None, 3), np.int32)
    assert (note["shape"], told.read_bytes()) == ([4, 3], path.read_bytes())
    with pytest.raises(ValueError, match="3 rows"):
        artifacts.write_blocks(path, [rows[:3]], (4, 3), np.int32)


def test_damaged_and_foreign_arrays_are_refused(tmp_path):
    arrays, indexes = store(tmp_path)
    others, _ = store(tmp_path / "other", seed=1)
    assert open_embeddings(arrays, indexes).rows == 10
    shutil.copy(others[1], arrays[1])
    with pytest.raises(InputError, match=r"00001.npy is damaged or of another .*run again"):
        open_embeddings(arrays, indexes)
    arrays, indexes = store(tmp_path)
    with open(arrays[0], "r+b") as file:  # noqa: PTH123
        file.seek(-1, 2)
        last = file.read(1)[0]
        file.seek(-1, 2)
        file.write(bytes([last ^ 4]))
    with pytest.raises(InputError, match=r"00000.npy is damaged .*its crc32 differs.*run again"):
        open_embeddings(arrays, indexes)


def test_swapped_shards_are_refused(tmp_path):
    arrays, indexes = store(tmp_path)
    for one, other in (arrays, indexes):
        shutil.copy(one, tmp_path / "one")
        shutil.copy(other, one)
        shutil.copy(tmp_path / "one", other)
    with pytest.raises(InputError, match=r"00000.parquet was written for .*00001.npy, not for"):
        open_embeddings(arrays, indexes)


def test_neighbours_of_other_embeddings_are_refused(tmp_path):
    images = open_embeddings(*store(tmp_path))
    note = artifacts.write_array(tmp_path / "k1.npy", np.zeros((10, 1), np.int32))
    facts = {"array": note, "embeddings": images.digest}
    artifacts.write_text(tmp_path / "k1.json", json.dumps(facts))
    files = tmp_path / "k1.npy", tmp_path / "k1.json"
    assert read_neighbours(*files, images).shape == (10, 1)
    with pytest.raises(InputError, match=r"k1.npy holds the neighbours of other .*run again"):
        read_neighbours(*files, open_embeddings(*store(tmp_path, seed=2)))


def test_a_damaged_table_is_named(tmp_path):
    path = tmp_path / "results/a.parquet"
    artifacts.write_table(path, {"a": [1.5] * 9}, {"path": "a/b"})
    content = path.read_bytes()
    assert artifacts.read_meta(path) == {"path": "a/b"}
    path.write_bytes(content[:-20])
    for read in (artifacts.read_table, artifacts.read_meta, artifacts.number_of_rows):
        with pytest.raises(InputError, match=r"a.parquet is not a readable .*run again"):
            read(path)
    path.write_bytes(content)
    table = pq.read_table(path)
    changed = {**table.schema.metadata, artifacts.META_KEY: b'{"path": "a/c"}'}
    pq.write_table(table.replace_schema_metadata(changed), path)
    with pytest.raises(InputError, match=r"a.parquet is not a readable .*run again"):
        artifacts.read_meta(path)


def test_a_file_that_may_not_grow_leaves_nothing(tmp_path):
    """As on a full disk; the array is written, not mapped, which would kill the process."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limit[1]))
    try:
        with pytest.raises(InputError, match=r"a.npy cannot be written, file too large: free some"):
            artifacts.write_array(tmp_path / "a.npy", np.ones(9999))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert not list(tmp_path.iterdir())


def test_what_errors_of_libraries_mean():
    assert "free some space" in unwritable(OSError(28, "No space left on device"))
    assert "free some space" in unwritable(OSError("[Errno 28] Error writing bytes to file"))
    assert "free some space" in unwritable(ValueError("I/O error (os error 28)"))
    assert "writable" in unwritable(OSError(30, "Read-only file system"))
    assert unwritable(OSError(2, "No such file")) is unwritable(ValueError("28")) is None
    assert memory_is_short(MemoryError()) and memory_is_short(pa.ArrowMemoryError("failed"))
    assert memory_is_short(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    assert not memory_is_short(ValueError("memory"))


def test_notes_are_lost_only_where_something_was_made(tmp_path):
    notes, results = tmp_path / ".snakemake", tmp_path / "results"
    artifacts.write_table(results / "images/a/hashes.parquet", {"a": [1]})
    assert not notes_are_lost(notes, results)
    artifacts.write_table(results / "corpora/words.parquet", {"a": [1]})
    assert notes_are_lost(notes, results)
    (notes / "incomplete").mkdir(parents=True)
    (notes / "incomplete/cmVz").touch()
    assert not notes_are_lost(notes, results)


def test_the_notes_of_files_are_found_by_the_names_that_snakemake_gives_them(tmp_path):
    """Names of up to the length that a file's may have, and of several times that."""
    paths = {f"results/{'é' * length}.parquet" for length in (1, 50, 80, 200, 500)}
    longest = SimpleNamespace(_fetch_max_len=lambda subject: 255)
    for path in paths:
        record = Path(FilePersistence._record_path(longest, tmp_path, path))
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text("{}")
    (tmp_path / "no record").touch()
    assert set(_noted(tmp_path)) == paths
