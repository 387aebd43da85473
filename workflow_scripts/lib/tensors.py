"""Named arrays as one safetensors file, with what is needed to notice damage and mix-ups.

For what the workflow itself writes: weights of clusterings, states of unfinished trainings. Weights
of encoders come from the user or a hub and carry no checksum; their SHA-256 is told and compared.
"""

import json
import zlib

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from workflow_scripts.lib.artifacts import place_of
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.replacing import replacing

META_KEY = "clustermine"  # one key for all metadata: several would be written in any order


class Damaged(ValueError):
    """What is wrong with a file, as the end of a sentence that begins with its path."""


def write_tensors(path, arrays, meta=None):
    """Write arrays as one safetensors file in one step; equal arrays give equal bytes.

    arrays: name -> array. meta: a JSON-able dict to store with them. The path (below results) and a
    CRC-32 of all this are stored too, for `read_tensors`.
    """
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    note = {"path": place_of(path), "meta": meta or {}}
    note["crc32"] = _crc32_of(arrays, note)
    with replacing(path) as temporary:
        save_file(arrays, temporary, {META_KEY: json.dumps(note, sort_keys=True)})


def read_tensors(path):
    """Name -> array of a file of `write_tensors`.

    Raises InputError if it is damaged, or not the one that was written here.
    """
    try:
        return checked_tensors(path)[0]
    except Damaged as error:
        raise InputError(f"{path} {error}: delete it and run again") from error


def checked_tensors(path):
    """The arrays of a file of `write_tensors`, and what was stored with them. Raises Damaged."""
    try:
        with safe_open(path, "np") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            note = json.loads((file.metadata() or {})[META_KEY])
        crc, place, meta = note.pop("crc32"), note["path"], note["meta"]
    except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
        raise Damaged(f"is not a readable safetensors file of this workflow ({error})") from error
    if _crc32_of(arrays, note) != crc:
        raise Damaged("is damaged (its crc32 differs)")
    if place != place_of(path):
        raise Damaged(f"was written as {place}")
    return arrays, meta


def _crc32_of(arrays, note):
    """CRC-32, 8 hex digits: the note, then name, dtype, shape and bytes of each array, by name."""
    crc = zlib.crc32(json.dumps(note, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        crc = zlib.crc32(f"{name} {array.dtype} {array.shape}".encode(), crc)
        crc = zlib.crc32(array, crc)
    return f"{crc:08x}"
