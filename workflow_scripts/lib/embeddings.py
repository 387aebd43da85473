"""Access to stored embeddings: `.npy` parts of unit rows, each with a Parquet index in step.

They are stored as float16, whose rounding leaves norms (and so cosines) off by some 1e-4. So rows
are scaled to unit norm whenever they are read, here and nowhere else. NumPy and pyarrow only, so
that jobs that read embeddings start fast.
"""

import hashlib
import json
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pyarrow as pa

from workflow_scripts.lib import artifacts
from workflow_scripts.lib.errors import InputError

IMAGE_INDEX = pa.schema([(name, pa.string()) for name in ("image_id", "label", "sha256")])
BLOCK = 8192  # rows of embeddings that a stream holds at a time


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of one image set or corpus, spread over parts; made by `open_embeddings`.

    arrays: list of array-likes [n_s, d] on disk (`UnitRows`). index: the parts' `Index` of N rows,
    in the arrays' order (or a pyarrow Table). meta: what the index says of its making, with the key
    "encoder". notes: what the parts' indexes say of their arrays (`artifacts.write_blocks`), or
    None, of arrays that belong to no single file.
    """

    arrays: list
    index: "Index"
    meta: dict
    notes: list | None = None

    @property
    def rows(self):
        """N, the number of embeddings."""
        return sum(len(array) for array in self.arrays)

    @property
    def dim(self):
        """d, the length of an embedding."""
        return self.arrays[0].shape[1]

    @property
    def digest(self):
        """What tells these rows from others, for what is kept by row number; None without notes."""
        if not self.notes or None in self.notes:
            return None
        return hashlib.sha256(json.dumps(self.notes, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def ids(self):
        """The image ids, a list of N strings."""
        return self.index["image_id"].to_pylist()

    @property
    def labels(self):
        """The labels as the folders or tables spell them, a list of N strings or None."""
        return self.index["label"].to_pylist()

    def blocks(self, size=BLOCK, rows=None):
        """An iterator over rows as float32 blocks [b, d], b <= size; its len is their number.

        rows: their numbers, int [n], which are read in this order; None takes all rows in order.
        """
        if rows is None:
            starts = [(array, i) for array in self.arrays for i in range(0, len(array), size)]
            parts = ((array, slice(i, i + size)) for array, i in starts)
        else:
            starts, joined = range(0, len(rows), size), self.joined()
            parts = ((joined, rows[i : i + size]) for i in starts)
        return _Blocks(parts, len(starts))

    def joined(self):
        """All rows as one array-like [N, d] on disk, for random access: len, shape, [rows]."""
        return self.arrays[0] if len(self.arrays) == 1 else _Joined(self.arrays)

    def stored(self, rows, size=BLOCK):
        """An iterator over rows as they are stored, to copy them exactly; rows as in `blocks`."""
        maps = _Joined([array.stored for array in self.arrays], self.arrays[0].stored.dtype)
        return (maps[rows[i : i + size]] for i in range(0, len(rows), size))

    def array(self, rows=None):
        """Rows in memory, float32 [n, d]; which, see `blocks`."""
        found = np.empty((self.rows if rows is None else len(rows), self.dim), np.float32)
        start = 0
        for block in self.blocks(rows=rows):
            found[start : start + len(block)] = block
            start += len(block)
        return found


class Index:
    """The Parquet indexes of parts as one table, of which columns are read when asked for.

    The strings of all images take more memory than most stages that stream embeddings.
    """

    def __init__(self, paths):
        self._paths = paths

    def __getitem__(self, name):
        """A column, a pyarrow ChunkedArray of N values."""
        return self._table([name])[name]

    def take(self, rows):
        """The rows with these numbers, a pyarrow Table."""
        return self._table().take(rows)

    def _table(self, columns=None):
        tables = [artifacts.read_table(path, columns) for path in self._paths]
        return pa.concat_tables(tables, promote_options="default")


class UnitRows:
    """An array [n, d] on disk whose rows are scaled to unit norm when read: len, shape, [rows].

    stored: the array as it is, to copy rows exactly. Rows of zeros stay, and NaN stays NaN.
    """

    ndim = 2

    def __init__(self, stored):
        self.stored, self.shape = stored, stored.shape

    def __len__(self):
        return len(self.stored)

    def __getitem__(self, rows):
        """The rows of a slice or with these numbers, int [n]: float32 [n, d]."""
        found = np.array(self.stored[rows], dtype=np.float32)
        norms = np.sqrt(np.einsum("nd,nd->n", found, found))[:, None]
        found /= np.where(norms > 0, norms, 1)
        return found


class Chosen:
    """Some rows of an array-like [M, d], in any order, as an array-like [N, d] of float32.

    numbers: int [N], those of the rows.
    """

    ndim = 2

    def __init__(self, array, numbers):
        self._array, self._numbers = array, numbers
        self.shape = (len(numbers), array.shape[1])

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        """The rows of a slice or with these numbers, int [n]: float32 [n, d]."""
        return self._array[self._numbers[rows]]


def read_texts(path, index):
    """All embeddings of a `.npy` file, e.g. of a corpus: float32 [V, d], unit norm.

    index: the file beside it, see `read_array`.
    """
    return UnitRows(artifacts.read_array(path, index))[:]


class _Blocks:
    """Parts of arrays as float32 blocks, which know how many they are."""

    def __init__(self, parts, number):
        self._parts, self._number = parts, number

    def __len__(self):
        return self._number

    def __iter__(self):
        return self

    def __next__(self):
        array, part = next(self._parts)
        return np.asarray(array[part], dtype=np.float32)


class _Joined:
    """Rows of several arrays as if they were one."""

    def __init__(self, arrays, dtype=np.float32):
        self._arrays, self._dtype = arrays, dtype
        self._starts = np.cumsum([0, *(len(array) for array in arrays)])
        self.shape = (int(self._starts[-1]), arrays[0].shape[1])

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        """The rows of a slice or with these numbers, int [n], in this order."""
        if isinstance(rows, slice):
            return self._slice(*rows.indices(len(self)))
        rows = np.asarray(rows)
        part = np.searchsorted(self._starts, rows, side="right") - 1
        found = np.empty((len(rows), self.shape[1]), self._dtype)
        for i in np.unique(part):
            here = part == i
            found[here] = self._arrays[i][rows[here] - self._starts[i]]
        return found

    def _slice(self, start, stop, step):
        """Rows in their order, read part by part: gathering them by number is slower."""
        if step != 1:
            return self[np.arange(start, stop, step)]
        found = np.empty((max(0, stop - start), self.shape[1]), self._dtype)
        for array, first in zip(self._arrays, self._starts, strict=False):
            low, high = max(start, first), min(stop, first + len(array))
            if low < high:
                found[low - start : high - start] = array[low - first : high - first]
        return found


def open_embeddings(arrays, indexes):
    """Open the parts of one set of embeddings.

    arrays: paths of `.npy` files [n_s, d]. indexes: paths of their Parquet indexes, same order.
    Raises InputError if rows, dimensions or encoders do not match, or an array is not the one that
    its index was written with, which reads it once (`read_array`).
    """
    if not arrays or len(arrays) != len(indexes):
        raise InputError(f"{len(arrays)} embedding files but {len(indexes)} index files")
    maps = [artifacts.read_array(path, index) for path, index in zip(arrays, indexes, strict=True)]
    lengths = [artifacts.number_of_rows(path) for path in indexes]
    metas = [artifacts.read_meta(path) for path in indexes]
    for path, index, array, rows, meta in zip(arrays, indexes, maps, lengths, metas, strict=True):
        if array.ndim != 2 or array.shape[1] != maps[0].shape[1]:
            raise InputError(f"{path} has shape {array.shape}, {arrays[0]} {maps[0].shape}")
        if len(array) != rows:
            raise InputError(f"{path} has {len(array)} rows but {index} {rows}")
        if _encoder(meta) != _encoder(metas[0]):
            raise InputError(f"{index} and {indexes[0]} come from different encoders: embed again.")
    notes = [meta.get("array") for meta in metas]
    return Embeddings([UnitRows(array) for array in maps], Index(indexes), metas[0], notes)


def split_parts(files, parts):
    """Name -> those of a list of files (or arrays) that are its parts.

    files: the parts of all sets, one set after the other. parts: name -> number of parts, in
    the order of the files. Raises InputError if the numbers do not add up.
    """
    if sum(parts.values()) != len(files):
        raise InputError(f"{len(files)} files, but {sum(parts.values())} parts of {list(parts)}")
    remaining = iter(files)
    return {name: list(islice(remaining, number)) for name, number in parts.items()}


def open_sets(arrays, indexes, parts):
    """Open the parts of several sets of embeddings: name -> Embeddings.

    arrays, indexes: as in `open_embeddings`, one set after the other. parts: see `split_parts`.
    """
    arrays_of, indexes_of = split_parts(arrays, parts), split_parts(indexes, parts)
    return {name: open_embeddings(arrays_of[name], indexes_of[name]) for name in parts}


def _encoder(meta):
    """What tells encoders apart: their description without the versions of the libraries."""
    return {key: value for key, value in meta.get("encoder", {}).items() if key != "versions"}


def encoder_differences(one, other, names):
    """What two descriptions of encoders differ in, as text; "" if they are of the same encoder.

    one, other: of `Encoder.describe`; their versions of libraries do not count. names: of the two,
    for the text.
    """
    one, other = _encoder({"encoder": one}), _encoder({"encoder": other})
    keys = sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))
    return "; ".join(
        f"{key}: {names[0]} {one.get(key)!r}, {names[1]} {other.get(key)!r}" for key in keys
    )


def check_same_encoder(images_meta, texts_meta):
    """Raise InputError unless images and texts were embedded by the same encoder."""
    encoders = (meta.get("encoder", {}) for meta in (images_meta, texts_meta))
    if values := encoder_differences(*encoders, ("images", "texts")):
        raise InputError(
            f"Image and text embeddings come from different encoders ({values}). "
            "Their cosine similarities mean nothing: embed both with the same encoder."
        )


def write_rows(path, blocks, shape):
    """Write blocks of embeddings as one float16 `.npy` in one step, without holding them all.

    blocks: iterable of float [b, d], n rows in all. shape: (n, d), or (None, d) if only they tell
    n. Returns the array's note, for its index (`artifacts.write_blocks`).
    """
    return artifacts.write_blocks(path, blocks, shape, np.float16)
