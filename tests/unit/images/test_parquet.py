"""Parquet files with images, as Hugging Face datasets writes them."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from image_files import outcome, picture

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images import parquet
from workflow_scripts.lib.images.containers import open_container


def write_datasets(path, rows, labels, names=None, group=2, column="image"):
    """A Parquet file as Hugging Face datasets writes one; rows: structs of bytes and path."""
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"id": range(len(rows)), column: pa.array(rows, kind), "label": labels})
    feature = {"_type": "ClassLabel", "names": names} if names else {"_type": "Value"}
    features = {column: {"_type": "Image"}, "label": feature}
    meta = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    pq.write_table(table.replace_schema_metadata(meta), path, row_group_size=group)


def row(seed, path=None):
    return {"bytes": picture(seed), "path": path}


def test_parquet_of_datasets(tmp_path):
    rows = [row(0, "cat/0.png"), None, {"bytes": None, "path": "b.png"}, row(3), row(4, "../x.png")]
    rows += [row(5, "cat/0.png"), row(6, "six.png"), row(7, "seven.png")]
    write_datasets(
        tmp_path / "a.parquet", rows, [1, 0, 0, 0, 0, 0, -1, 2], ["dog", "cat"], column="picture"
    )
    good, bad = outcome(open_container("parquet", tmp_path / "a.parquet"))
    assert good == {
        "cat/0.png": ("cat", picture(0)),
        "a/00000003": ("dog", picture(3)),
        "six.png": (None, picture(6)),
    }
    assert bad == {
        "a/00000001": "no image in this row (null)",
        "b.png": "no image in this row (null)",
        "../x.png": "name with '..': make it relative to the set's folder, or set ids to 'row'",
        "cat/0.png": "same image id as the entry at a.parquet:0: set ids to 'row'",
        "seven.png": "label 2 is none of the 2 classes",
    }
    good, bad = outcome(open_container("parquet", tmp_path / "a.parquet", "subfolder", ids="row"))
    assert good["a/00000005"] == ("a", picture(5))
    assert len(good) == 6


def test_parquet_files_in_any_order_and_from_threads(tmp_path):
    for part in range(2):
        rows = [row(10 * part + i) for i in range(10)]
        write_datasets(tmp_path / f"{part}.parquet", rows, ["x", None] * 5, group=3)
    container = open_container("parquet", tmp_path)
    listed = list(container.entries())
    assert [i for i, _ in listed] == [f"{p}/{i:08d}" for p in range(2) for i in range(10)]
    assert [locator["label"] for _, locator in listed] == ["x", None] * 10
    order = np.random.default_rng(0).permutation(20)
    with ThreadPoolExecutor(8) as pool:
        contents = list(pool.map(lambda i: container.read(listed[i][1]), order))
    assert contents == [picture(i) for i in order]


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_parquet_with_a_plain_binary_column(tmp_path, kind):
    jpg = pa.array([picture(0), None], kind)
    pq.write_table(
        pa.table({"jpg": jpg, "name": ["a", "b"], "label": [3, 4]}), tmp_path / "a.parquet"
    )
    good, bad = outcome(open_container("parquet", tmp_path / "a.parquet"))
    assert good == {"a/00000000": ("3", picture(0))}
    assert bad == {"a/00000001": "no image in this row (null)"}
    good, _ = outcome(open_container("parquet", tmp_path / "a.parquet", image="jpg", label="name"))
    assert good == {"a/00000000": ("a", picture(0))}


def test_parquet_with_wrong_columns(tmp_path):
    path = tmp_path / "a.parquet"
    two = {"x": pa.array([b""]), "y": pa.array([b""]), "label": [0.5]}
    pq.write_table(pa.table(two), path)
    with pytest.raises(InputError, match=r"which column holds the images.*x \(binary\), y"):
        outcome(open_container("parquet", path))
    with pytest.raises(InputError, match="which column holds the images"):
        outcome(open_container("parquet", path, image="label"))
    with pytest.raises(InputError, match=r"has no column 'klass' \(columns: 'x', 'y', 'label'\)"):
        outcome(open_container("parquet", path, image="x", label="klass"))
    with pytest.raises(InputError, match="must hold texts or integers, not double"):
        outcome(open_container("parquet", path, image="x"))
    with pytest.raises(InputError, match="must be 'path' or 'row'"):
        open_container("parquet", path, ids="name")


def test_damaged_and_too_large_parquet(tmp_path, monkeypatch):
    path = tmp_path / "a.parquet"
    write_datasets(path, [row(i) for i in range(4)], [0] * 4)
    container = open_container("parquet", path)
    listed = list(container.entries())
    monkeypatch.setattr(parquet, "MAX_ROW_GROUP", 100)
    with pytest.raises(InputError, match="row_group_size"):
        container.read(listed[0][1])
    monkeypatch.undo()
    write_datasets(path, [row(0)], [0])
    with pytest.raises(InputError, match="shorter than when it was listed"):
        container.read(listed[3][1])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="not a readable Parquet file"):
        container.read(listed[0][1])
    with pytest.raises(InputError, match="not a readable Parquet file"):
        list(container.entries())
