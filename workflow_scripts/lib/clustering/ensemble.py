"""Ensembles: what several clusterings of the same images agree on.

Members are other clusterings, each with several seeds, perhaps of several encoders. The
co-association of two images is the share of the members that put them into one cluster. Ensemble
clusters have the largest mean co-association of an image with the images of its cluster. This is
k-means on the images' indicators, a row with one entry per cluster of every member, 1 where the
image is in it: k-means-based consensus clustering (Wu, Liu, Xiong, Cao and Chen, IEEE TKDE 2015)
with the category utility. It is linear in the number of images, and no matrix of pairs of images
exists. Which members take part, that all count alike, and the start of k-means are our choice.
"""

import numpy as np

from workflow_scripts.lib.clustering.centroids import START_ROWS
from workflow_scripts.lib.clustering.methods import Clustering, check_k, load_method
from workflow_scripts.lib.tensors import read_tensors


def fit(task):
    """k clusters of the images that the members agree on (see `methods` for the interface).

    task.members: files of the members' weights. task.cfg: members (a dict each: cfg, the member's
    config with method and seed, and spaces, which of the spaces of the images it clusters),
    restarts, iterations and seed.
    Objective: the mean co-association of `consensus`, at most 1; it picks the restart. The weights
    are those of the members (`0.centroids`, ...), the dimensions of the spaces, the members'
    numbers of clusters, and `shares`, float32 [all clusters of all members, k]: the share of an
    ensemble cluster's images that are in a member's cluster.
    """
    check_k(task.k, task.images.rows)
    joined = task.images.joined()
    dims = [space.shape[1] for space in getattr(joined, "spaces", [joined])]
    weights = {"dims": np.array(dims, np.int32)}
    for number, path in enumerate(task.members):
        weights |= {f"{number}.{name}": array for name, array in read_tensors(path).items()}
    sizes = [one.shape[1] for one in _each(next(task.images.blocks(size=1)), weights, task.cfg)]
    weights["sizes"] = np.array(sizes, np.int32)
    votes = np.concatenate([_votes(b, weights, task.cfg) for b in task.images.blocks()])
    centroids, objective, iterations = consensus(votes, sizes, task.k, task.cfg)
    weights["shares"] = np.ascontiguousarray(centroids.T)
    history = {"iteration": [iterations], "objective": [objective]}
    return Clustering(weights, {"objective": objective}, history)


def consensus(votes, sizes, k, cfg):
    """k-means on the indicators of N images (scikit-learn's, on sparse rows).

    votes: int [N, R], every member's cluster of every image. sizes: the members' numbers of
    clusters. cfg: restarts, iterations and seed. k-means++ chooses among START_ROWS random images,
    or 3 k if that is more.
    Returns (centroids float32 [k, sum of sizes]; the mean over images of their mean co-association
    with the images of their cluster, themselves included; iterations of the best restart).
    Counts are whole numbers, so that no order of adding them changes a result.
    """
    from scipy.sparse import csr_matrix
    from sklearn.cluster import KMeans, kmeans_plusplus

    n, members = votes.shape
    columns = (votes.astype(np.int32) + np.cumsum([0, *sizes[:-1]], dtype=np.int32)).ravel()
    ends = np.arange(0, n * members + 1, members, dtype=np.int32)
    rows = csr_matrix((np.ones(n * members, np.float32), columns, ends), (n, sum(sizes)))

    def start(rows, k, random_state):
        size = max(START_ROWS, 3 * k)
        if n > size:
            rows = rows[np.sort(random_state.choice(n, size, replace=False))]
        return kmeans_plusplus(rows, k, random_state=random_state)[0]

    model = KMeans(
        k, init=start, n_init=cfg["restarts"], max_iter=cfg["iterations"], tol=0,
        random_state=cfg["seed"],
    ).fit(rows)  # fmt: skip
    return model.cluster_centers_, 1 - model.inertia_ / (n * members), model.n_iter_


def assign(blocks, weights, cfg):
    """The ensemble cluster of every image and, as its value, its mean co-association with the
    training images of this cluster (see `methods`)."""
    clusters, values = [np.empty(0, np.int32)], [np.empty(0, np.float32)]
    for block in blocks:
        together = _together(block, weights, cfg)
        cluster = _distances(together, weights).argmin(axis=1)
        clusters.append(cluster.astype(np.int32))
        values.append(together[np.arange(len(block)), cluster])
    return np.concatenate(clusters), np.concatenate(values)


def scores(block, weights, cfg):
    """Negative squared distance, up to a constant, of the image's indicators to every centroid,
    divided by the number of members."""
    return -_distances(_together(block, weights, cfg), weights)


def _distances(together, weights):
    lengths = (weights["shares"] ** 2).sum(axis=0) / len(weights["sizes"])
    return lengths - 2 * together


def _together(block, weights, cfg):
    """Mean co-association of images with the training images of every cluster: float32 [b, k]."""
    votes = _votes(block, weights, cfg) + np.cumsum([0, *weights["sizes"][:-1]])
    total = sum(weights["shares"][column] for column in votes.T)
    return total / np.float32(votes.shape[1])


def _votes(block, weights, cfg):
    """Every member's cluster of every image, int32 [b, R]."""
    found = [scores.argmax(axis=1) for scores in _each(block, weights, cfg)]
    return np.stack(found, axis=1).astype(np.int32)


def _each(block, weights, cfg):
    """The members' scores of images: an iterator over float32 [b, K]."""
    spaces = np.split(block, np.cumsum(weights["dims"])[:-1], axis=1)
    for number, member in enumerate(cfg["members"]):
        own = {
            name.removeprefix(f"{number}."): array
            for name, array in weights.items()
            if name.startswith(f"{number}.")
        }
        rows = np.concatenate([spaces[space] for space in member["spaces"]], axis=1)
        yield load_method(member["cfg"]["method"]).scores(rows, own, member["cfg"])
