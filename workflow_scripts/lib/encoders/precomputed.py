"""Embeddings that the user computed elsewhere: `.npy` arrays, each with a Parquet index in step.

NumPy and pyarrow only: no model is loaded.
"""

from itertools import takewhile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from workflow_scripts.lib.artifacts import read_array, read_table
from workflow_scripts.lib.columns import check_once, check_spelling
from workflow_scripts.lib.embeddings import write_rows
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.job import progress

BLOCK = 65536  # rows copied at once


def read_index(path, column, others=()):
    """Read a user's Parquet index, which must have `column` filled in every row, as texts.

    others: names of further columns, the one that counts most first; those that the index has are
    read too, no more. Raises InputError, also where one that is missing, and that none before it
    replaces, is there in another spelling.
    """
    table, names = read_table(path, [column, *others]), pq.read_schema(path).names
    check_once(path, table.column_names, [column, *others])
    check_spelling(path, names, takewhile(lambda name: name not in names, others))
    if column not in table.column_names:
        raise InputError(f"{path} has no column {column!r} but {names}; add it.")
    if table[column].null_count:
        raise InputError(f"{path}: column {column!r} has {table[column].null_count} empty cells.")
    for number, name in enumerate(table.column_names):
        table = table.set_column(number, name, _texts(table[name], name, path))
    return table


def _texts(column, name, path):
    """A column as texts; numbers are written out."""
    try:
        return column.cast(pa.string())
    except pa.ArrowException as error:
        raise InputError(f"{path}: column {name!r} must hold texts or numbers ({error})") from error


def read_arrays(paths, tables):
    """Open a user's embeddings as memory maps [N, d] of float16, float32 or float64, one d for all.

    tables: the pyarrow Tables of the indexes beside them, of N rows each. Raises InputError.
    """
    arrays = [_read_array(path, len(table)) for path, table in zip(paths, tables, strict=True)]
    dim = arrays[0].shape[1]
    for path, array in zip(paths, arrays, strict=True):
        if array.shape[1] != dim:
            raise InputError(
                f"{path} has dimension {array.shape[1]}, but {paths[0]} has {dim}: embed all "
                "files of a set or corpus with the same encoder."
            )
    return arrays


def _read_array(path, rows):
    array = read_array(path)
    if array.ndim != 2 or array.dtype.kind != "f" or not array.shape[1]:
        raise InputError(f"{path} must be a float array [N, d], not {array.dtype} {array.shape}")
    if len(array) != rows:
        raise InputError(f"{path} has {len(array)} rows but its index has {rows}: they must match.")
    if not rows:
        raise InputError(f"{path} is empty: it needs at least one row.")
    return array


def copy_rows(paths, arrays, kept, output):
    """Join the kept rows of several arrays in one `.npy` file: unit norm, float16 [n, d].

    paths: of the arrays, for messages. arrays: float [N, d] each. kept: per array, which of its
    rows to copy, bool [N]. Works block by block, so nothing is held in memory as a whole. Returns
    the array's note, for its index.
    Raises InputError for a row that is zero or not finite, kept or not.
    """
    shape = (sum(int(keep.sum()) for keep in kept), arrays[0].shape[1])
    return write_rows(output, _kept_rows(paths, arrays, kept), shape)


def _kept_rows(paths, arrays, kept):
    for path, array, keep in zip(progress(paths, unit="files"), arrays, kept, strict=True):
        for start in range(0, len(array), BLOCK):
            part = slice(start, start + BLOCK)
            yield normalise_rows(array[part], path, start)[keep[part]]


def normalise_rows(block, name, start=0):
    """Rows [b, d] scaled to unit norm, float16. Zero or non-finite rows raise InputError.

    name, start: the file and the number of the block's first row in it, for the message.
    """
    rows = np.asarray(block, dtype=np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    bad = np.flatnonzero(~(np.isfinite(norms) & (norms > 0)))
    if len(bad):
        raise InputError(f"{name}: row {start + bad[0]} is zero or not finite: remove or mend it.")
    return (rows / norms).astype(np.float16)


def precomputed_encoder(name, dim):
    """The description of an encoder that ran elsewhere, as the index metadata holds it."""
    return {"model": name, "pretrained": "precomputed", "dim": dim}
