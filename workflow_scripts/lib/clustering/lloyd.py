"""Lloyd's algorithm on rows that are streamed, in one process or several.

Lloyd, Least squares quantization in PCM (1982); spherical: Dhillon and Modha, Concept
decompositions for large sparse text data (2001). Nothing is kept per row. An iteration reads all
rows once: their nearest centroids in the asked precision, and from these sums in float32 over a
block and float64 over blocks. In several processes each reads its part of the blocks, and the sums
are added up.
"""

import numpy as np
from scipy import sparse

from workflow_scripts.lib import distributed
from workflow_scripts.lib.clustering.assignment import assigner
from workflow_scripts.lib.clustering.centroids import (
    NOT_FINITE,
    mean_objective,
    plusplus,
    unit_norm,
)
from workflow_scripts.lib.clustering.rows import blocks, number_of_blocks
from workflow_scripts.lib.errors import InputError

# By how much the halves of a split cluster differ: faiss's; what bfloat16 still tells apart.
SPLIT = {"float32": 1 / 1024, "bfloat16": 1 / 64}


def lloyd(rows, k, cfg, seed, begun=None, save=None):
    """One restart on an array-like [n, d] (see `rows.sample_rows`).

    cfg: spherical; iterations, the most of them, it ends earlier when no centroid changes any
    more; precision, of the assignment ("float32" or "bfloat16"); init, the first centroids: float32
    [k, d], "random" rows, or rows by "kmeans++" (see `centroids.plusplus`).
    begun: (centroids, curve) of an unfinished restart, to go on from. save: function
    (centroids, curve), called after every iteration.
    Returns (centroids, curve) as `best_of_restarts` wants them. The last objective is that of a
    float32 assignment, those before of the asked precision. Spherical: with unit rows the
    objective is the mean cosine, with others a mean inner product.
    Raises InputError for embeddings that are not finite.
    """
    spherical, precision = cfg["spherical"], cfg["precision"]
    found, curve = begun or (first_centroids(rows, k, cfg["init"], seed, spherical), [])
    while len(curve) < cfg["iterations"]:
        sums, counts, objective = one_pass(rows, found, spherical, precision)
        rng = np.random.default_rng([seed, len(curve)])
        before, found = found, moved(sums, counts, found, spherical, SPLIT[precision], rng)
        distributed.of_first(found)  # so that all processes end at the same iteration
        curve = [*curve, objective]
        if np.array_equal(before, found):
            break
        if save:
            save(found, curve)
    return found, [*curve, mean_objective(rows, found, spherical)]


def first_centroids(rows, k, init, seed, spherical):
    """The centroids to begin with, float32 [k, d]; all processes get those of the first one."""
    if isinstance(init, np.ndarray):
        found = init.copy()
    elif k == len(rows):
        found = np.array(rows[:], np.float32)
    elif init == "kmeans++":
        found = plusplus(rows, k, seed, spherical)
    else:
        numbers = np.random.default_rng(seed).choice(len(rows), k, replace=False)
        found = np.array(rows[np.sort(numbers)], np.float32)
    if spherical:
        found = unit_norm(found)
    distributed.of_first(found)
    return found


def one_pass(rows, centroids, spherical, precision):
    """Assign all rows to their nearest centroids.

    Returns the sum of every cluster's rows, float64 [k, d], their number, int64 [k], and the
    objective of `kmeans.fit`.
    """
    assign_block = assigner(centroids, spherical, precision)
    sums = np.zeros(centroids.shape, np.float64)
    counts, squares = np.zeros(len(centroids), np.int64), np.zeros(1)
    for block in blocks(rows, distributed.part(number_of_blocks(rows))):
        clusters = assign_block(block)
        add_rows(sums, block, clusters)
        counts += np.bincount(clusters, minlength=len(centroids))
        if not spherical:
            squares += np.einsum("nd,nd->n", block, block).sum(dtype=np.float64)
    distributed.total(sums, counts, squares)
    objective = np.einsum("kd,kd->", sums, centroids, dtype=np.float64)
    if not spherical:
        norms = np.einsum("kd,kd->k", centroids, centroids, dtype=np.float64)
        objective = squares[0] - 2 * objective + counts @ norms
    if not np.isfinite(objective):
        raise InputError(NOT_FINITE)
    return sums, counts, float(objective / len(rows))


def add_rows(sums, block, clusters):
    """Add the rows of a block to the sums of their clusters, in place."""
    n, (found, which) = len(block), np.unique(clusters, return_inverse=True)
    member = (np.ones(n, np.float32), which, np.arange(n + 1))
    sums[found] += sparse.csc_array(member, shape=(len(found), n)) @ block


def moved(sums, counts, centroids, spherical, split, rng):
    """The centroids after an iteration, float32 [k, d]: means, of unit norm if spherical.

    An empty cluster gets half of another one, as in faiss: one of n rows is drawn with probability
    (n - 1) over their sum, both get its mean, and the even dimensions of the one and the odd ones
    of the other are longer by the share `split`, the others shorter. A spherical centroid whose
    rows sum to 0 stays.
    """
    means = sums / np.maximum(counts, 1)[:, None]
    sizes = counts.copy()
    sign = np.where(np.arange(sums.shape[1]) % 2, -split, split)
    for empty in np.flatnonzero(counts == 0):
        weights = np.maximum(sizes - 1, 0)
        other = rng.choice(len(sizes), p=weights / weights.sum())
        means[empty], means[other] = means[other] * (1 + sign), means[other] * (1 - sign)
        sizes[empty] = sizes[other] // 2
        sizes[other] -= sizes[empty]
    if spherical:
        norms = np.linalg.norm(means, axis=1, keepdims=True)
        means = np.where(norms > 0, means / np.where(norms > 0, norms, 1), centroids)
    return means.astype(np.float32)
