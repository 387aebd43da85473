"""Projections against scikit-learn, and what they do without their packages."""

import sys

import numpy as np
import pytest
from sklearn.decomposition import PCA

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.explore import projection


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(500, 20)) * np.linspace(3, 0.1, 20) + 5
    return images.astype(np.float32)


def test_pca_is_that_of_scikit_learn(images):
    found, expected = projection.project(images, "pca"), PCA(2).fit(images)
    signs = np.sign(np.sum(found * expected.transform(images), axis=0))
    np.testing.assert_allclose(found * signs, expected.transform(images), atol=1e-4)


def test_the_largest_coefficient_of_an_axis_is_positive(images):
    found = projection.pca(images)
    axes = np.linalg.lstsq(images - images.mean(axis=0), found, rcond=None)[0].T
    assert all(axis[np.abs(axis).argmax()] > 0 for axis in axes)


def test_pca_takes_its_axes_from_a_sample_of_many_images(images, monkeypatch):
    monkeypatch.setattr(projection, "AXES_ROWS", 200)
    rows = projection.sampled(len(images), 200)
    np.testing.assert_allclose(
        projection.pca(images)[rows], projection.pca(images[rows]), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("shape", [(1, 5), (3, 1), (2, 2)])
def test_few_images_and_dimensions_have_a_place_too(shape):
    images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    found = projection.pca(images)
    assert found.shape == (shape[0], 2)
    assert np.isfinite(found).all()


def test_a_sample_is_sorted_without_repetition_and_the_same_every_time():
    rows = projection.sampled(1000, 50)
    assert len(set(rows.tolist())) == 50
    assert (np.diff(rows) > 0).all()
    assert rows[-1] < 1000
    np.testing.assert_array_equal(rows, projection.sampled(1000, 50))
    np.testing.assert_array_equal(projection.sampled(5, 50), np.arange(5))


@pytest.mark.parametrize("method", ["umap", "tsne"])
def test_a_missing_extra_is_named(images, method, monkeypatch):
    module, distribution = projection.EXTRAS[method]
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=rf"map.projection: {method} needs {distribution}"):
        projection.project(images, method)


@pytest.mark.parametrize("method", ["umap", "tsne"])
def test_an_extra_keeps_groups_apart_and_repeats_itself(method):
    pytest.importorskip(projection.EXTRAS[method][0])
    rng = np.random.default_rng(0)
    groups = np.repeat(np.eye(3, 8), 40, axis=0) + rng.normal(scale=0.02, size=(120, 8))
    groups = groups.astype(np.float32)
    found = projection.project(groups, method)
    np.testing.assert_array_equal(found, projection.project(groups, method))
    parts = found.reshape(3, 40, 2)
    within = np.linalg.norm(parts - parts.mean(axis=1, keepdims=True), axis=2).max()
    centres = parts.mean(axis=1)
    between = min(np.linalg.norm(centres[i] - centres[i - 1]) for i in range(3))
    assert between > within
