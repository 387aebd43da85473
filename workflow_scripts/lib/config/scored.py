"""The config for `snakemake score`: the images to score and a detector's encoder as blocks."""

import re
from pathlib import Path

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images.kinds import LABELS

START = "scored."  # of the names of both blocks, so that they are not taken for the user's
EMBEDDED = ("embeddings", "clip_retrieval")  # keys of embeddings that were computed elsewhere


def images_to_score(config):
    """(kind, path) of the images that a top-level key names. Raises InputError but for one key."""
    kinds = (*LABELS, *EMBEDDED)
    given = [(kind, config[kind]) for kind in kinds if kind in config]
    if len(given) != 1:
        raise InputError(
            f"config: detector: give the images to score by one of {', '.join(kinds)}, as in "
            "--config folder=/data/new detector=results/detectors/..."
        )
    return given[0]


def scored_name(config):
    """What the results are called: the last part of the images' path, as a name."""
    _, path = images_to_score(config)
    return re.sub(r"\W+", "_", Path(str(path)).stem, flags=re.ASCII).strip("_") or "images"


def with_scored(config, encoder):
    """The config with the image set and the encoder to score with, both called START + a name.

    encoder: what a detector's JSON says of its encoder: name and block.
    Raises InputError for images that this encoder does not embed.
    """
    kind, path = images_to_score(config)
    name, block = START + scored_name(config), encoder["block"]
    _check_kind(kind, block["method"], "index" in config)
    if kind in EMBEDDED:
        image_set, files = {}, {key: config[key] for key in (kind, "index") if key in config}
        block = {"method": "precomputed", "images": {name: files}}
    else:
        place = path if kind == "folder" else {"path": path}
        image_set = {kind: place, "labels": "none"}
        image_set |= {"shards": config["shards"]} if "shards" in config else {}
    return config | {
        "image_sets": config["image_sets"] | {name: image_set},
        "encoders": config["encoders"] | {START + encoder["name"]: block},
    }


def _check_kind(kind, method, indexed):
    """Raise InputError unless an encoder of this method goes with images of this kind; indexed:
    whether there is the key `index`."""
    if method == "precomputed" and kind not in EMBEDDED:
        raise InputError(
            f"config: {kind}: the detector's embeddings were computed elsewhere, so no encoder is "
            "known; embed the images as those of its study, and give embeddings and index, or "
            "clip_retrieval"
        )
    if method != "precomputed" and kind in EMBEDDED:
        raise InputError(
            f"config: {kind}: the detector embeds images itself; give them by one of "
            f"{', '.join(LABELS)}, or score embeddings in Python (results/README.md)"
        )
    if indexed != (kind == "embeddings"):
        raise InputError("config: index: give it beside embeddings, and only there")
