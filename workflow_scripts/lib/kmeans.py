"""k-means on embeddings, spherical and Euclidean: the baseline that deep clustering must beat."""

import faiss
import numpy as np

from workflow_scripts.lib.errors import InputError

BLOCK_ROWS = 65536


def fit_kmeans(sample, k, seed, spherical, restarts, iterations):
    """Lloyd's k-means on every given row; the best of several random initialisations.

    sample: float32 [n, d]; for spherical k-means unit norm (any norm is allowed, but then the
    objective is a mean inner product). Subsample before the call if there are too many rows.
    Objective: spherical, the mean cosine to the own centroid (higher is better); Euclidean, the
    mean squared distance to it (lower is better). It is computed from the final centroids, and
    it alone picks the restart. Initial centroids are random rows, drawn from `seed`. A restart
    ends after `iterations`, or earlier when nothing changes any more.

    Returns (centroids float32 [k, d], unit norm if spherical; objective float; history, a list
    of dicts restart, iteration, objective, where iteration i scores the centroids it began with
    and the last entry of a restart the final ones).
    Raises InputError if k > n.
    """
    n, d = sample.shape
    if not 1 <= k <= n:
        raise InputError(f"cannot make {k} clusters of {n} images: set `clusters` to at most {n}")
    sample = np.ascontiguousarray(sample, dtype=np.float32)
    best, history = None, []
    for restart, restart_seed in enumerate(np.random.SeedSequence(seed).generate_state(restarts)):
        kmeans = faiss.Kmeans(
            d,
            k,
            niter=iterations,
            spherical=spherical,
            seed=int(restart_seed >> 1),  # faiss takes a signed integer
            min_points_per_centroid=1,  # no warning on small data
            max_points_per_centroid=n,  # no silent subsampling
            gpu=faiss.get_num_gpus() > 0,
        )
        kmeans.train(sample)
        centroids = kmeans.centroids
        if spherical:
            centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
        objective = kmeans_objective(sample, centroids, spherical)
        curve = [*(kmeans.obj / n).tolist(), objective]
        history += [
            {"restart": restart, "iteration": i, "objective": value}
            for i, value in enumerate(curve)
        ]
        if best is None or (objective > best[1] if spherical else objective < best[1]):
            best = centroids, objective
    return *best, history


def kmeans_objective(sample, centroids, spherical):
    """Mean cosine (spherical) or mean squared distance of the rows to their best centroid."""
    total = 0.0
    blocks = [sample[i : i + BLOCK_ROWS] for i in range(0, len(sample), BLOCK_ROWS)]
    for block in blocks:
        own = centroids[assign([block], centroids, spherical)[0]]
        values = block * own if spherical else (block - own) ** 2
        total += values.sum(dtype=np.float64)
    return float(total / len(sample))


def assign(blocks, centroids, spherical):
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
