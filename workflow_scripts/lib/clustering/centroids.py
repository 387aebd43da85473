"""What the kinds of k-means share: restarts, start, objective and assignment.

Weights are `centroids`, float32 [k, d]. The `spherical` methods compare by cosine, the others by
squared Euclidean distance.
"""

import functools

import numpy as np

from workflow_scripts.lib import distributed
from workflow_scripts.lib.clustering.assignment import assigner
from workflow_scripts.lib.clustering.methods import Clustering
from workflow_scripts.lib.clustering.rows import blocks, number_of_blocks
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.job import progress

NOT_FINITE = "the embeddings hold NaN or infinite values; embed the images again"
START_ROWS = 65536  # that k-means++ chooses among


def best_of_restarts(start, cfg, unfinished=None):
    """The Clustering of the restart with the best final objective.

    start: function (seed, begun, save) -> (centroids float32 [k, d], unit norm if spherical; curve,
    a list of objectives: entry i scores the centroids that iteration i began with, the last one the
    returned centroids). begun and save: see `lloyd`; None without `unfinished`. cfg: seed,
    restarts, and spherical, where a higher objective is better. unfinished: an `Unfinished`, to go
    on from.
    """
    seeds = np.random.SeedSequence(cfg["seed"]).generate_state(cfg["restarts"]).tolist()
    sign = 1 if cfg["spherical"] else -1
    curves, best, begun = unfinished.load() if unfinished else ([], None, None)
    done = len(curves)
    for seed in progress(seeds[done:], initial=done, total=len(seeds), unit="restart"):
        save = unfinished and functools.partial(unfinished.save, curves, best)
        centroids, curve = start(seed, begun, save)
        begun = None
        if best is None or sign * curve[-1] > max(sign * other[-1] for other in curves):
            best = centroids
        curves = [*curves, curve]
    if unfinished:
        unfinished.remove()
    objective = sign * max(sign * curve[-1] for curve in curves)
    return Clustering({"centroids": best}, {"objective": objective}, _history(curves))


def _history(curves):
    """The curves of all restarts, one below the other, as columns."""
    return {
        "restart": [restart for restart, curve in enumerate(curves) for _ in curve],
        "iteration": [iteration for curve in curves for iteration in range(len(curve))],
        "objective": [objective for curve in curves for objective in curve],
    }


def plusplus(sample, k, seed, spherical):
    """k rows of a sample, float32 [k, d], chosen by k-means++ (Arthur and Vassilvitskii, SODA
    2007; scikit-learn's greedy variant).

    sample: array-like [n, d], compared by direction if spherical. It chooses among START_ROWS
    random rows, or 3 k if that is more (ours; 3 is scikit-learn's habit for mini-batches), since
    every choice reads all of them. Raises InputError for rows that are not finite.
    """
    from sklearn.cluster import kmeans_plusplus

    size = max(START_ROWS, 3 * k)
    chosen = slice(None)
    if len(sample) > size:
        chosen = np.random.default_rng(seed).choice(len(sample), size, replace=False)
    sample = sample[chosen]
    if not np.isfinite(sample).all():
        raise InputError(NOT_FINITE)
    return kmeans_plusplus(unit_norm(sample) if spherical else sample, k, random_state=seed)[0]


def unit_norm(rows):
    """Rows [n, d] with norm 1; rows of zeros stay zero."""
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.maximum(norm, np.finfo(rows.dtype).tiny)


def mean_objective(rows, centroids, spherical):
    """Mean cosine (spherical) or mean squared distance of rows to their best centroid.

    rows: array-like [n, d], streamed; several processes share them.
    """
    own = blocks(rows, distributed.part(number_of_blocks(rows)))
    total = nearest(own, centroids, spherical)[1].sum(dtype=np.float64, keepdims=True)
    distributed.total(total)
    return float(total[0] / len(rows))


def nearest(blocks, centroids, spherical):
    """The best centroid of every row, in float32; of equal ones the first.

    blocks: iterable of float32 [b, d], streamed. centroids: float32 [k, d].
    Returns (cluster int32 [N], float32 [N]: the cosine to the centroid if spherical, else the
    squared Euclidean distance).
    """
    assign_block = assigner(np.asarray(centroids, np.float32), spherical)
    clusters, values = [np.empty(0, np.int32)], [np.empty(0, np.float32)]
    for block in blocks:
        block = np.ascontiguousarray(block, dtype=np.float32)
        cluster = assign_block(block)
        own = centroids[cluster]
        other = own if spherical else np.subtract(block, own, out=own)
        values.append(np.einsum("nd,nd->n", block if spherical else other, other))
        clusters.append(cluster.astype(np.int32))
    return np.concatenate(clusters), np.concatenate(values)


def assign(blocks, weights, cfg):
    """The nearest centroid of every image and its cosine or squared distance (see `methods`)."""
    return nearest(blocks, weights["centroids"], cfg["spherical"])


def scores(block, weights, cfg):
    """Cosine, or (up to a constant per image) negative squared distance, to every centroid."""
    centroids = weights["centroids"]
    if cfg["spherical"]:
        return block @ centroids.T
    return 2 * block @ centroids.T - (centroids**2).sum(axis=1)
