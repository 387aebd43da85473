"""Damaged embeddings of the user's and their indexes are refused by their names."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workflow_scripts.import_images import import_images
from workflow_scripts.import_texts import import_texts
from workflow_scripts.lib.errors import InputError

IDS = ["a", "b", "c"]


def refusal(folder, table, array=None):
    if array is None:
        np.save(folder / "e.npy", np.eye(3, dtype=np.float32))
    else:
        (folder / "e.npy").write_bytes(array)
    pq.write_table(table, folder / "i.parquet")
    given, out = ([folder / "e.npy"], [folder / "i.parquet"]), folder / "out"
    with pytest.raises(InputError) as error:
        if "concept" in table.column_names:
            cfg = {"encoder": "x", "sources": ["w"], "columns": ["concept"]}
            import_texts(*given, cfg, out / "e.npy", out / "i.parquet")
        else:
            cfg = {"encoder": "x", "id_column": "image_id", "label_column": None}
            import_images(*given, cfg, out / "e.npy", out / "i.parquet", out / "q.parquet")
    return str(error.value)


def npy(shape):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    return b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header.encode() + bytes(36)


@pytest.mark.parametrize("shape", ["(-3, 3)", "(9" + "9" * 30 + ", 3)", "(True, 3)", "((("])
def test_a_header_of_an_array_that_cannot_be(tmp_path, shape):
    message = refusal(tmp_path, pa.table({"image_id": IDS}), npy(shape))
    assert "e.npy is not a readable .npy array" in message


@pytest.mark.parametrize("values", [[["a"]] * 3, [{"a": 1}] * 3, [b"\xff", b"b", b"c"]])
@pytest.mark.parametrize("column", ["image_id", "label", "concept", "pos"])
def test_a_column_that_holds_no_texts(tmp_path, column, values):
    key = "concept" if column in ("concept", "pos") else "image_id"
    message = refusal(tmp_path, pa.table({key: IDS} | {column: values}))
    assert f"i.parquet: column {column!r} must hold texts or numbers" in message


@pytest.mark.parametrize(
    ("columns", "wrong", "right"),
    [
        (["image_id", "Label"], "Label", "label"),
        (["image_id", " label"], " label", "label"),
        (["image_id", "Label_Name", "label"], "Label_Name", "label_name"),
        (["concept", "Pos"], "Pos", "pos"),
        (["concept", "pos "], "pos ", "pos"),
    ],
)
def test_an_optional_column_in_another_spelling(tmp_path, columns, wrong, right):
    message = refusal(tmp_path, pa.table(dict.fromkeys(columns, IDS)))
    assert f"i.parquet: the column {wrong!r} would not be read: call it {right!r}" in message


@pytest.mark.parametrize("column", ["image_id", "label"])
def test_a_column_that_is_there_twice(tmp_path, column):
    names = ["image_id", "label", column]
    message = refusal(tmp_path, pa.Table.from_arrays([pa.array(IDS)] * 3, names=names))
    assert f"i.parquet: the column {column!r} is there twice" in message
