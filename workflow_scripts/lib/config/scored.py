"""The config for `snakemake score`: the images to score and a detector's encoder as blocks."""

import re
from pathlib import Path

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images.kinds import LABELS

START = "scored."  # of the names of both blocks, so that they are not taken for the user's
EMBEDDED = ("embeddings", "clip_retrieval")  # keys of embeddings that were computed elsewhere
ENDINGS = re.compile(r"\.(tar|tar\.gz|tgz|parquet|csv|tsv|txt|npy)$", re.IGNORECASE)  # of files


def images_to_score(config):
    """(kind, path) of the images that a top-level key names. Raises InputError but for one key."""
    kinds = (*LABELS, *EMBEDDED)
    given = [(kind, config[kind]) for kind in kinds if kind in config]
    if len(given) != 1:
        raise InputError(
            f"config: detector: give the images to score by one of {', '.join(kinds)}, as in "
            "--config folder=/data/new detector=results/detectors/..."
        )
    kind, path = given[0]
    check_text(kind, path)
    return kind, path


def check_text(key, value):
    """Raise InputError for the value of a key that Snakemake took for a number, a block or nothing.

    Such as 2024.10, which it hands over as 2024.1.
    """
    if not isinstance(value, str) or not value:
        raise InputError(
            f"config: {key}: {value!r} is no text: begin a path with ./ or /, "
            "and a name with a letter"
        )


def scored_name(config):
    """What the results are called: the key `name`, else the last part of the images' path.

    Of this part letters, digits, underscores and dots stay, as in all names of a config.
    """
    kind, path = images_to_score(config)
    if "name" in config:
        check_text("name", config["name"])
        if not re.fullmatch(r"\w[\w.]*", config["name"], re.ASCII):
            raise InputError(
                f"config: name: {config['name']!r} is not of letters, digits, _ and dots"
            )
        return config["name"]
    last = Path(path).name
    last = Path(path).resolve().name if last in ("", "..") else last
    last = last if kind == "folder" else ENDINGS.sub("", last)
    return re.sub(r"[^A-Za-z0-9_.]+", "_", last).strip("_.") or "images"


def check_name(config):
    """Raise InputError if there are results of this name of other images, which would be lost.

    Of the same path they are made anew, whatever is there now and whichever detector scores it.
    """
    from workflow_scripts.lib.artifacts import read_meta  # imports pyarrow

    kind, path = images_to_score(config)
    made = Path(f"results/scored/{scored_name(config)}/outliers.parquet")
    earlier = read_meta(made).get("images") if made.exists() else None
    if earlier and (earlier[0] != kind or not _same_path(earlier[1], path)):
        raise InputError(
            f"config: {kind}: {made.parent} has the scores of {earlier[0]}={earlier[1]}, which "
            f"those of {path} would replace: give these another name (--config name=...), or "
            "delete that folder"
        )


def _same_path(one, other):
    return Path(one).resolve() == Path(other).resolve()


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
