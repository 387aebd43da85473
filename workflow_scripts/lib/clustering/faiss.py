"""k-means on embeddings, spherical and Euclidean: the baseline that deep clustering must beat."""

import faiss
import numpy as np

from workflow_scripts.lib.clustering import centroids
from workflow_scripts.lib.clustering.methods import check_k
from workflow_scripts.lib.errors import InputError

assign = centroids.assign
scores = centroids.scores


def fit(task):
    """Lloyd's k-means; the best of several initialisations (see `methods` for the interface).

    task.cfg: sample (number of random images to fit on, 0: all), spherical, restarts, iterations,
    init (see `lloyd`) and seed.
    Objective: spherical, the mean cosine to the own centroid (higher is better); Euclidean, the
    mean squared distance to it (lower is better). It is computed from the final centroids, and
    it alone picks the restart.
    Raises InputError if there are fewer images than clusters, or for an unknown init.
    """
    cfg = task.cfg
    if 0 < cfg["sample"] < task.k:
        raise InputError(
            f"`sample` is {cfg['sample']}, too few images for `k`, {task.k}: raise `sample` or set "
            "it to 0, all images"
        )
    if cfg["init"] not in ("random", "kmeans++"):
        raise InputError(f"`init` is {cfg['init']!r}: set it to random or kmeans++")
    sample = sample_rows(task.images, cfg["sample"], cfg["seed"])
    check_k(task.k, len(sample))
    return centroids.best_of_restarts(lambda seed: lloyd(sample, task.k, cfg, seed), cfg)


def sample_rows(images, size, seed):
    """A random sample of the embeddings, float32 [size, d], in order; all of them if size is 0."""
    return images.array(sample_numbers(images.rows, size, seed))


def sample_numbers(n, size, seed):
    """The row numbers of a random sample of n rows, int64 [size], ascending; all if size is 0."""
    if not 0 < size < n:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, size, replace=False))


def lloyd(sample, k, cfg, seed):
    """One restart on all rows of a sample, float32 [n, d].

    For spherical k-means the rows have unit norm (any norm is allowed, but then the objective is
    a mean inner product). It ends after cfg["iterations"], or earlier when nothing changes any
    more. cfg["init"]: the initial centroids are "random" rows, or rows by "kmeans++" (see
    `centroids.plusplus`), as in the k-means that TEMI's public code compares with.
    Returns (centroids, curve) as `best_of_restarts` wants them.
    """
    n, d = sample.shape
    spherical = cfg["spherical"]
    kmeans = faiss.Kmeans(
        d,
        k,
        niter=cfg["iterations"],
        spherical=spherical,
        seed=seed >> 1,  # faiss takes a signed integer
        min_points_per_centroid=1,  # no warning on small data
        max_points_per_centroid=n,  # no silent subsampling
        gpu=faiss.get_num_gpus() > 0,
    )
    plusplus = cfg["init"] == "kmeans++"
    start = centroids.plusplus(sample, k, seed, spherical) if plusplus else None
    kmeans.train(sample, init_centroids=start)
    found = kmeans.centroids
    if spherical:
        found /= np.linalg.norm(found, axis=1, keepdims=True)
    return found, [*(kmeans.obj / n).tolist(), centroids.mean_objective(sample, found, spherical)]
