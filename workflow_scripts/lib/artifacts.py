"""Reading and writing artifacts: Parquet tables and NumPy arrays.

Every file is written under a temporary name and renamed, so a reader never sees half of one.
Tables carry a JSON description of what made them in their schema metadata. The table or JSON file
beside an array says which array it was written with, so that a reader notices a damaged array and
one of another run. Nothing is pickled.
"""

import json
import zlib
from pathlib import Path
from tokenize import TokenError

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.replacing import replacing

META_KEY, CRC_KEY = b"clustermine", b"clustermine_crc32"
# What NumPy raises for a header that is none; it reads them as Python's literals.
DAMAGED = (ValueError, TypeError, OverflowError, EOFError, TokenError)
CHUNK = 1 << 20  # bytes of an array that are checked at a time


def unreadable(path, what, error):
    """The InputError of a damaged file. One of the workflow's own is made again when it is gone."""
    advice = ": delete it and run again" if "results" in Path(path).parts else ""
    return InputError(f"{path} is not a readable {what} ({error}){advice}")


def write_text(path, text):
    """Write a UTF-8 text file in one step."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_array(path, array):
    """Write an array as `.npy` in one step. Returns its note, see `write_blocks`."""
    return write_blocks(path, [array], array.shape, array.dtype)


def write_blocks(path, blocks, shape, dtype):
    """Write blocks of rows as one `.npy` in one step, without holding them all.

    blocks: iterable of arrays [b, ...]. shape: (n, ...), n the rows of all blocks, or None if only
    they tell.
    Returns a note of what was written, a dict of path (below results), shape, dtype and the CRC-32
    of the values' bytes. The file beside the array keeps it as "array", for `read_array`.
    """
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False}
    n, *others = shape
    crc, rows = 0, 0
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header | {"shape": (n or 0, *others)})
        for block in blocks:
            values = np.ascontiguousarray(block, dtype)
            file.write(values)
            crc, rows = zlib.crc32(values, crc), rows + len(values)
        if n is None:
            file.seek(0)  # a header has room for any n
            np.lib.format.write_array_header_1_0(file, header | {"shape": (rows, *others)})
        elif rows != n:
            raise ValueError(f"{rows} rows for {path}, which is to have {n}")
    note = {"path": place_of(path), "shape": [rows, *others], "dtype": str(np.dtype(dtype))}
    return note | {"crc32": f"{crc:08x}"}


def place_of(path):
    """A path below the last folder `results`; of a file elsewhere its name."""
    parts = Path(path).parts
    folders = [i for i, part in enumerate(parts[:-1]) if part == "results"]
    return "/".join(parts[folders[-1] + 1 :]) if folders else parts[-1]


def read_array(path, beside=None):
    """Open a `.npy` file as a read-only memory map.

    beside: the Parquet or JSON file that was written with it, to check that it is this array: all
    bytes are read, 6 GB in a second of one core. None, as for the user's arrays: no check.
    Raises InputError if the file is no plain `.npy` array, or not the one.
    """
    array = _open_array(path)
    if beside and (note := note_in(beside)):
        _check_array(path, array, beside, note)
    return array


def note_in(beside):
    """What the file beside an array says of it: see `write_blocks`. None if it says nothing."""
    if Path(beside).suffix == ".json":
        return read_json(beside).get("array")
    return read_meta(beside).get("array")


def _check_array(path, array, beside, note):
    advice = "delete both and run again"
    if note["path"] != place_of(path):
        raise InputError(f"{beside} was written for {note['path']}, not for {path}: {advice}")
    found = {"shape": list(array.shape), "dtype": str(array.dtype)}
    found["crc32"] = crc32_of(path, array.offset) if array.size else "00000000"
    if different := [key for key in found if found[key] != note[key]]:
        raise InputError(
            f"{path} is damaged or of another run than {beside} (its {', '.join(different)} "
            f"differs): {advice}"
        )


def crc32_of(path, offset=0):
    """The CRC-32 of a file's bytes from here on, 8 hex digits; read, not mapped, so that no memory
    is held."""
    crc = 0
    with Path(path).open("rb") as file:
        file.seek(offset)
        while chunk := file.read(CHUNK):
            crc = zlib.crc32(chunk, crc)
    return f"{crc:08x}"


def _open_array(path):
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, *DAMAGED) as error:
        raise unreadable(path, ".npy array", error) from error
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
            {**(table.schema.metadata or {}), META_KEY: text.encode(), CRC_KEY: _crc_of(text)}
        )
    with replacing(path) as temporary:
        pq.write_table(
            table, temporary, row_group_size, compression="zstd", write_page_checksum=True
        )


def read_table(path, columns=None):
    """Read a Parquet file as a pyarrow Table. Raises InputError if it is not one."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table, about = file.read(columns=columns), file.metadata
            rows = sum(about.row_group(i).num_rows for i in range(about.num_row_groups))
            if not len(table) == rows == about.num_rows:
                raise pa.ArrowInvalid("it says that it has other numbers of rows")
            return table
    except (pa.ArrowInvalid, OSError) as error:
        raise unreadable(path, "Parquet file", error) from error


def number_of_rows(path):
    """The rows of a Parquet file, without reading them. Raises InputError if it is not one."""
    try:
        return pq.read_metadata(path).num_rows
    except (pa.ArrowInvalid, OSError) as error:
        raise unreadable(path, "Parquet file", error) from error


def read_meta(path):
    """The dict that `write_table` stored with a Parquet file; {} if there is none.

    Raises InputError if it is not a Parquet file.
    """
    try:
        metadata = pq.read_schema(path).metadata or {}
        text = metadata.get(META_KEY, b"{}").decode()
        if metadata.get(CRC_KEY, _crc_of(text)) != _crc_of(text):
            raise ValueError("what it says of its making is damaged")
        return json.loads(text)
    except (ValueError, OSError) as error:  # pyarrow.ArrowInvalid is a ValueError
        raise unreadable(path, "Parquet file", error) from error


def _crc_of(text):
    return b"%08x" % zlib.crc32(text.encode())


def read_json(path):
    """What a JSON file of the workflow holds. Raises InputError if it cannot be read."""
    try:
        return json.loads(Path(path).read_text("utf-8"))
    except (ValueError, OSError) as error:
        raise unreadable(path, "JSON file", error) from error
