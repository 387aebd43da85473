"""k-means on embeddings, spherical and Euclidean: the baseline that deep clustering must beat."""

import logging

import numpy as np

from workflow_scripts.lib.artifacts import read_array
from workflow_scripts.lib.clustering import centroids
from workflow_scripts.lib.clustering.lloyd import lloyd
from workflow_scripts.lib.clustering.methods import Clustering
from workflow_scripts.lib.clustering.rows import check_sample, sample_rows
from workflow_scripts.lib.clustering.two_level import two_level
from workflow_scripts.lib.clustering.unfinished import Unfinished
from workflow_scripts.lib.device import resolved
from workflow_scripts.lib.errors import InputError

assign = centroids.assign
scores = centroids.scores


def fit(task):
    """Lloyd's k-means; the best of several initialisations (see `methods` for the interface).

    task.cfg: sample (number of random images to fit on, 0: all), spherical, restarts, iterations,
    precision ("auto": bfloat16 where it is fast), init (see `lloyd`, or "two_level") and seed.
    task.init: the file of the first centroids; there is one start then.
    Objective: spherical, the mean cosine to the own centroid (higher is better); Euclidean, the
    mean squared distance to it (lower is better). It is computed in float32 from the final
    centroids, and it alone picks the restart. meta also says the precision.
    An unfinished run is kept in task.state_path and goes on from there.
    Raises InputError if there are fewer images than clusters, or for an unknown init.
    """
    cfg = task.cfg | {"precision": resolved(task.cfg["precision"])}
    check_sample(cfg["sample"], task.k, task.images.rows)
    rows = sample_rows(task.images, cfg["sample"], cfg["seed"])
    if task.init:
        start = own_centroids(task.init, task.k, rows.shape[1])
        cfg |= {"init": start, "restarts": 1}
    elif cfg["init"] not in ("random", "kmeans++", "two_level"):
        raise InputError(
            f"`init` is {cfg['init']!r}: set it to random, kmeans++, two_level or a .npy file"
        )
    logging.info("k-means of %d rows in %s", len(rows), cfg["precision"])
    unfinished = Unfinished(task, rows, cfg["precision"])

    def start(seed, begun, save):
        by_parts = not task.init and cfg["init"] == "two_level" and not begun
        init = {"init": two_level(rows, task.k, cfg, seed)} if by_parts else {}
        return lloyd(rows, task.k, cfg | init, seed, begun, save)

    found = centroids.best_of_restarts(start, cfg, unfinished)
    return Clustering(found.weights, found.meta | {"precision": cfg["precision"]}, found.history)


def own_centroids(path, k, d):
    """The first centroids in a `.npy` file, float32 [k, d]. Raises InputError for other files."""
    array = read_array(path)
    if array.shape != (k, d) or array.dtype.kind != "f":
        raise InputError(
            f"`init`: {path} has shape {array.shape} and type {array.dtype}; give {k} centroids "
            f"(`k`) of {d} dimensions, as floats of shape {(k, d)}"
        )
    array = np.array(array, np.float32)
    if not np.isfinite(array).all():
        raise InputError(f"`init`: {path} holds NaN or infinite values; give finite centroids")
    return array
