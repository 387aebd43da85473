"""The config for `snakemake score`: the images to score and a detector's encoder as blocks."""

import re
from pathlib import Path

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images.kinds import LABELS

START = "scored."  # of the names of both blocks, so that they are not taken for the user's


def images_to_score(config):
    """(kind, path) of the images that a top-level key names. Raises InputError but for one key."""
    given = [(kind, config[kind]) for kind in LABELS if kind in config]
    if len(given) != 1:
        raise InputError(
            f"config: detector: give the images to score by one of {', '.join(LABELS)}, as in "
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
    Raises InputError for an encoder that cannot be run.
    """
    if encoder["block"]["method"] == "precomputed":
        raise InputError(
            "config: detector: its embeddings were computed elsewhere, so no encoder is known; "
            "score embeddings in Python (results/README.md)"
        )
    kind, path = images_to_score(config)
    image_set = {kind: {"path": path} if kind in ("list", "parquet") else path, "labels": "none"}
    image_set |= {"shards": config["shards"]} if "shards" in config else {}
    return config | {
        "image_sets": config["image_sets"] | {START + scored_name(config): image_set},
        "encoders": config["encoders"] | {START + encoder["name"]: encoder["block"]},
    }
