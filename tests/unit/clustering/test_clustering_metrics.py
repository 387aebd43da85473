from itertools import permutations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import (
    adjusted_mutual_info_score,
    adjusted_rand_score,
    normalized_mutual_info_score,
)
from sklearn.metrics.cluster import expected_mutual_information

from workflow_scripts.lib.clustering import metrics as metrics
from workflow_scripts.lib.errors import InputError

LABELS = np.array(["cat", "cat", "cat", "dog", "dog", "owl", "owl", "owl"])
CLUSTERS = np.array([4, 4, 9, 9, 9, 7, 7, 4])


def value(metric, labels, clusters):
    return metric(metrics.contingency(labels, clusters))


def accuracy(labels, clusters):
    return value(metrics.accuracies, labels, clusters)[0]


def balanced_accuracy(labels, clusters):
    return value(metrics.accuracies, labels, clusters)[1]


def random_case(seed):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 4, 60), rng.integers(0, 5, 60)


def test_contingency_by_hand():
    table = metrics.contingency(LABELS, CLUSTERS)
    # rows cat, dog, owl; columns clusters 4, 7, 9
    np.testing.assert_array_equal(table.toarray(), [[2, 0, 1], [0, 0, 2], [1, 2, 0]])


def test_accuracy_and_purity_by_hand():
    # cat -> 4 (2), dog -> 9 (2), owl -> 7 (2): 6 of 8 images, and no cluster can do better.
    assert accuracy(LABELS, CLUSTERS) == 6 / 8
    assert value(metrics.purity, LABELS, CLUSTERS) == 6 / 8


@pytest.mark.parametrize("seed", range(3))
def test_accuracy_is_the_best_of_all_one_to_one_maps(seed):
    labels, clusters = random_case(seed)
    best = max(np.mean(np.array(classes)[clusters] == labels) for classes in permutations(range(5)))
    assert accuracy(labels, clusters) == pytest.approx(best)


@pytest.mark.parametrize(
    ("images", "classes", "clusters"),
    [(300, 40, 40), (300, 60, 20), (300, 20, 60), (30, 29, 25), (50, 1, 9), (50, 9, 1), (1, 1, 1)],
)
def test_the_sparse_matching_is_as_good_as_the_dense_one(images, classes, clusters):
    rng = np.random.default_rng(images + clusters)
    labels = np.minimum(rng.geometric(min(1, 3 / classes), images), classes)
    found = np.where(rng.random(images) < 0.3, labels % clusters, rng.integers(0, clusters, images))
    table = metrics.contingency(labels, found)
    dense = table.toarray()
    best = dense[linear_sum_assignment(dense, maximize=True)].sum()
    assert accuracy(labels, found) == best / images
    class_of = metrics.best_map(table)
    used = class_of[class_of >= 0]
    assert class_of.dtype == np.int64
    assert len(class_of) == dense.shape[1]
    assert len(set(used.tolist())) == len(used)
    assert dense[used, np.flatnonzero(class_of >= 0)].sum() == best


def test_the_best_map_by_hand():
    # Greedy would take 5 and lose; the best map is 4 + 4, and a cluster is left over.
    labels = np.repeat([0, 0, 0, 1], [5, 4, 1, 4])
    clusters = np.repeat([0, 1, 2, 0], [5, 4, 1, 4])
    table = metrics.contingency(labels, clusters)
    np.testing.assert_array_equal(table.toarray(), [[5, 4, 1], [4, 0, 0]])
    assert metrics.best_map(table).tolist() == [1, 0, -1]
    assert accuracy(labels, clusters) == 8 / 14


def test_balanced_accuracy_by_hand():
    # cat 2 of 3, dog 2 of 2, owl 2 of 3
    assert balanced_accuracy(LABELS, CLUSTERS) == pytest.approx((2 / 3 + 1 + 2 / 3) / 3)
    # A single cluster belongs to the larger class, and the other one has recall 0.
    labels = np.repeat(["a", "b"], [9, 1])
    assert accuracy(labels, np.zeros(10, int)) == 0.9
    assert balanced_accuracy(labels, np.zeros(10, int)) == 0.5


@pytest.mark.parametrize("seed", range(3))
def test_balanced_accuracy_of_the_map_that_maximises_accuracy(seed):
    rng = np.random.default_rng(seed)
    labels = np.minimum(rng.geometric(0.5, 97) - 1, 3)
    clusters = np.where(rng.random(97) < 0.6, labels, rng.integers(0, 5, 97))
    best = {}
    for classes in permutations(range(5)):
        right = np.array(classes)[clusters] == labels
        balanced = np.mean([right[labels == y].mean() for y in range(4)])
        best.setdefault(right.sum(), set()).add(round(balanced, 12))
    assert round(balanced_accuracy(labels, clusters), 12) in best[max(best)]


@pytest.mark.parametrize("seed", range(3))
def test_purity_lets_many_clusters_share_a_class(seed):
    labels, clusters = random_case(seed)
    hits = sum(np.bincount(labels[clusters == c]).max() for c in range(5))
    assert value(metrics.purity, labels, clusters) == pytest.approx(hits / 60)


@pytest.mark.parametrize("seed", range(3))
def test_nmi_by_its_formula(seed):
    labels, clusters = random_case(seed)
    joint = np.array(
        [[np.mean((labels == y) & (clusters == c)) for c in range(5)] for y in range(4)]
    )
    rows, columns = joint.sum(axis=1), joint.sum(axis=0)
    information = sum(
        joint[y, c] * np.log(joint[y, c] / (rows[y] * columns[c]))
        for y in range(4)
        for c in range(5)
        if joint[y, c] > 0
    )
    entropies = -(rows @ np.log(rows)) - (columns @ np.log(columns))
    assert value(metrics.nmi, labels, clusters) == pytest.approx(2 * information / entropies)


@pytest.mark.parametrize("seed", range(3))
def test_ari_by_counting_pairs(seed):
    labels, clusters = random_case(seed)
    pairs = [(i, j) for i in range(60) for j in range(i)]
    same_class = np.array([labels[i] == labels[j] for i, j in pairs])
    same_cluster = np.array([clusters[i] == clusters[j] for i, j in pairs])
    expected = same_class.sum() * same_cluster.sum() / len(pairs)
    highest = (same_class.sum() + same_cluster.sum()) / 2
    index = ((same_class & same_cluster).sum() - expected) / (highest - expected)
    assert value(metrics.ari, labels, clusters) == pytest.approx(index)


@pytest.mark.parametrize(
    ("images", "classes", "clusters"),
    [(60, 4, 5), (500, 1, 7), (500, 3, 1), (40, 40, 5), (9000, 3, 40)],
)
def test_ami_equals_scikit_learn(images, classes, clusters):
    rng = np.random.default_rng(images)
    labels = rng.integers(0, classes, images)
    found = np.where(rng.random(images) < 0.5, labels % clusters, rng.integers(0, clusters, images))
    assert value(metrics.ami, labels, found) == pytest.approx(
        adjusted_mutual_info_score(labels, found), abs=1e-9
    )


@pytest.mark.parametrize(("classes", "clusters"), [(1, 1), (1, 6), (6, 1), (7, 90), (90, 90)])
def test_nmi_and_ari_equal_scikit_learn(classes, clusters):
    rng = np.random.default_rng(classes)
    labels = np.minimum(rng.geometric(0.1, 90), classes)
    found = np.where(rng.random(90) < 0.5, labels % clusters, rng.integers(0, clusters, 90))
    assert value(metrics.nmi, labels, found) == pytest.approx(
        normalized_mutual_info_score(labels, found), abs=1e-12
    )
    assert value(metrics.ari, labels, found) == pytest.approx(adjusted_rand_score(labels, found))


@pytest.mark.parametrize(("classes", "clusters"), [(300, 300), (2, 2), (2, 300)])
def test_ami_equals_scikit_learn_for_geometric_sizes(classes, clusters):
    """Expected counts from far below one to thousands."""
    rng = np.random.default_rng(classes)
    images = 20000
    share = 50 ** -np.linspace(0, 1, classes)
    labels = rng.choice(classes, images, p=share / share.sum())
    found = np.where(rng.random(images) < 0.6, labels % clusters, rng.integers(0, clusters, images))
    assert value(metrics.ami, labels, found) == pytest.approx(
        adjusted_mutual_info_score(labels, found), abs=1e-9
    )


def test_expected_mutual_information_equals_scikit_learn_for_unequal_sizes():
    rng = np.random.default_rng(0)
    labels = np.minimum(rng.geometric(0.1, 5000), 40)
    clusters = np.minimum(rng.geometric(0.02, 5000), 200)
    table = metrics.contingency(labels, clusters)
    expected = expected_mutual_information(table, 5000)
    sizes = table.sum(axis=1), table.sum(axis=0)
    assert metrics.expected_mutual_information(*sizes) == pytest.approx(expected, rel=1e-9)


def test_equal_partitions_have_ami_one_even_without_entropy():
    assert value(metrics.ami, [3, 3, 3], [5, 5, 5]) == 1
    assert value(metrics.ami, [1, 2, 3], [7, 6, 5]) == 1


def test_random_clusters_score_zero_when_adjusted_for_chance_only():
    rng = np.random.default_rng(0)
    labels, clusters = rng.integers(0, 50, 500), rng.integers(0, 50, 500)
    assert abs(value(metrics.ami, labels, clusters)) < 0.05
    assert value(metrics.nmi, labels, clusters) > 0.3


def test_a_perfect_clustering_under_other_names():
    labels = np.array(["b", "a", "c", "a", "b", "c"])
    found = metrics.clustering_metrics(labels, np.array([70, 8, 3, 8, 70, 3]))
    assert found == {
        "n": 6,
        "classes": 3,
        "used_clusters": 3,
        "acc": 1.0,
        "balanced_acc": 1.0,
        "purity": 1.0,
        "nmi": pytest.approx(1),
        "ami": pytest.approx(1),
        "ari": 1.0,
    }


def test_the_dict_holds_the_single_metrics():
    found = metrics.clustering_metrics(LABELS, CLUSTERS)
    assert found["acc"] == accuracy(LABELS, CLUSTERS)
    assert found["balanced_acc"] == balanced_accuracy(LABELS, CLUSTERS)
    for name in ("purity", "nmi", "ami", "ari"):
        assert found[name] == pytest.approx(value(getattr(metrics, name), LABELS, CLUSTERS))
    assert found["used_clusters"] == 3


@pytest.mark.parametrize(("labels", "clusters"), [([], []), ([1, 2], [0])])
def test_unequal_or_empty_input(labels, clusters):
    with pytest.raises(InputError, match="one known label for every clustered image"):
        metrics.clustering_metrics(labels, clusters)
