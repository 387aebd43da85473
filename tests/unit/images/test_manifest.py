"""An image's shard, and reading the rows of one."""

import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images import manifest
from workflow_scripts.lib.images.manifest import LISTED, MANIFEST, read_shard, shard_of, write_rows


def test_shard_depends_on_the_id_alone():
    ids = [f"class {i % 7}/image_{i}.jpg" for i in range(4000)] + ["Zoë/ü.png"]
    shards = [shard_of(i, 8) for i in ids]
    assert shards == [zlib.crc32(i.encode("utf-8")) % 8 for i in ids]
    assert np.bincount(shards, minlength=8).min() > 400


@pytest.fixture
def sharded(tmp_path, monkeypatch):
    """A manifest of 3 shards of 10 rows, in row groups of 4 rows."""
    monkeypatch.setattr(manifest, "ROW_GROUP", 4)
    rows = [
        {"image_id": f"{shard}/{i}.png", "shard": shard} for shard in (0, 1, 3) for i in range(10)
    ]
    path = tmp_path / "manifest.parquet"
    write_rows(path, pa.Table.from_pylist(rows, LISTED), MANIFEST)
    return path


def test_read_shard_gives_the_rows_of_one_shard(sharded):
    everything = pq.read_table(sharded).to_pylist()
    assert len(everything) == 30
    for shard in range(5):
        table = read_shard(sharded, shard)
        assert table.schema.equals(MANIFEST)
        assert table.to_pylist() == [row for row in everything if row["shard"] == shard]


def test_read_shard_reads_no_row_group_without_it(sharded):
    content = bytearray(sharded.read_bytes())
    metadata = pq.read_metadata(sharded)
    assert metadata.num_row_groups == 8
    for group in (3, 4, 5, 6, 7):  # rows 12..29; shard 0 has the rows 0..9
        for column in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(column)
            start = chunk.dictionary_page_offset or chunk.data_page_offset
            content[start : start + chunk.total_compressed_size] = bytes(
                chunk.total_compressed_size
            )
    sharded.write_bytes(content)
    assert read_shard(sharded, 0).num_rows == 10
    with pytest.raises(OSError):
        pq.read_table(sharded)


def test_a_manifest_that_is_none_is_named(tmp_path):
    (tmp_path / "manifest.parquet").write_text("no table")
    with pytest.raises(InputError, match=r"manifest.parquet is not a readable Parquet file"):
        read_shard(tmp_path / "manifest.parquet", 0)
