"""Two-level spherical k-means: many small clusters of images, then clusters of their centroids.

The route of "Automatic Data Curation for Self-Supervised Learning" (arXiv 2405.15613). From the
paper: k-means is applied to the centroids of k-means, and all centroids count alike, so that the
upper clusters spread over concepts and not over the images, of which common concepts have most.
Ours: two levels, spherical k-means on both, `fine: auto`, `weighted`, and that an image belongs to
the nearest upper centroid. The paper's resampling of centroids is left out.
"""

import numpy as np

from workflow_scripts.lib.clustering import centroids
from workflow_scripts.lib.clustering.lloyd import lloyd, one_pass
from workflow_scripts.lib.clustering.methods import Clustering, check_k
from workflow_scripts.lib.clustering.rows import sample_rows
from workflow_scripts.lib.device import resolved
from workflow_scripts.lib.errors import InputError


def fit(task):
    """k clusters of the centroids of small clusters (see `methods` for the interface).

    task.cfg: fine (number of small clusters or "auto"), weighted, sample (number of random images
    to fit on, 0: all), restarts (of the second level; the first has one start), iterations, init
    and precision (of both levels, see `kmeans`), seed.
    Objective, which picks the restart: the mean cosine of small centroids to their upper centroid,
    each counted once or, if weighted, by its images. The history is that of the second level.
    Raises InputError if there are fewer images than small clusters, or fewer small clusters than k.
    """
    precision = resolved(task.cfg["precision"])
    cfg = task.cfg | {"spherical": True, "precision": precision}
    sample = sample_rows(task.images, cfg["sample"], cfg["seed"])
    check_k(task.k, len(sample))
    small, sizes = small_clusters(sample, number_of_small(cfg["fine"], task.k, len(sample)), cfg)
    if len(small) < task.k:
        raise InputError(
            f"only {len(small)} small clusters have images, too few for {task.k} clusters: there "
            "are many equal images; lower `k` or raise `fine`"
        )
    if cfg["weighted"]:  # a longer row pulls its centroid more, and goes to the same one
        small = small * (sizes / sizes.mean()).astype(np.float32)[:, None]
    found = centroids.best_of_restarts(lambda seed, *_: lloyd(small, task.k, cfg, seed), cfg)
    return Clustering(found.weights, found.meta | {"precision": precision}, found.history)


def number_of_small(fine, k, n):
    """Number of small clusters of n images: `fine`, or for "auto" 20 k, but at most n / 5 and at
    least k (our choice). Raises InputError unless k <= fine <= n."""
    if fine == "auto":
        return max(k, min(20 * k, n // 5))
    if not k <= fine <= n:
        raise InputError(
            f"`fine` is {fine}, but there are {k} clusters (`k`) and {n} images to fit on: set "
            f"`fine` from {k} to {n}, or `k` to at most {fine}"
        )
    return fine


def small_clusters(sample, fine, cfg):
    """The first level: spherical k-means of unit rows, an array-like [n, d], by one start.

    Returns (centroids float32 [f, d], sizes int64 [f]) of the f <= fine clusters that have images.
    """
    seed = int(np.random.SeedSequence([cfg["seed"], 1]).generate_state(1)[0])
    found, _ = lloyd(sample, fine, cfg, seed)
    _, sizes, _ = one_pass(sample, found, spherical=True, precision="float32")
    return found[sizes > 0], sizes[sizes > 0]


def assign(blocks, weights, cfg):
    """The nearest upper centroid of every image and its cosine (see `methods`)."""
    return centroids.nearest(blocks, weights["centroids"], spherical=True)


def scores(block, weights, cfg):
    """Cosine to every upper centroid."""
    return block @ weights["centroids"].T
