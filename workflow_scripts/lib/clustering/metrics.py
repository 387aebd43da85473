"""How well clusters agree with known labels. Labels serve evaluation only, never clustering.

Every metric takes the sparse table that `contingency` makes of labels and clusters. Rows without
a known label must be left out by the caller. Values lie in [0, 1] (AMI and ARI: at most 1, about
0 for random clusters); higher is better.

All are exact and come from the table alone, which has at most N counts. So 11 million images,
10,450 classes and twice as many clusters need no dense table.
"""

import numpy as np
from scipy.sparse import coo_array, eye_array, hstack
from scipy.sparse.csgraph import min_weight_full_bipartite_matching
from scipy.special import gammaln, xlogy
from sklearn.metrics import mutual_info_score

from workflow_scripts.lib.errors import InputError


def clustering_metrics(labels, clusters):
    """All metrics, and the numbers of images, classes and used clusters, as a dict.

    labels, clusters: see `contingency`.
    """
    table = contingency(labels, clusters)
    acc, balanced_acc = accuracies(table)
    return {
        "n": len(labels),
        "classes": table.shape[0],
        "used_clusters": table.shape[1],
        "acc": acc,
        "balanced_acc": balanced_acc,
        "purity": purity(table),
        "nmi": nmi(table),
        "ami": ami(table),
        "ari": ari(table),
    }


def contingency(labels, clusters):
    """Image counts, sparse int64 [classes, used clusters], both in sorted order.

    labels [N]: integers or strings; clusters [N]: integers.
    Raises InputError if the arrays are empty or differ in length.
    """
    if len(labels) == 0 or len(labels) != len(clusters):
        raise InputError(
            f"got {len(labels)} labels and {len(clusters)} clusters: "
            "clustering metrics need one known label for every clustered image, and at least one"
        )
    label = np.unique(np.asarray(labels), return_inverse=True)[1]
    cluster = np.unique(np.asarray(clusters), return_inverse=True)[1]
    return coo_array((np.ones(len(label), np.int64), (label, cluster))).tocsr()


def accuracies(table):
    """Clustering accuracy (ACC) and class-balanced ACC.

    ACC is the share of images under the best one-to-one map of clusters to classes (Hungarian).
    Surplus clusters map to no class and count as wrong. Published ACC of more clusters than classes
    (TEMI's public code) maps every surplus cluster to its most frequent class, which gives at least
    this ACC and at most `purity`. Class-balanced ACC is the mean over classes of the share of their
    images that are right under the same map. A class without a cluster counts as 0.

    The map is the one that maximises ACC, not class-balanced ACC (our choice: one map for both). If
    several maps reach the same ACC, which one is taken depends on the order of the labels and of
    the cluster ids alone, so that equal inputs give equal figures.
    """
    right, images = _right(table), table.sum(axis=1)
    return float(right.sum() / images.sum()), float((right / images).mean())


def purity(table):
    """Many-to-one accuracy: every cluster maps to its most frequent class. It grows with the
    number of clusters, so compare it at an equal number only. Never call it ACC."""
    return float(table.max(axis=0).toarray().sum() / table.sum())


def nmi(table):
    """Normalised mutual information, arithmetic mean of the entropies (as scikit-learn's)."""
    if table.shape == (1, 1):
        return 1.0
    information = mutual_info_score(None, None, contingency=table)
    return float(2 * information / (_entropy(table.sum(axis=1)) + _entropy(table.sum(axis=0))))


def ami(table):
    """Adjusted mutual information, arithmetic mean of the entropies.

    Equals scikit-learn's, whose time grows with images x clusters (minutes for 400,000 images of
    1,000 classes); see `expected_mutual_information`. Equal partitions have AMI 1.
    """
    if _equal_partitions(table):
        return 1.0
    classes, clusters = table.sum(axis=1), table.sum(axis=0)
    information = mutual_info_score(None, None, contingency=table)
    expected = expected_mutual_information(classes, clusters)
    entropy = (_entropy(classes) + _entropy(clusters)) / 2
    return float((information - expected) / (entropy - expected))


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


def ari(table):
    """Adjusted Rand index (as scikit-learn's), Hubert and Arabie (1985), eq. 5: pairs of images
    that share a class, a cluster or both. Equal partitions have ARI 1."""
    if _equal_partitions(table):
        return 1.0
    both = _pairs(table.data)
    classes, clusters = _pairs(table.sum(axis=1)), _pairs(table.sum(axis=0))
    expected = classes * clusters / _pairs(table.sum())
    return float((both - expected) / ((classes + clusters) / 2 - expected))


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


def _equal_partitions(table):
    return table.nnz == table.shape[0] == table.shape[1]


def _pairs(sizes):
    return int((sizes * (sizes - 1) // 2).sum())


def _entropy(sizes):
    share = sizes / sizes.sum()
    return -xlogy(share, share).sum()
