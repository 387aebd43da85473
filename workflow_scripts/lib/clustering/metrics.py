"""How well clusters agree with known labels. Labels serve evaluation only, never clustering.

Every function takes labels [N] (integers or strings) and clusters [N] (integers). Rows without
a known label must be left out by the caller. Values lie in [0, 1] (AMI and ARI: at most 1, about
0 for random clusters); higher is better.

All are exact and come from the sparse contingency table alone, which holds at most N counts. So
11 million images, 10,450 classes and twice as many clusters need no dense table.
"""

import numpy as np
from scipy.sparse import coo_array, eye_array, hstack
from scipy.sparse.csgraph import min_weight_full_bipartite_matching
from scipy.special import gammaln, xlogy
from sklearn.metrics import mutual_info_score

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
    to classes (Hungarian). Surplus clusters map to no class and count as wrong."""
    return _accuracy(contingency(labels, clusters))


def balanced_accuracy(labels, clusters):
    """Class-balanced ACC: the mean over classes of the share of their images that are right, under
    the map of `accuracy`. A class without a cluster counts as 0.

    The map is the one that maximises ACC, not this figure (our choice: one map for both). If
    several maps reach the same ACC, which one is taken depends on the order of the labels and of
    the cluster ids alone, so that equal inputs give equal figures.
    """
    return _balanced_accuracy(contingency(labels, clusters))


def purity(labels, clusters):
    """Many-to-one accuracy: every cluster maps to its most frequent class. It grows with the
    number of clusters, so compare it at an equal number only. Never call it ACC."""
    return _purity(contingency(labels, clusters))


def nmi(labels, clusters):
    """Normalised mutual information, arithmetic mean of the entropies (as scikit-learn's)."""
    return _nmi(contingency(labels, clusters))


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
    counts within 10 standard deviations + 10 of the mean: what lies beyond is less than 1e-18 of
    the whole. N images have at most sqrt(2 N) distinct sizes, which bounds the time.
    """
    n = int(np.sum(class_sizes))
    log_factorial = gammaln(np.arange(1, n + 2))
    b, times_b = np.unique(cluster_sizes, return_counts=True)
    of_b = log_factorial[b] + log_factorial[n - b]
    total = 0.0
    for a, times_a in zip(*np.unique(class_sizes, return_counts=True), strict=True):
        mean = a * b / n
        reach = 10 * np.sqrt(mean) + 10
        low = np.maximum(np.maximum(1, a + b - n), np.floor(mean - reach)).astype(np.int64)
        high = np.minimum(np.minimum(a, b), np.ceil(mean + reach)).astype(np.int64)
        count = low[:, None] + np.arange((high - low).max() + 1)
        row, column = np.nonzero(count <= high[:, None])
        count, size = count[row, column], b[row]
        log_probability = (
            log_factorial[a] + log_factorial[n - a] - log_factorial[n] + of_b[row]
            - log_factorial[count] - log_factorial[a - count]
            - log_factorial[size - count] - log_factorial[n - a - size + count]
        )  # fmt: skip
        information = count / n * np.log(n / a * (count / size))
        total += times_a * float((times_b[row] * information * np.exp(log_probability)).sum())
    return total


def ari(labels, clusters):
    """Adjusted Rand index (as scikit-learn's). Equal partitions have ARI 1."""
    return _ari(contingency(labels, clusters))


def used_clusters(clusters):
    """Number of clusters that hold at least one image."""
    return len(np.unique(clusters))


def clustering_metrics(labels, clusters):
    """All of the above, and the numbers of images and classes, as a dict."""
    table = contingency(labels, clusters)
    return {
        "n": len(labels),
        "classes": table.shape[0],
        "used_clusters": table.shape[1],
        "acc": _accuracy(table),
        "balanced_acc": _balanced_accuracy(table),
        "purity": _purity(table),
        "nmi": _nmi(table),
        "ami": _ami(table),
        "ari": _ari(table),
    }


def best_map(table):
    """The one-to-one map of clusters to classes with the most images right, by Hungarian matching.

    table: sparse counts [classes, clusters], as `contingency` gives it.
    Returns int64 [clusters]: the row of each cluster's class, -1 for a cluster without one.

    Jonker and Volgenant's algorithm on the sparse table (SciPy's
    min_weight_full_bipartite_matching). It must match every row of the shorter side, so each gets
    a column of its own that stands for "no partner". All counts grow by one, the weight of these
    columns: a matching has one edge per row, so its order among matchings stays the same, and no
    edge has weight 0, which the sparse format would lose.
    """
    turned = table.shape[0] > table.shape[1]
    weights = (table.T if turned else table).tocsr().astype(np.float64)
    weights.data += 1
    rows, columns = weights.shape
    weights = hstack([weights, eye_array(rows, format="csr")], format="csr")
    row, column = min_weight_full_bipartite_matching(weights, maximize=True)
    row, column = row[column < columns], column[column < columns]
    classes, clusters = (column, row) if turned else (row, column)
    found = np.full(table.shape[1], -1)
    found[clusters] = classes
    return found


def _right(table):
    """Images per class that the best one-to-one map gets right, int64 [classes]."""
    class_of = best_map(table)
    cell = table.tocoo()
    right = class_of[cell.col] == cell.row
    found = np.zeros(table.shape[0], np.int64)
    found[cell.row[right]] = cell.data[right]
    return found


def _accuracy(table):
    return float(_right(table).sum() / table.sum())


def _balanced_accuracy(table):
    return float((_right(table) / table.sum(axis=1)).mean())


def _purity(table):
    return float(table.max(axis=0).toarray().sum() / table.sum())


def _nmi(table):
    if table.shape == (1, 1):
        return 1.0
    information = mutual_info_score(None, None, contingency=table)
    return float(2 * information / (_entropy(table.sum(axis=1)) + _entropy(table.sum(axis=0))))


def _ami(table):
    if _equal_partitions(table):
        return 1.0
    classes, clusters = table.sum(axis=1), table.sum(axis=0)
    information = mutual_info_score(None, None, contingency=table)
    expected = expected_mutual_information(classes, clusters)
    entropy = (_entropy(classes) + _entropy(clusters)) / 2
    return float((information - expected) / (entropy - expected))


def _ari(table):
    """Hubert and Arabie (1985), eq. 5: pairs of images that share a class, a cluster or both."""
    if _equal_partitions(table):
        return 1.0
    both = _pairs(table.data)
    classes, clusters = _pairs(table.sum(axis=1)), _pairs(table.sum(axis=0))
    expected = classes * clusters / _pairs(table.sum())
    return float((both - expected) / ((classes + clusters) / 2 - expected))


def _equal_partitions(table):
    return table.nnz == table.shape[0] == table.shape[1]


def _pairs(sizes):
    return int((sizes * (sizes - 1) // 2).sum())


def _entropy(sizes):
    share = sizes / sizes.sum()
    return -xlogy(share, share).sum()


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
