"""How well clusters agree with known labels. Labels serve evaluation only, never clustering.

Every function takes labels [N] (integers or strings) and clusters [N] (integers). Rows without
a known label must be left out by the caller. Values lie in [0, 1] (AMI and ARI: at most 1, about
0 for random clusters); higher is better.
"""

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.special import gammaln, xlogy
from sklearn.metrics import (
    adjusted_rand_score,
    mutual_info_score,
    normalized_mutual_info_score,
)

from workflow_scripts.lib.errors import InputError


def contingency(labels, clusters):
    """Image counts, sparse int64 [classes, used clusters], both in sorted order.

    Raises InputError if the arrays are empty or differ in length.
    """
    label, cluster = _codes(labels, clusters)
    ones = np.ones(len(label), dtype=np.int64)
    return coo_array((ones, (label, cluster))).tocsr()


def accuracy(labels, clusters):
    """Clustering accuracy (ACC): the share of images under the best one-to-one map of clusters
    to classes (Hungarian algorithm). Surplus clusters map to no class and count as wrong."""
    return _accuracy(contingency(labels, clusters))


def purity(labels, clusters):
    """Many-to-one accuracy: every cluster maps to its most frequent class. It grows with the
    number of clusters, so compare it at an equal number only."""
    return _purity(contingency(labels, clusters))


def nmi(labels, clusters):
    """Normalised mutual information, arithmetic mean of the entropies (scikit-learn)."""
    return float(normalized_mutual_info_score(*_codes(labels, clusters)))


def ami(labels, clusters):
    """Adjusted mutual information, arithmetic mean of the entropies.

    Equals scikit-learn's, whose time grows with images x clusters (minutes for 400,000 images of
    1,000 classes); see `expected_mutual_information`. Equal partitions have AMI 1.
    """
    return _ami(contingency(labels, clusters))


def expected_mutual_information(class_sizes, cluster_sizes):
    """Mean mutual information, in nats, of random partitions with the given sizes.

    Vinh, Epps and Bailey (JMLR 2010), eq. 24a: the count n_ij of a class of a images and a
    cluster of b is hypergeometric. Each pair of distinct sizes is computed once, and only for
    counts within 10 standard deviations + 30 of the mean, beyond which nothing is left.
    """
    n = int(np.sum(class_sizes))
    b, times_b = np.unique(cluster_sizes, return_counts=True)
    total = 0.0
    for a, times_a in zip(*np.unique(class_sizes, return_counts=True), strict=True):
        mean = a * b / n
        reach = 10 * np.sqrt(mean) + 30
        low = np.maximum(np.maximum(1, a + b - n), np.floor(mean - reach)).astype(np.int64)
        high = np.minimum(np.minimum(a, b), np.ceil(mean + reach)).astype(np.int64)
        count = low[:, None] + np.arange((high - low).max() + 1)
        inside = count <= high[:, None]
        size = np.broadcast_to(b[:, None], count.shape)[inside]
        times = np.broadcast_to(times_b[:, None], count.shape)[inside]
        count = count[inside]
        log_probability = (
            _log_factorial(a) + _log_factorial(n - a) - _log_factorial(n)
            + _log_factorial(size) + _log_factorial(n - size)
            - _log_factorial(count) - _log_factorial(a - count)
            - _log_factorial(size - count) - _log_factorial(n - a - size + count)
        )  # fmt: skip
        information = count / n * np.log(n / a * (count / size))
        total += times_a * float((times * information * np.exp(log_probability)).sum())
    return total


def ari(labels, clusters):
    """Adjusted Rand index (scikit-learn)."""
    return float(adjusted_rand_score(*_codes(labels, clusters)))


def used_clusters(clusters):
    """Number of clusters that hold at least one image."""
    return len(np.unique(clusters))


def clustering_metrics(labels, clusters):
    """All of the above, and the numbers of images and classes, as a dict."""
    label, cluster = _codes(labels, clusters)
    table = contingency(label, cluster)
    return {
        "n": len(label),
        "classes": table.shape[0],
        "used_clusters": table.shape[1],
        "acc": _accuracy(table),
        "purity": _purity(table),
        "nmi": nmi(label, cluster),
        "ami": _ami(table),
        "ari": ari(label, cluster),
    }


def _accuracy(table):
    counts = table.toarray()
    return float(counts[linear_sum_assignment(counts, maximize=True)].sum() / counts.sum())


def _purity(table):
    return float(table.max(axis=0).toarray().sum() / table.sum())


def _ami(table):
    if table.nnz == table.shape[0] == table.shape[1]:
        return 1.0
    classes, clusters = table.sum(axis=1), table.sum(axis=0)
    information = mutual_info_score(None, None, contingency=table)
    expected = expected_mutual_information(classes, clusters)
    entropy = (_entropy(classes) + _entropy(clusters)) / 2
    return float((information - expected) / (entropy - expected))


def _entropy(sizes):
    share = sizes / sizes.sum()
    return -xlogy(share, share).sum()


def _log_factorial(n):
    return gammaln(n + 1)


def _codes(labels, clusters):
    if len(labels) == 0 or len(labels) != len(clusters):
        raise InputError(
            f"got {len(labels)} labels and {len(clusters)} clusters: "
            "clustering metrics need one known label for every clustered image, and at least one"
        )
    return (
        np.unique(np.asarray(labels), return_inverse=True)[1],
        np.unique(np.asarray(clusters), return_inverse=True)[1],
    )
