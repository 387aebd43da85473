"""k-means of faiss, to compare with: the same algorithm on all rows in memory as float32."""

import faiss
import numpy as np

from workflow_scripts.lib.clustering import centroids
from workflow_scripts.lib.clustering.rows import check_sample, sample_numbers

assign = centroids.assign
scores = centroids.scores


def fit(task):
    """The best of several starts, with the settings and the objective of `kmeans.fit` but for
    `precision`; the start is "random" or "kmeans++".

    Raises InputError if there are fewer images than clusters.
    """
    cfg = task.cfg
    check_sample(cfg["sample"], task.k, task.images.rows)
    sample = task.images.array(sample_numbers(task.images.rows, cfg["sample"], cfg["seed"]))
    return centroids.best_of_restarts(lambda seed, *_: one_start(sample, task.k, cfg, seed), cfg)


def one_start(sample, k, cfg, seed):
    """One restart on all rows of a sample, float32 [n, d]; as `lloyd.lloyd`."""
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
        gpu=1 if faiss.get_num_gpus() > 0 else 0,
    )
    plusplus = cfg["init"] == "kmeans++"
    start = centroids.plusplus(sample, k, seed, spherical) if plusplus else None
    kmeans.train(sample, init_centroids=start)
    found = kmeans.centroids
    if spherical:
        found /= np.linalg.norm(found, axis=1, keepdims=True)
    return found, [*(kmeans.obj / n).tolist(), centroids.mean_objective(sample, found, spherical)]
