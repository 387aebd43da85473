"""Mini-batch k-means (Sculley, WWW 2010) with scikit-learn's MiniBatchKMeans, for embeddings that
do not fit in memory."""

import numpy as np

from workflow_scripts.lib.clustering import centroids
from workflow_scripts.lib.clustering.methods import check_k
from workflow_scripts.lib.clustering.rows import BLOCK_ROWS

assign = centroids.assign
scores = centroids.scores


def fit(task):
    """The best of several restarts (see `methods` for the interface).

    task.cfg: spherical, restarts, passes and batch_size (see `run_passes`), and seed. The
    objective is that of `kmeans.fit`, on all images.
    Raises InputError if there are fewer images than clusters.
    """
    embeddings = task.images.joined()
    check_k(task.k, len(embeddings))
    return centroids.best_of_restarts(
        lambda seed, *_: run_passes(embeddings, task.k, task.cfg, seed), task.cfg
    )


def run_passes(embeddings, k, cfg, seed):
    """One restart on embeddings [n, d], float32 or float16, which may be a memory map: batches
    are cast one by one.

    Spherical: rows, and after every batch the centroids, are brought to unit norm (ours). Every
    pass takes all rows in a new order (ours), in batches of cfg["batch_size"] rows, or k if that
    is more. The centroids begin with greedy k-means++ on 3 batches of random rows (the size is
    scikit-learn's habit). scikit-learn moves rarely used centroids to random rows now and then.
    Returns (centroids, curve) as `best_of_restarts` wants them, with one iteration per pass.
    """
    from sklearn.cluster import MiniBatchKMeans

    n, spherical = len(embeddings), cfg["spherical"]
    size = max(cfg["batch_size"], k)
    rng = np.random.default_rng(seed)
    rows = rng.choice(n, min(n, 3 * size), replace=False)
    found = centroids.plusplus(_float_rows(embeddings, rows, spherical), k, seed, spherical)
    model = MiniBatchKMeans(
        k, init=found, n_init=1, batch_size=size, compute_labels=False, random_state=seed
    )
    curve = [_streamed_objective(embeddings, found, spherical)]
    for _ in range(cfg["passes"]):
        order = rng.permutation(n)
        for i in range(0, n, size):
            model.partial_fit(_float_rows(embeddings, order[i : i + size], spherical))
            if spherical:
                model.cluster_centers_ = centroids.unit_norm(model.cluster_centers_)
        found = model.cluster_centers_
        curve.append(_streamed_objective(embeddings, found, spherical))
    return found, curve


def _float_rows(embeddings, rows, spherical):
    """Some rows as float32, of unit norm if spherical; read in the order of the file."""
    block = np.asarray(embeddings[np.sort(rows)], dtype=np.float32)
    return centroids.unit_norm(block) if spherical else block


def _streamed_objective(embeddings, found, spherical):
    total, size = 0.0, BLOCK_ROWS
    for i in range(0, len(embeddings), size):
        rows = np.arange(i, min(i + size, len(embeddings)))
        block = _float_rows(embeddings, rows, spherical)
        total += len(rows) * centroids.mean_objective(block, found, spherical)
    return total / len(embeddings)
