import math
import tracemalloc

import numpy as np
import pytest
from scipy.special import softmax

from workflow_scripts.lib import detectors, similarity
from workflow_scripts.lib.detectors import mcm, neglabel, score_blocks
from workflow_scripts.lib.errors import InputError


def unit(rng, n, d=16):
    x = rng.standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def slow_neglabel(positive_sims, negative_sims, temperature, groups, seed):
    """NegLabel's steps one by one: drop, shuffle, group, softmax per group, mass, mean."""
    size = negative_sims.shape[1] // groups
    order = np.random.default_rng(seed).permutation(groups * size)
    scores = []
    for positive, negative in zip(positive_sims, negative_sims, strict=True):
        masses = []
        for g in range(groups):
            members = [float(negative[j]) for j in order[g * size : (g + 1) * size]]
            probabilities = softmax(np.array([*map(float, positive), *members]) / temperature)
            masses.append(probabilities[: len(positive)].sum())
        scores.append(sum(masses) / groups)
    return np.array(scores)


def test_mcm_worked_example():
    # softmax of (ln 3, 0, 0) is (3/5, 1/5, 1/5)
    sims = np.array([[math.log(3), 0, 0], [0.2, 0.2, 0.2]], np.float32)
    np.testing.assert_allclose(mcm(sims, 1.0), [0.6, 1 / 3], rtol=1e-6)
    # halving the temperature doubles the logits: 9 / (9 + 1 + 1)
    np.testing.assert_allclose(mcm(sims, 0.5), [9 / 11, 1 / 3], rtol=1e-6)
    assert mcm(sims).dtype == np.float32


@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.01])
@pytest.mark.parametrize("p", [1, 2, 333])
def test_mcm_is_the_largest_softmax(temperature, p):
    sims = np.random.default_rng(p).uniform(-0.1, 0.4, (20, p)).astype(np.float32)
    expected = softmax(sims.astype(float) / temperature, axis=1).max(axis=1)
    np.testing.assert_allclose(mcm(sims, temperature), expected, rtol=1e-6)


def test_neglabel_worked_example():
    # Equal cosines: every group holds 2 positives against 3 negatives, a mass of 2/5.
    sims = np.full((2, 20), 0.3, np.float32)
    np.testing.assert_allclose(neglabel(sims[:, :2], sims[:, :9], 0.01, 3, 0), 0.4, rtol=1e-6)
    # One positive; groups of one negative with odds 1 and 3: mean of 1/2 and 1/4.
    negative = np.array([[0, math.log(3)]], np.float32)
    score = neglabel(np.zeros((1, 1), np.float32), negative, 1.0, 2, 0)
    np.testing.assert_allclose(score, [0.375], rtol=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 0.05, 0.01])
@pytest.mark.parametrize(("p", "m", "groups"), [(1, 1, 1), (1, 7, 7), (5, 23, 4), (40, 350, 100)])
def test_neglabel_matches_the_steps_one_by_one(temperature, p, m, groups):
    rng = np.random.default_rng(m)
    positive = rng.uniform(0, 0.4, (9, p)).astype(np.float32)
    negative = rng.uniform(0, 0.4, (9, m)).astype(np.float32)
    negative[:, : m // 2] = positive[:, :1]  # ties
    expected = slow_neglabel(positive, negative, temperature, groups, 3)
    scores = neglabel(positive, negative, temperature, groups, 3)
    np.testing.assert_allclose(scores, expected, rtol=2e-6, atol=1e-6)
    assert scores.dtype == np.float32


def test_neglabel_drops_the_remainder_before_the_shuffle():
    rng = np.random.default_rng(0)
    positive, negative = rng.random((4, 3), np.float32), rng.random((4, 11), np.float32)
    changed = negative.copy()
    changed[:, 8:] = 5  # 11 % 4 = 3 last negatives: never used, whatever the seed
    for seed in range(5):
        np.testing.assert_array_equal(
            neglabel(positive, negative, 0.1, 4, seed), neglabel(positive, changed, 0.1, 4, seed)
        )
    changed = negative.copy()
    changed[:, 7] = 5  # the last one that is used
    assert (neglabel(positive, changed, 0.1, 4) < neglabel(positive, negative, 0.1, 4)).all()


def test_neglabel_seed_changes_the_groups_and_nothing_else():
    rng = np.random.default_rng(0)
    positive, negative = rng.random((4, 3), np.float32), rng.random((4, 20), np.float32)
    a, b = (neglabel(positive, negative, 0.1, 5, seed) for seed in (0, 1))
    assert (a != b).any()
    np.testing.assert_array_equal(a, neglabel(positive, negative, 0.1, 5, 0))
    # Groups of all: no grouping left to differ by.
    one = [neglabel(positive, negative, 0.1, 1, seed) for seed in (0, 1)]
    np.testing.assert_allclose(one[0], one[1], rtol=1e-6)


def test_saturated_scores_stay_finite_and_exact():
    positive = np.array([[1, -1], [-1, -1]], np.float32)
    negative = np.array([[-1, -1, -1, -1], [1, -1, -1, -1]], np.float32)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        scores = neglabel(positive, negative, 1e-4, 2, 0)
        assert np.isfinite(mcm(positive, 1e-4)).all()
    # Second image: one group all equal (2 of 4), the other won by its negative.
    np.testing.assert_allclose(scores, [1, 0.25], atol=1e-7)


@pytest.mark.parametrize(("m", "groups"), [(0, 1), (9, 10)])
def test_neglabel_refuses_too_few_negatives(m, groups):
    sims = np.zeros((2, 9), np.float32)
    with pytest.raises(InputError, match=f"has {m} negatives for {groups} groups"):
        neglabel(sims, sims[:, :m], 0.01, groups, 0)


CONFIG = {
    "mcm": {"method": "mcm", "temperature": 1.0},
    "sharp": {"method": "mcm", "temperature": 0.01},
    "neglabel": {"method": "neglabel", "temperature": 0.01, "groups": 6, "seed": 1},
}


def test_score_blocks_is_the_detectors_on_the_cosines(monkeypatch):
    rng = np.random.default_rng(0)
    images, positives = unit(rng, 50), unit(rng, 7)
    negatives = {"far": unit(rng, 40), "rest": unit(rng, 65)}
    monkeypatch.setattr(similarity, "TILE", 650)  # 10 images a tile
    blocks = [images[:23], images[23:24], images[24:]]
    scores, nearest, cosines = score_blocks(iter(blocks), positives, negatives, CONFIG)
    assert set(scores) == {
        ("mcm", None), ("sharp", None), ("neglabel", "far"), ("neglabel", "rest"),
    }  # fmt: skip
    sims = np.array([[float(np.dot(x, p)) for p in positives] for x in images])
    np.testing.assert_array_equal(nearest, sims.argmax(axis=1))
    np.testing.assert_allclose(cosines, sims.max(axis=1), atol=1e-6)
    for name, temperature in (("mcm", 1), ("sharp", 0.01)):
        expected = softmax(sims / temperature, axis=1).max(axis=1)
        np.testing.assert_allclose(scores[name, None], expected, rtol=3e-5)
    for name, texts in negatives.items():
        expected = slow_neglabel(sims, images.astype(float) @ texts.T.astype(float), 0.01, 6, 1)
        np.testing.assert_allclose(scores["neglabel", name], expected, rtol=1e-4, atol=1e-6)
    assert {values.dtype for values in scores.values()} == {np.dtype(np.float32)}
    assert nearest.dtype == np.int32
    assert cosines.dtype == np.float32


def test_nearest_is_the_first_of_equals():
    positives = np.ones((5, 1), np.float32)
    _, nearest, _ = score_blocks([np.ones((3, 1), np.float32)], positives, {}, {})
    assert nearest.tolist() == [0, 0, 0]


def test_no_images():
    positives = np.ones((5, 1), np.float32)
    scores, nearest, cosines = score_blocks([], positives, {"n": positives}, CONFIG)
    assert len(scores) == 3
    assert all(len(values) == 0 for values in [*scores.values(), nearest, cosines])


def test_memory_does_not_grow_with_the_block(monkeypatch):
    rng = np.random.default_rng(0)
    positives, negatives = unit(rng, 50), {"n": unit(rng, 1000)}
    monkeypatch.setattr(similarity, "TILE", 100_000)
    images = unit(rng, 20_000)
    tracemalloc.start()
    score_blocks([images], positives, negatives, CONFIG)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000  # the whole product would be 80 MB, a tile is 0.4 MB


def test_refuses_bad_configurations():
    x = np.ones((2, 3), np.float32)
    with pytest.raises(InputError, match=r"detectors.a.method: unknown method 'best'.*mcm"):
        score_blocks([x], x, {}, {"a": {"method": "best"}})
    with pytest.raises(InputError, match=r"detectors\.neglabel: neglabel needs negatives"):
        score_blocks([x], x, {}, CONFIG)
    with pytest.raises(InputError, match="no positives"):
        score_blocks([x], x[:0], {"n": x}, CONFIG)
    with pytest.raises(InputError, match="has 0 negatives"):
        score_blocks([x], x, {"n": x[:0]}, CONFIG)


@pytest.mark.parametrize(("positives", "negatives", "name"), [(2, 3, "positives"), (3, 2, "'n'")])
def test_refuses_other_dimensions(positives, negatives, name):
    x = np.ones((9, 3), np.float32)
    with pytest.raises(InputError, match=name):
        score_blocks([x], x[:, :positives], {"n": x[:, :negatives]}, CONFIG)


def test_refuses_values_that_are_not_finite():
    x = np.ones((9, 3), np.float32)
    bad = x.copy()
    bad[1, 1] = np.nan
    for arguments in ([[bad], x, {"n": x}], [[x], bad, {"n": x}], [[x], x, {"n": bad}]):
        with pytest.raises(InputError, match="NaN or infinite"):
            score_blocks(*arguments, CONFIG)


def test_every_method_says_what_it_needs():
    assert {needs for _, needs in detectors.METHODS.values()} <= {None, "negatives"}
