"""Reading and writing artifacts: Parquet tables and NumPy arrays.

Every file is written under a temporary name and renamed, so a reader never sees half of one.
Tables carry a JSON description of what made them in their schema metadata. Nothing is pickled.
"""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.replacing import replacing

META_KEY = b"clustermine"


def write_text(path, text):
    """Write a UTF-8 text file in one step."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_array(path, array):
    """Write an array as `.npy` in one step."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def read_array(path):
    """Open a `.npy` file as a read-only memory map.

    Raises InputError if the file is no plain `.npy` array.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{path} is not a readable .npy array ({error})") from error
    if not isinstance(array, np.ndarray):  # np.load opens archives, too
        raise InputError(
            f"{path} is an archive (of np.savez or torch.save), not one array: save the array in "
            "it by np.save"
        )
    return array


def write_table(path, columns, meta=None, row_group_size=None):
    """Write a Parquet file in one step.

    columns: a pyarrow Table, or a mapping from column names to arrays of equal length.
    meta: a JSON-able dict that says what made the table; `read_meta` returns it.
    row_group_size: rows that are stored and read together, at most; None: 1,048,576.
    """
    table = columns if isinstance(columns, pa.Table) else pa.table(dict(columns))
    if meta is not None:
        text = json.dumps(meta, sort_keys=True, ensure_ascii=False)
        table = table.replace_schema_metadata(
            {**(table.schema.metadata or {}), META_KEY: text.encode()}
        )
    with replacing(path) as temporary:
        pq.write_table(table, temporary, row_group_size=row_group_size, compression="zstd")


def read_table(path, columns=None):
    """Read a Parquet file as a pyarrow Table. Raises InputError if it is not one."""
    try:
        with pq.ParquetFile(path) as file:
            return file.read(columns=columns)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path} is not a readable Parquet file ({error})") from error


def number_of_rows(path):
    """The rows of a Parquet file, without reading them. Raises InputError if it is not one."""
    try:
        return pq.read_metadata(path).num_rows
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path} is not a readable Parquet file ({error})") from error


def read_meta(path):
    """The dict that `write_table` stored with a Parquet file; {} if there is none."""
    metadata = pq.read_schema(path).metadata or {}
    return json.loads(metadata.get(META_KEY, b"{}"))
