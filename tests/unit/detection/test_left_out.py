"""Training images that are scored themselves: each by a fit without the image."""

import numpy as np
import pytest
from score_references import embeddings, slow_mahalanobis, unit

from workflow_scripts.lib.concepts import similarity
from workflow_scripts.lib.detection.detectors import score_embeddings
from workflow_scripts.lib.detection.images import fit_gaussians, knn, mahalanobis
from workflow_scripts.lib.errors import InputError


def scored_of(train, others, seed=0):
    """Training and other images mixed, and the row of each among the training images, or -1."""
    images = np.concatenate([train, others])
    own = np.concatenate([np.arange(len(train)), np.full(len(others), -1)])
    order = np.random.default_rng(seed).permutation(len(images))
    return images[order], own[order]


def without(rows, own):
    """rows without that number; all of them if it is -1."""
    return rows if own < 0 else np.delete(rows, own, axis=0)


@pytest.mark.parametrize("k", [1, 3, 29])
def test_knn_is_that_of_the_training_images_without_the_image(k):
    rng = np.random.default_rng(k)
    train = unit(rng, 30)
    train[4:9] = train[4]  # copies under other ids
    images, own = scored_of(train, unit(rng, 12))
    shards = embeddings([train[:3], train[3:6], train[6:6], train[6:]])
    found = knn(shards, k)(images, None, None, own)
    expected = [np.sort(without(train, row) @ x)[-k] for x, row in zip(images, own, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    alone = knn(embeddings([train[1:]]), k)(train[:1])
    np.testing.assert_allclose(found[own == 0], alone, rtol=1e-6)


def test_a_copy_with_another_id_is_a_neighbour():
    train = np.eye(4, dtype=np.float32)[[0, 0, 1, 2]]
    score = knn(embeddings([train]), 1)
    own = np.arange(4)
    assert score(train, None, None, own).tolist() == [1, 1, 0, 0]
    assert score(train).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("shrinkage", [0.0, 0.01, 1.0])
@pytest.mark.parametrize("k", [1, 5])
def test_mahalanobis_is_that_of_a_fit_without_the_image(shrinkage, k, monkeypatch):
    rng = np.random.default_rng(k)
    train = unit(rng, 70, 6) + 3 * np.eye(6, dtype=np.float32)[rng.integers(0, 3, 70)]
    train /= np.linalg.norm(train, axis=1, keepdims=True)
    train[20:23] = train[20]
    clusters = rng.integers(0, k, 70) * 2
    clusters[5] = 99  # alone
    clusters[[7, 8]] = 98  # a pair
    clusters[[11, 12]] = -1  # without a cluster: not fitted, so nothing to leave out
    images, own = scored_of(train, unit(rng, 9, 6))
    expected = []
    for x, row in zip(images, own, strict=True):
        rest, labels = without(train, row), without(clusters, row)
        kept = labels >= 0
        expected += slow_mahalanobis(x[None], rest[kept], labels[kept], shrinkage)
    gaussians = fit_gaussians(embeddings(np.split(train, [9, 30])), clusters)
    monkeypatch.setattr(similarity, "TILE", 60)
    found = mahalanobis(gaussians, shrinkage)(images, None, None, own)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert found.dtype == np.float32


def test_mahalanobis_tells_a_training_image_from_its_own_fit():
    """In many dimensions an image shapes the covariance that it is measured with."""
    rng = np.random.default_rng(0)
    train, fresh = unit(rng, 60, 20), unit(rng, 60, 20)
    score = mahalanobis(fit_gaussians(embeddings([train]), np.zeros(60, int)))
    left_out = score(train, None, None, np.arange(60)).mean()
    assert score(train).mean() > 1.5 * score(fresh).mean()  # negative: closer
    assert left_out == pytest.approx(score(fresh).mean(), rel=0.1)


def test_too_few_other_images_are_an_error():
    x = np.eye(4, dtype=np.float32)
    with pytest.raises(InputError, match="k = 4, but an image has 3 other training images"):
        knn(embeddings([x]), 4)(x, None, None, np.arange(4))
    pair = fit_gaussians(embeddings([x]), np.array([0, 0, 1, 2]))
    for shrinkage in (0.5, 1.0):
        with pytest.raises(InputError, match="no inverse without one of the training images"):
            mahalanobis(pair, shrinkage)(x, None, None, np.arange(4))


def test_streams_pass_the_rows_of_training_images_on(monkeypatch):
    rng = np.random.default_rng(2)
    train, positives = unit(rng, 40), unit(rng, 3)
    clusters = rng.integers(0, 3, 40)
    images, own = scored_of(train, unit(rng, 7))
    sources = (embeddings([train]), fit_gaussians(embeddings([train]), clusters))
    config = {name: {"method": name} for name in ("max_logit", "knn", "mahalanobis")}
    monkeypatch.setattr(similarity, "TILE", 20)
    scores, _, _ = score_embeddings(
        embeddings([images[:11], images[11:]]), positives, {}, config, *sources, own
    )
    monkeypatch.undo()
    for name, source in zip(("knn", "mahalanobis"), sources, strict=True):
        expected = {"knn": knn, "mahalanobis": mahalanobis}[name](source)(images, None, None, own)
        np.testing.assert_allclose(scores[name, None], expected, rtol=1e-5)
    np.testing.assert_allclose(
        scores["max_logit", None], (images @ positives.T).max(axis=1), rtol=1e-6
    )
