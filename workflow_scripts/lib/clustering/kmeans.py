"""k-means on embeddings, spherical and Euclidean: the baseline that deep clustering must beat."""

import faiss
import numpy as np

from workflow_scripts.lib.errors import InputError

BLOCK_ROWS = 65536


def fit_kmeans(sample, k, seed, spherical, restarts, iterations, init="random"):
    """Lloyd's k-means on every given row; the best of several random initialisations.

    sample: float32 [n, d]; for spherical k-means unit norm (any norm is allowed, but then the
    objective is a mean inner product). Subsample before the call if there are too many rows.
    Objective: spherical, the mean cosine to the own centroid (higher is better); Euclidean, the
    mean squared distance to it (lower is better). It is computed from the final centroids, and
    it alone picks the restart. A restart ends after `iterations`, or earlier when nothing changes
    any more.
    init: initial centroids, drawn from `seed`: "random" rows, or rows by "kmeans++" (Arthur and
    Vassilvitskii, SODA 2007; scikit-learn's greedy variant, as long as tens of iterations).

    Returns (centroids float32 [k, d], unit norm if spherical; objective float; history, a list
    of dicts restart, iteration, objective, where iteration i scores the centroids it began with
    and the last entry of a restart the final ones).
    Raises InputError if k > n or for an unknown init.
    """
    n, d = sample.shape
    _check(k, n)
    if init not in ("random", "kmeans++"):
        raise InputError(f"`init` is {init!r}: set it to random or kmeans++")
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
        start = _plusplus(sample, k, int(restart_seed)) if init == "kmeans++" else None
        kmeans.train(sample, init_centroids=start)
        centroids = kmeans.centroids
        if spherical:
            centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
        objective = kmeans_objective(sample, centroids, spherical)
        curve = [*(kmeans.obj / n).tolist(), objective]
        history += [
            {"restart": restart, "iteration": i, "objective": value}
            for i, value in enumerate(curve)
        ]
        best = _better(best, (centroids, objective), spherical)
    return *best, history


def fit_minibatch(embeddings, k, seed, spherical, restarts, batch_size, iterations):
    """Mini-batch k-means (Sculley, WWW 2010) with scikit-learn's MiniBatchKMeans, for sets that do
    not fit in memory.

    embeddings: [n, d], float32 or float16, may be a memory map: batches are cast one by one.
    spherical: rows, and after every batch the centroids, are brought to unit norm (ours).
    iterations: passes over all rows, each in a new order (ours), in batches of batch_size rows, or
    k if that is more. A restart begins with greedy k-means++ on 3 batches of random rows (the size
    is scikit-learn's habit). scikit-learn moves rarely used centroids to random rows now and then.

    Returns what `fit_kmeans` does, with the same objective on all rows: iteration i of the history
    scores the centroids that pass i began with. Raises InputError if k > n.
    """
    from sklearn.cluster import MiniBatchKMeans

    n = len(embeddings)
    _check(k, n)
    size = max(batch_size, k)
    best, history = None, []
    for restart, restart_seed in enumerate(np.random.SeedSequence(seed).generate_state(restarts)):
        rng = np.random.default_rng(restart_seed)
        rows = rng.choice(n, min(n, 3 * size), replace=False)
        centroids = _plusplus(_float_rows(embeddings, rows, spherical), k, int(restart_seed))
        model = MiniBatchKMeans(
            k,
            init=centroids,
            n_init=1,
            batch_size=size,
            compute_labels=False,
            random_state=int(restart_seed),
        )
        curve = [_streamed_objective(embeddings, centroids, spherical)]
        for _ in range(iterations):
            order = rng.permutation(n)
            for i in range(0, n, size):
                model.partial_fit(_float_rows(embeddings, order[i : i + size], spherical))
                if spherical:
                    model.cluster_centers_ = _unit_norm(model.cluster_centers_)
            centroids = model.cluster_centers_
            curve.append(_streamed_objective(embeddings, centroids, spherical))
        history += [
            {"restart": restart, "iteration": i, "objective": value}
            for i, value in enumerate(curve)
        ]
        best = _better(best, (centroids.copy(), curve[-1]), spherical)
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


def _check(k, n):
    if not 1 <= k <= n:
        raise InputError(f"cannot make {k} clusters of {n} images: set `clusters` to at most {n}")


def _better(best, found, spherical):
    """The one of two (centroids, objective) with the better objective; `best` may be None."""
    if best is None:
        return found
    return found if (found[1] > best[1] if spherical else found[1] < best[1]) else best


def _plusplus(sample, k, seed):
    """k rows chosen by greedy k-means++, float32 [k, d]."""
    from sklearn.cluster import kmeans_plusplus

    return kmeans_plusplus(sample, k, random_state=seed)[0]


def _unit_norm(rows):
    """Rows with norm 1; rows of zeros stay zero."""
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.maximum(norm, np.finfo(rows.dtype).tiny)


def _float_rows(embeddings, rows, spherical):
    """Some rows as float32, of unit norm if spherical; read in the order of the file."""
    block = np.asarray(embeddings[np.sort(rows)], dtype=np.float32)
    return _unit_norm(block) if spherical else block


def _streamed_objective(embeddings, centroids, spherical):
    total = 0.0
    for i in range(0, len(embeddings), BLOCK_ROWS):
        rows = np.arange(i, min(i + BLOCK_ROWS, len(embeddings)))
        block = _float_rows(embeddings, rows, spherical)
        total += len(rows) * kmeans_objective(block, centroids, spherical)
    return total / len(embeddings)
