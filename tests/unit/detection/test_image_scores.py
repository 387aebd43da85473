"""Scores of images against training images and their clusters."""

import numpy as np
import pytest
from score_references import embeddings, slow_mahalanobis, unit

from workflow_scripts.lib.concepts import similarity
from workflow_scripts.lib.detection.detectors import score_blocks
from workflow_scripts.lib.detection.images import fit_gaussians, knn, mahalanobis
from workflow_scripts.lib.errors import InputError


@pytest.mark.parametrize("k", [1, 2, 7, 40])
def test_knn_is_the_kth_best_of_sorted_cosines(k):
    rng = np.random.default_rng(k)
    train, images = unit(rng, 40), unit(rng, 15)
    train[3:9] = train[3]  # ties
    expected = [sorted((float(x @ t) for t in train), reverse=True)[k - 1] for x in images]
    shards = [train[:1].astype(np.float64), *np.split(train[1:30], range(6, 29, 6))]
    shards += [train[30:30], train[30:]]  # of at most 10 rows, and of none
    np.testing.assert_allclose(knn(embeddings([train]), k)(images), expected, atol=1e-6)
    found = knn(embeddings(shards), k)(images, None, None)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.dtype == np.float32


@pytest.mark.parametrize("shrinkage", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("k", [1, 6])
def test_mahalanobis_matches_the_formula(shrinkage, k, monkeypatch):
    rng = np.random.default_rng(k)
    train, images = unit(rng, 90, 8), unit(rng, 20, 8)
    clusters = (rng.integers(0, k, 90) * 3).astype(np.int32)  # clusters without images between
    expected = slow_mahalanobis(images, train, clusters, shrinkage)
    found = mahalanobis(fit_gaussians(embeddings([train]), clusters), shrinkage)(images)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    monkeypatch.setattr(similarity, "TILE", 60)
    shards = embeddings(np.split(train, range(7, 90, 7)))
    score = mahalanobis(fit_gaussians(shards, clusters), shrinkage)
    np.testing.assert_allclose(score(images, None, None), expected, rtol=1e-6)
    assert found.dtype == np.float32


def test_mahalanobis_leaves_images_without_a_cluster_out():
    rng = np.random.default_rng(0)
    images, train = rng.normal(size=(2, 50, 3)).astype(np.float32)
    clusters = rng.integers(-1, 2, 50)
    kept = clusters >= 0
    found = mahalanobis(fit_gaussians(embeddings(np.split(train, [20])), clusters))(images)
    alone = mahalanobis(fit_gaussians(embeddings([train[kept]]), clusters[kept]))(images)
    np.testing.assert_allclose(found, alone, rtol=1e-5)


def test_mahalanobis_worked_example():
    # Two clusters around (1, 0) and (0, 1), each +- .1 in x and +- .2 in y: S = diag(.01, .04).
    offsets = np.array([[0.1, 0.2], [0.1, -0.2], [-0.1, 0.2], [-0.1, -0.2]])
    train = (np.eye(2)[:, None] + offsets).reshape(8, 2).astype(np.float32)
    gaussians = fit_gaussians(embeddings([train]), np.repeat([0, 1], 4))
    score = mahalanobis(gaussians, shrinkage=0)
    images = np.array([[1, 0], [1, 0.4], [0.2, 1]], np.float32)
    np.testing.assert_allclose(score(images), [0, -4, -4], atol=1e-5)
    score = mahalanobis(gaussians, shrinkage=0.5)  # S = diag(.0175, .0325)
    np.testing.assert_allclose(score(images), [0, -0.16 / 0.0325, -0.04 / 0.0175], atol=1e-5)


def test_training_images_must_fit():
    x = np.ones((5, 3), np.float32)
    with pytest.raises(InputError, match="k = 6, but there are 5 training images"):
        knn(embeddings([x[:2], x[2:]]), k=6)
    with pytest.raises(InputError, match="5 images but 4 cluster assignments"):
        fit_gaussians(embeddings([x]), np.zeros(4, int))
    with pytest.raises(InputError, match="raise shrinkage above 0"):
        mahalanobis(fit_gaussians(embeddings([x]), np.zeros(5, int)), shrinkage=0)
    with pytest.raises(InputError, match="3 dimensions, the training images 2"):
        score_blocks(
            [x], None, {}, {"knn": {"method": "knn", "k": 1}}, train=embeddings([x[:, :2]])
        )
    narrow = fit_gaussians(embeddings([np.eye(5, 2, dtype=np.float32)]), np.zeros(5, int))
    with pytest.raises(InputError, match="3 dimensions, the cluster means 2"):
        score_blocks([x], None, {}, {"m": {"method": "mahalanobis"}}, clusters=narrow)
