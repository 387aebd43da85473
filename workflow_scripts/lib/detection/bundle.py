"""The two files of a detector to take away, which `stored.load_detector` opens.

`detector.json` has names, settings and the description of the encoder, `detector.safetensors` the
arrays. The JSON tells the SHA-256 of the arrays, so that the two cannot be mixed up, and a CRC-32
of itself without the block that loads the encoder, which may be edited.
"""

import hashlib
import json
import zlib
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load, save

from workflow_scripts.lib.artifacts import write_text
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.replacing import replacing

FORMAT = 1
JSON_NAME, ARRAYS_NAME = "detector.json", "detector.safetensors"
Names = Annotated[list[str], Field(min_length=1)]


class Block(BaseModel):
    """A config block; its other keys are those of its method."""

    method: str


class Encoder(BaseModel):
    """What embeds the images."""

    name: str
    block: Block
    description: dict


class Clusters(BaseModel):
    """What assigns images to clusters, and their names."""

    cfg: Block
    names: list[str | None]


class Description(BaseModel):
    """What reading relies on in detector.json, which has more (results/README.md)."""

    format: int
    arrays: str
    calibration: str | None
    clusters: Clusters | None
    columns: Names
    crc32: str | None = None  # of a detector that was stored without: not compared
    decide_by: str
    detectors: dict[str, Block]
    encoder: Encoder
    left_out: dict[str, str]
    mining: str
    negatives: dict[str, list[str]]
    positives: Names
    rate: float = Field(ge=0, le=1)


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
        arrays = load(content)
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{arrays_path} cannot be read ({error}): copy or store it again"
        ) from error
    if lacking := _lacking(arrays, meta):
        raise InputError(f"{arrays_path} does not fit {path.name} ({lacking}); store it again")
    return arrays


def _lacking(arrays, meta):
    """What an array of a detector lacks that its description tells, or None."""
    rows = {"positives": len(meta["positives"])}
    rows |= {f"negatives.{name}": len(names) for name, names in meta["negatives"].items()}
    for name, number in rows.items():
        array = arrays.get(name, np.empty(0))
        if array.ndim != 2 or len(array) != number or not np.isfinite(array).all():
            return f"{name}: needs {number} finite rows"
    columns = [f"calibration.{name}" for name in meta["columns"] if meta["calibration"]]
    return next((f"no {name}" for name in columns if not len(arrays.get(name, ()))), None)


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
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path} is no stored detector that can be read ({error}): copy or store it again"
        ) from error
    if isinstance(meta, dict) and meta.get("format", FORMAT) != FORMAT:
        found = meta["format"]
        raise InputError(
            f"{path} is no stored detector of format {FORMAT} but of format {found}: store it again"
        )
    try:
        Description.model_validate(meta, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "all of it"
        raise InputError(
            f"{path} is no stored detector of format {FORMAT} ({where!r}: {first['msg']}); store "
            "it again"
        ) from None
    if meta["decide_by"] not in meta["columns"]:
        raise InputError(f"{path}: 'decide_by' is none of its columns; store the detector again")
    if meta.get("crc32") not in (None, _crc32_of(meta)):
        raise InputError(
            f"{path} is damaged or was edited (its crc32 differs): store the detector again, or "
            "copy it again; only the encoder's block may be edited"
        )
    return meta


def _crc32_of(meta):
    """CRC-32, 8 hex digits, of what detector.json says, without this and the encoder's block."""
    encoder = {key: value for key, value in meta["encoder"].items() if key != "block"}
    rest = {key: value for key, value in meta.items() if key != "crc32"} | {"encoder": encoder}
    return f"{zlib.crc32(json.dumps(rest, sort_keys=True).encode()):08x}"


def write_detector(json_path, arrays_path, meta, arrays):
    """Write a detector that `load_detector` opens; equal inputs give equal bytes.

    meta: what `Description` has but format and arrays, and more. arrays: name -> array, as
    `Detector` reads them.
    """
    content = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    with replacing(arrays_path) as temporary:
        temporary.write_bytes(content)
    meta = {**meta, "format": FORMAT, "arrays": hashlib.sha256(content).hexdigest()}
    meta["crc32"] = _crc32_of(meta)
    write_text(json_path, json.dumps(meta, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
