"""Two-level k-means."""

import clustering_cases as cases
import numpy as np
import pytest
from clustering_cases import blobs, task_of

from workflow_scripts.lib.clustering import hierarchical, kmeans
from workflow_scripts.lib.errors import InputError

SHARED = {"seed": 0, "init": "kmeans++", "restarts": 5, "iterations": 20, "sample": 0,
          "precision": "float32"}  # fmt: skip
CFG = SHARED | {"fine": "auto", "weighted": False}
KMEANS = SHARED | {"spherical": True}


def fit(rows, k, **cfg):
    return hierarchical.fit(task_of(rows, k, CFG | cfg))


@pytest.mark.parametrize("weighted", [True, False])
def test_equals_plain_kmeans_if_every_image_is_a_small_cluster(weighted):
    rows, _ = blobs(spread=0.3)
    found = fit(rows, 7, fine=len(rows), weighted=weighted)
    plain = kmeans.fit(task_of(rows, 7, KMEANS))
    np.testing.assert_allclose(found.weights["centroids"], plain.weights["centroids"], atol=1e-5)
    assert found.meta["objective"] == pytest.approx(plain.meta["objective"], abs=1e-6)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("fine", ["auto", 20])
def test_recovers_blobs(weighted, fine):
    rows, labels = blobs()
    found = fit(rows, 5, fine=fine, weighted=weighted, restarts=30)
    assert found.weights["centroids"].dtype == np.float32
    clusters, _ = hierarchical.assign([rows], found.weights, CFG)
    assert cases.accuracy(labels, clusters) == 1


def three_directions():
    """Three images at right angles, the first one 8 times, the others once."""
    return np.eye(3, dtype=np.float32)[[0] * 8 + [1, 2]]


def test_copies_of_an_image_count_once_unless_weighted():
    rows = three_directions()
    alike, weighted = (fit(rows, 1, fine=10, weighted=w) for w in (False, True))
    for found, total in ((alike, [1, 1, 1]), (weighted, [8, 1, 1])):
        mean = np.array([total]) / np.linalg.norm(total)
        np.testing.assert_allclose(found.weights["centroids"], mean, atol=1e-6)
    plain = kmeans.fit(task_of(rows, 1, KMEANS))
    np.testing.assert_allclose(weighted.weights["centroids"], plain.weights["centroids"], atol=1e-6)
    assert alike.meta["objective"] == pytest.approx(1 / 3**0.5)
    assert weighted.meta["objective"] == pytest.approx((8 * 8 + 1 + 1) / 66**0.5 / 10)
    assert weighted.meta["objective"] == pytest.approx(plain.meta["objective"], abs=1e-6)


def test_too_few_different_images():
    with pytest.raises(InputError, match="only 3 small clusters have images, too few for 4"):
        fit(three_directions(), 4, fine=10)


def test_assigns_and_scores_as_a_slow_reference_does():
    rows, _ = blobs(spread=0.3)
    weights = fit(rows, 6, fine=30).weights
    blocks = (rows[i : i + 77] for i in range(0, len(rows), 77))
    clusters, value = hierarchical.assign(blocks, weights, CFG)
    for row, cluster, cosine in zip(rows.astype(np.float64), clusters, value, strict=True):
        cosines = [float(row @ centroid) for centroid in weights["centroids"]]
        assert cluster == cosines.index(max(cosines))
        assert cosine == pytest.approx(max(cosines), abs=1e-6)
    scores = hierarchical.scores(rows, weights, CFG)
    assert scores.shape == (len(rows), 6)
    np.testing.assert_array_equal(scores.argmax(axis=1), clusters)


def test_seeds():
    rows, _ = blobs(spread=0.3)
    first, again, other = (fit(rows, 9, seed=seed) for seed in (3, 3, 4))
    assert first.history == again.history
    assert first.weights["centroids"].tobytes() == again.weights["centroids"].tobytes()
    assert first.weights["centroids"].tobytes() != other.weights["centroids"].tobytes()


@pytest.mark.parametrize(
    ("k", "n", "expected"), [(10, 10**6, 200), (10, 500, 100), (10, 30, 10), (1, 4, 1)]
)
def test_auto_is_twenty_k_within_bounds(k, n, expected):
    assert hierarchical.number_of_small("auto", k, n) == expected


@pytest.mark.parametrize("fine", [6, 201])
def test_fewer_small_clusters_than_clusters_or_more_than_images(fine):
    with pytest.raises(InputError, match=f"`fine` is {fine}.*`fine` from 7 to 200, or `k` to at"):
        fit(blobs()[0], 7, fine=fine)


def test_more_clusters_than_images():
    with pytest.raises(InputError, match="201 clusters of 200 images: set `k` from 1 to 200"):
        fit(blobs()[0], 201)


def test_a_sample_is_enough_to_find_blobs():
    rows, labels = blobs()
    found = fit(rows, 5, sample=100, fine=20, restarts=30)
    assert cases.accuracy(labels, hierarchical.assign([rows], found.weights, CFG)[0]) == 1
