"""The two files of a detector to take away, which `stored.load_detector` opens.

`detector.json` has names, settings and the description of the encoder, `detector.safetensors` the
arrays. The JSON tells the SHA-256 of the arrays, so that the two cannot be mixed up.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from workflow_scripts.lib.artifacts import write_text
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.replacing import replacing

FORMAT = 1
JSON_NAME, ARRAYS_NAME = "detector.json", "detector.safetensors"
KEYS = (
    "arrays", "calibration", "clusters", "columns", "decide_by", "detectors", "encoder", "format",
    "left_out", "mining", "negatives", "positives", "rate",
)  # fmt: skip


def read_arrays(path, meta):
    """The arrays of a stored detector, name -> array.

    path: of its detector.json. meta: what this says. Raises InputError if they are
    missing, damaged or another detector's.
    """
    arrays_path = path.with_name(ARRAYS_NAME)
    try:
        content = arrays_path.read_bytes()
        if hashlib.sha256(content).hexdigest() != meta["arrays"]:
            raise InputError(
                f"{arrays_path} is not what {path.name} was stored with (damaged, or of another "
                "detector); store the detector again or copy both files"
            )
        return load(content)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{arrays_path} cannot be read ({error})") from error


def description_path(path):
    """Path of the detector.json of a stored detector, given as its folder or as this file."""
    return Path(path, JSON_NAME) if Path(path).is_dir() else Path(path)


def read_description(path):
    """What detector.json says. path: as in `description_path`. Raises InputError."""
    path = description_path(path)
    try:
        meta = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        hint = f"`snakemake results/detectors/.../{JSON_NAME}` stores one"
        raise InputError(f"{path} is no stored detector: no such file; {hint}") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no stored detector that can be read ({error})") from error
    missing = [key for key in KEYS if not isinstance(meta, dict) or key not in meta]
    if missing or meta["format"] != FORMAT:
        what = f"without {missing[0]!r}" if missing else f"of format {meta['format']}"
        raise InputError(f"{path} is no stored detector of format {FORMAT} ({what})")
    return meta


def write_detector(json_path, arrays_path, meta, arrays):
    """Write a detector that `load_detector` opens; equal inputs give equal bytes.

    meta: KEYS but `arrays`, and more. arrays: name -> array, as `Detector` reads them.
    """
    content = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    with replacing(arrays_path) as temporary:
        temporary.write_bytes(content)
    meta = {**meta, "format": FORMAT, "arrays": hashlib.sha256(content).hexdigest()}
    write_text(json_path, json.dumps(meta, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
