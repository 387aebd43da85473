"""One numeric core: what a graphics card computes, on CPU tensors and, where there is one, on a
card, against NumPy's results."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from score_references import embeddings, unit

from workflow_scripts.lib.arrays import beside, to_numpy
from workflow_scripts.lib.concepts import negatives, similarity
from workflow_scripts.lib.concepts.similarity import top_concepts, top_of_rows
from workflow_scripts.lib.detection import detectors
from workflow_scripts.lib.detection.images import fit_gaussians
from workflow_scripts.lib.detection.methods import METHODS
from workflow_scripts.lib.errors import Impossible

ROOT = Path(__file__).parents[3]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
PARAMETERS = {
    "mcm": {"temperature": 0.01},
    "neglabel": {"groups": 4},
    "negrefine": {"groups": 4, "top": 3},
    "adaneg": {"groups": 4, "memory": 3},
    "knn": {"k": 3},
}


@pytest.fixture(params=DEVICES)
def on_device(request):
    """A function that puts an array on the device of a test."""
    return lambda array: None if array is None else torch.from_numpy(array).to(request.param)


def near(rng, centres, n):
    """Unit rows near some of the centres, as images are near their concepts."""
    rows = centres[rng.integers(0, len(centres), n)] + 0.5 * unit(rng, n)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("name", METHODS)
def test_every_detector_scores_the_same(monkeypatch, on_device, name):
    rng = np.random.default_rng(0)
    positives, texts = unit(rng, 9), {"far": unit(rng, 40), "rest": unit(rng, 21)}
    train = embeddings([near(rng, positives, 80), near(rng, positives, 41)])
    images = np.concatenate(
        [near(rng, positives, 30), train.array()[:20], near(rng, texts["far"], 9)]
    )
    own = np.concatenate([np.full(30, -1), np.arange(20), np.full(9, -1)])
    clusters = fit_gaussians(train, rng.integers(-1, 4, 121))
    block = {name: {"method": name} | PARAMETERS.get(name, {})}
    monkeypatch.setattr(similarity, "TILE", 40 * 25)  # images come in tiles

    def score():
        return detectors.score_blocks([images], positives, texts, block, train, clusters, own)

    expected, nearest, cosines = score()
    monkeypatch.setattr(detectors, "placed", on_device)
    scores, also_nearest, also_cosines = score()
    assert scores.keys() == expected.keys()
    for key, values in expected.items():
        assert type(scores[key]) is np.ndarray and scores[key].dtype == np.float32
        assert np.ptp(values) > 1e-3, "a score that is the same for all images proves nothing"
        np.testing.assert_allclose(scores[key], values, rtol=3e-5, atol=3e-6)
    np.testing.assert_array_equal(also_nearest, nearest)
    np.testing.assert_allclose(also_cosines, cosines, rtol=1e-6)


def test_a_covariance_that_one_image_alone_fills_is_found_there_too(monkeypatch, on_device):
    rows = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    rows[:, 3] = 0
    rows[7, 3] = 1  # without this image the last dimension does not vary
    clusters = fit_gaussians(embeddings([rows]), np.repeat([0, 1], 15))
    block = {"mahalanobis": {"method": "mahalanobis", "shrinkage": 0.0}}
    monkeypatch.setattr(detectors, "placed", on_device)
    own = np.arange(30)
    others = np.delete(own, 7)
    detectors.score_blocks([rows[others]], None, {}, block, None, clusters, others)
    with pytest.raises(Impossible, match="without one of the training images"):
        detectors.score_blocks([rows], None, {}, block, None, clusters, own)


@pytest.mark.parametrize(("v", "m"), [(7, 7), (64, 1), (65, 3), (500, 2), (500, 251)])
def test_top_concepts_are_the_same_ties_included(monkeypatch, on_device, v, m):
    rng = np.random.default_rng(v)
    choices = np.array([-1, -0.5, 0, 0.5, 1], np.float32)  # products are exact, ties are real
    images, texts = rng.choice(choices, (40, 4)), rng.choice(choices, (v, 4))
    monkeypatch.setattr(similarity, "TILE", 900)
    expected = top_concepts([images], texts, m)
    for found, values in zip(top_concepts([images], on_device(texts), m), expected, strict=True):
        assert type(found) is np.ndarray and found.dtype == values.dtype
        np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("by_columns", [False, True])
def test_top_of_rows_is_the_same_however_the_memory_is_laid_out(on_device, by_columns):
    sims = np.random.default_rng(0).integers(0, 9, (30, 200)).astype(np.float32)
    expected = np.lexsort((np.broadcast_to(np.arange(200), sims.shape), -sims))[:, :5]
    stored = on_device(sims.T.copy()).T if by_columns else on_device(sims)
    ids, values = map(to_numpy, top_of_rows(stored, 5))
    np.testing.assert_array_equal(ids, expected)
    np.testing.assert_array_equal(values, np.take_along_axis(sims, expected, axis=1))


@pytest.mark.parametrize("quantile", [0.5, 0.95, 1])
def test_negatives_far_from_images_are_the_same(monkeypatch, on_device, quantile):
    rng = np.random.default_rng(0)
    texts, positives, images = unit(rng, 60), unit(rng, 5), unit(rng, 33)
    monkeypatch.setattr(similarity, "TILE", 33 * 7)
    arguments = {"pos": ["n", "a"] * 30, "quantile": quantile, "share": 0.5, "limit": 0.4}
    rows, distances = negatives.neglabel(texts, positives, images=images, **arguments)
    found = negatives.neglabel(texts, positives, images=on_device(images), **arguments)
    np.testing.assert_array_equal(found[0], rows)
    np.testing.assert_allclose(found[1], distances, rtol=1e-6)


def test_numpy_beside_numpy_is_not_copied():
    rows = np.ones((2, 3))
    assert np.shares_memory(beside(rows, np.ones(1, np.float32)), rows)
    assert np.shares_memory(to_numpy(rows), rows)


def test_jobs_that_see_no_card_import_no_torch():
    program = """
import sys
import numpy as np
from workflow_scripts import match_concepts, mine_negatives, score_images
from workflow_scripts.lib.detection import adaptive, detectors, images
rows = np.eye(8, dtype=np.float32)
match_concepts.top_concepts([rows], match_concepts.placed(rows), 2)
block = {name: {"method": name, "groups": 2} for name in ("neglabel", "adaneg", "negrefine")}
detectors.score_blocks([rows], rows, {"a": rows}, block)
assert "torch" not in sys.modules
"""
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
