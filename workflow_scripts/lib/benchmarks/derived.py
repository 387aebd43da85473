"""How an image set is derived from another one: which of its images, by method.

Every method is a function of (images: `Embeddings` of N images, labels: object [N], None where
unknown, cfg: its config block) and returns rows, sorted int64. A new method is one function, one
entry in METHODS and one block in `models.py`. Labels choose images here, for benchmarks; no
clustering sees them.
"""

import hashlib
import logging

import numpy as np

from workflow_scripts.lib.benchmarks import difficulty, subsets
from workflow_scripts.lib.errors import InputError

CLASSIFIERS = {"knn": difficulty.knn_accuracy, "linear": difficulty.linear_probe_accuracy}
LEVELS = ("easy", "hard", "random")


def sample(images, labels, cfg):
    """A random sample. Raises InputError if there are fewer images than asked for."""
    if cfg["images"] > images.rows:
        raise InputError(
            f"derive: {cfg['from']} has {images.rows} images, {cfg['images']} are asked for"
        )
    rng = np.random.default_rng(cfg["seed"])
    return np.sort(rng.choice(images.rows, cfg["images"], replace=False))


def holdout(images, labels, cfg):
    """The part `fit` or `calibration`: the share of images whose hash is small, or the others.

    The hash is the start of SHA-256 of the seed and the image id, a number in [0, 1). So both parts
    together are the set, and an image that is added or removed moves no other. Our choice; `sample`
    would draw anew. Raises InputError if the part has no images.
    """
    small = np.array([_hash(name, cfg["seed"]) < cfg["share"] for name in images.ids], bool)
    rows = np.flatnonzero(small == (cfg["part"] == "calibration"))
    if not len(rows):
        raise InputError(
            f"derive: no image of {cfg['from']} falls into the part {cfg['part']!r}; it has "
            f"{images.rows} images, so choose a share further from {cfg['share']}"
        )
    return rows


def _hash(image_id, seed):
    digest = hashlib.sha256(f"{seed}/{image_id}".encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48


def imbalance(images, labels, cfg):
    """The images of the classes of middling size, or of a control."""
    rows = subsets.imbalance_range(labels, cfg["half_width"])
    if cfg["control"] == "none":
        return rows
    equal = subsets.equal_size(labels, rows, cfg["seed"])
    if cfg["control"] == "equal_size":
        return equal
    return subsets.same_shares(labels, rows, len(equal), cfg["seed"])


def long_tail(images, labels, cfg):
    """A long-tailed subset."""
    return subsets.long_tail(labels, cfg["ratio"], cfg["shape"], cfg["seed"])


def by_difficulty(images, labels, cfg):
    """The images of the easy, hard or random classes, all three with the same size of class."""
    classify = CLASSIFIERS[cfg["classifier"]]
    accuracy = classify(images, labels, per_class=cfg["per_class"], seed=cfg["seed"])
    _, counts = subsets.class_counts(labels)
    selections = {
        which: subsets.select_by_difficulty(
            accuracy, counts, cfg["share"], which, cfg["seed"], cfg["minimum_count"]
        )
        for which in LEVELS
    }
    chosen = selections[cfg["which"]]
    logging.info("accuracy of the %s classes: %.3f", cfg["which"], accuracy[chosen].mean())
    return subsets.matched_rows(labels, selections, cfg["seed"])[cfg["which"]]


METHODS = {
    "sample": sample,
    "holdout": holdout,
    "imbalance": imbalance,
    "long_tail": long_tail,
    "difficulty": by_difficulty,
}
