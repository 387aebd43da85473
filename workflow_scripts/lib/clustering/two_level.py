"""First centroids of very many clusters: k-means in every part of a coarse k-means.

k-means++ chooses every centroid by a look at all candidates, k times; here an iteration costs a row
about 2 sqrt(k) distances instead of k. `two_level_clustering` of faiss.contrib is the same idea.
Ours: sqrt(k) parts, ITERATIONS, and that the clusters of a part go by its images.
"""

import numpy as np

from workflow_scripts.lib import distributed
from workflow_scripts.lib.clustering.centroids import nearest
from workflow_scripts.lib.clustering.lloyd import lloyd
from workflow_scripts.lib.clustering.rows import KEPT, blocks
from workflow_scripts.lib.embeddings import Chosen
from workflow_scripts.lib.job import progress

ITERATIONS = 10  # of both levels


def two_level(rows, k, cfg, seed):
    """k centroids of an array-like [n, d], float32 [k, d]. cfg: spherical and precision."""
    cfg = cfg | {"iterations": ITERATIONS, "init": "kmeans++"}
    coarse, _ = lloyd(rows, round(k**0.5), cfg, seed)
    part_of, _ = nearest(blocks(rows), coarse, cfg["spherical"])
    distributed.of_first(part_of)  # another kind of processor may choose the other of near ties
    sizes = np.bincount(part_of, minlength=len(coarse))
    members = np.split(np.argsort(part_of, kind="stable"), np.cumsum(sizes)[:-1])
    seeds = np.random.SeedSequence([seed, 1]).generate_state(len(coarse)).tolist()
    parts = zip(members, proportional(k, sizes).tolist(), seeds, strict=True)
    parts = progress(parts, total=len(coarse), unit="part")
    return np.concatenate([lloyd(_part(rows, m), own, cfg, s)[0] for m, own, s in parts if own])


def _part(rows, numbers):
    """The rows with these numbers, in memory if they are few."""
    part = Chosen(rows, numbers)
    return part[:] if 4 * len(part) * part.shape[1] <= KEPT else part


def proportional(total, sizes):
    """Shares of a total in proportion to sizes: int64 [n], at least 1 and at most the size of each
    that is not empty; by largest remainders.

    sizes: int64 [n]. total: at least the number of sizes that are not 0, at most their sum.
    """
    exact = total * sizes / sizes.sum()
    shares = np.clip(exact.astype(np.int64), np.minimum(sizes, 1), sizes)
    while (missing := total - shares.sum()) > 0:
        open_ = np.flatnonzero(shares < sizes)
        shares[open_[np.argsort(shares[open_] - exact[open_], kind="stable")[:missing]]] += 1
    while (over := shares.sum() - total) > 0:
        more = np.flatnonzero(shares > 1)
        shares[more[np.argsort(exact[more] - shares[more], kind="stable")[:over]]] -= 1
    return shares
