"""What k-means on all images and on mini-batches share: restarts, objective and assignment.

Weights are `centroids`, float32 [k, d]. The `spherical` methods compare by cosine, the others by
squared Euclidean distance.
"""

import faiss
import numpy as np

from workflow_scripts.lib.clustering.methods import Clustering
from workflow_scripts.lib.job import progress

BLOCK_ROWS = 65536
START_ROWS = 65536  # that k-means++ chooses among


def best_of_restarts(start, cfg):
    """The Clustering of the restart with the best final objective.

    start: function (seed) -> (centroids float32 [k, d], unit norm if spherical; curve, a list of
    objectives: entry i scores the centroids that iteration i began with, the last one the returned
    centroids). cfg: seed, restarts, and spherical, where a higher objective is better.
    """
    seeds = np.random.SeedSequence(cfg["seed"]).generate_state(cfg["restarts"])
    sign = 1 if cfg["spherical"] else -1
    best, best_objective = None, None
    history = {"restart": [], "iteration": [], "objective": []}
    for restart, seed in enumerate(progress(seeds.tolist(), unit="restart")):
        centroids, curve = start(seed)
        history["restart"] += [restart] * len(curve)
        history["iteration"] += range(len(curve))
        history["objective"] += curve
        if best is None or sign * curve[-1] > sign * best_objective:
            best, best_objective = centroids, curve[-1]
    return Clustering({"centroids": best}, {"objective": best_objective}, history)


def plusplus(sample, k, seed, spherical):
    """k rows of a sample, float32 [k, d], chosen by k-means++ (Arthur and Vassilvitskii, SODA
    2007; scikit-learn's greedy variant).

    sample: float32 [n, d], compared by direction if spherical. It chooses among START_ROWS random
    rows, or 3 k if that is more (ours; 3 is scikit-learn's habit for mini-batches), since every
    choice reads all of them.
    """
    from sklearn.cluster import kmeans_plusplus

    size = max(START_ROWS, 3 * k)
    if len(sample) > size:
        sample = sample[np.random.default_rng(seed).choice(len(sample), size, replace=False)]
    return kmeans_plusplus(unit_norm(sample) if spherical else sample, k, random_state=seed)[0]


def unit_norm(rows):
    """Rows [n, d] with norm 1; rows of zeros stay zero."""
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.maximum(norm, np.finfo(rows.dtype).tiny)


def mean_objective(sample, centroids, spherical):
    """Mean cosine (spherical) or mean squared distance of rows [n, d] to their best centroid."""
    total = 0.0
    for i in range(0, len(sample), BLOCK_ROWS):
        block = sample[i : i + BLOCK_ROWS]
        own = centroids[nearest([block], centroids, spherical)[0]]
        values = block * own if spherical else (block - own) ** 2
        total += values.sum(dtype=np.float64)
    return float(total / len(sample))


def nearest(blocks, centroids, spherical):
    """The best centroid of every row.

    blocks: iterable of float32 [b, d], streamed. centroids: float32 [k, d].
    Returns (cluster int32 [N], float32 [N]: the cosine to the centroid if spherical, else the
    squared Euclidean distance).
    """
    index = faiss.IndexFlat(
        centroids.shape[1], faiss.METRIC_INNER_PRODUCT if spherical else faiss.METRIC_L2
    )
    if faiss.get_num_gpus() > 0:
        index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)
    index.add(np.ascontiguousarray(centroids, dtype=np.float32))
    clusters, values = [np.empty(0, np.int32)], [np.empty(0, np.float32)]
    for block in blocks:
        value, cluster = index.search(np.ascontiguousarray(block, dtype=np.float32), 1)
        clusters.append(cluster[:, 0].astype(np.int32))
        values.append(value[:, 0])
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
