"""The k-means++ start."""

import numpy as np
import pytest
from clustering_cases import blobs, task_of
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.metrics import pairwise_distances_argmin_min

from workflow_scripts.lib.clustering import centroids, kmeans

CFG = {"seed": 0, "init": "kmeans++", "sample": 0, "precision": "float32"}


def fit(rows, k, **cfg):
    return kmeans.fit(task_of(rows, k, CFG | cfg))


def restarts(found):
    """The curve of objectives of every restart."""
    objective, restart = np.array(found.history["objective"]), np.array(found.history["restart"])
    return [objective[restart == number] for number in np.unique(restart)]


def distance(rows, start):
    """Mean squared distance to the nearest of the centroids."""
    return (pairwise_distances_argmin_min(rows, start)[1] ** 2).mean()


@pytest.mark.parametrize("spherical", [True, False])
def test_plusplus_begins_at_better_rows_than_random(spherical):
    sample, _ = blobs(classes=40, per_class=10)
    first = {
        init: [
            curve[0]
            for curve in restarts(
                fit(sample, 40, spherical=spherical, restarts=5, iterations=3, init=init)
            )
        ]
        for init in ("random", "kmeans++")
    }
    if spherical:
        assert min(first["kmeans++"]) > max(first["random"])
    else:
        assert max(first["kmeans++"]) < min(first["random"])


def test_plusplus_equals_scikit_learn_from_the_same_start():
    sample, _ = blobs(spread=0.3)
    found = fit(sample, 6, spherical=False, restarts=1, iterations=100)
    seed = int(np.random.SeedSequence(0).generate_state(1)[0])
    start = kmeans_plusplus(sample, 6, random_state=seed)[0]
    reference = KMeans(6, init=start, n_init=1, max_iter=100, tol=0).fit(sample)
    np.testing.assert_allclose(found.weights["centroids"], reference.cluster_centers_, atol=1e-4)
    assert found.meta["objective"] == pytest.approx(reference.inertia_ / len(sample), rel=1e-4)


@pytest.mark.parametrize("spherical", [True, False])
def test_plusplus_among_some_rows_is_as_good_as_scikit_learn_among_all(monkeypatch, spherical):
    rows, _ = blobs(classes=20, per_class=100, spread=0.15)
    monkeypatch.setattr(centroids, "START_ROWS", 200)
    seeds = range(30)
    ours = [centroids.plusplus(rows, 20, seed, spherical) for seed in seeds]
    theirs = [kmeans_plusplus(rows, 20, random_state=seed)[0] for seed in seeds]
    for found in ours:
        assert all(np.isclose(rows, row, atol=1e-6).all(axis=1).any() for row in found)
    random = [np.random.default_rng(seed).choice(rows, 20, replace=False) for seed in seeds]
    loss = {
        name: np.array([distance(rows, start) for start in starts])
        for name, starts in {"ours": ours, "theirs": theirs, "random": random}.items()
    }
    error = (loss["ours"].var() + loss["theirs"].var()) ** 0.5 / len(seeds) ** 0.5
    assert abs(loss["ours"].mean() - loss["theirs"].mean()) < 3 * error
    assert loss["ours"].mean() < loss["random"].mean() - 10 * error
    np.testing.assert_array_equal(ours[3], centroids.plusplus(rows, 20, 3, spherical))


def test_plusplus_reads_no_more_rows_than_it_may(monkeypatch):
    rows, _ = blobs(classes=4, per_class=200)
    monkeypatch.setattr(centroids, "START_ROWS", 100)
    sizes = []
    monkeypatch.setattr("sklearn.cluster.kmeans_plusplus",
                        lambda x, k, random_state: (sizes.append(len(x)), [x[:k]])[1])  # fmt: skip
    for k in (4, 33, 34, 40):
        centroids.plusplus(rows, k, 0, False)
    assert sizes == [100, 100, 102, 120]


def test_a_spherical_start_does_not_ask_for_the_length_of_rows():
    # By squared distance the one long row would be chosen again and again.
    rows, labels = blobs(classes=4, per_class=5, spread=0.01)
    scaled = rows * np.where(labels == 0, 50, 1)[:, None].astype(np.float32)
    for seed in range(5):
        start = centroids.plusplus(scaled, 4, seed, True)
        np.testing.assert_allclose(start, centroids.plusplus(rows, 4, seed, True), atol=1e-6)
        assert len({labels[(rows @ row).argmax()] for row in start}) == 4
