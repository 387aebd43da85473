"""Scores of images against positives and negatives, by formula and slow loops."""

import math

import numpy as np
import pytest
from scipy.special import expit, softmax
from score_references import slow_entropy, slow_neglabel, unit
from sklearn.metrics import roc_auc_score

from workflow_scripts.lib.detection import adaptive as detectors_adaptive
from workflow_scripts.lib.detection.adaptive import adaneg
from workflow_scripts.lib.detection.detectors import score_blocks
from workflow_scripts.lib.detection.methods import METHODS
from workflow_scripts.lib.detection.texts import (
    energy,
    entropy,
    max_logit,
    mcm,
    neglabel,
    negrefine,
)
from workflow_scripts.lib.errors import InputError


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


# ---- scores of positives ------------------------------------------------------------------------


def slow_energy(sims, temperature):
    sums = [sum(math.exp((float(s) - 1) / temperature) for s in row) for row in sims]
    return [1 + temperature * math.log(total) for total in sums]


@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.01])
@pytest.mark.parametrize("p", [1, 2, 3, 333])
def test_scores_of_positives_match_their_formulas(temperature, p):
    sims = np.random.default_rng(p).uniform(-0.1, 0.4, (20, p)).astype(np.float32)
    sims[:5] = sims[0, 0]  # all equal
    sims[5:10, : p // 2] = sims[5:10].max(axis=1, keepdims=True)  # several best
    found = energy(sims, temperature)
    np.testing.assert_allclose(found, slow_energy(sims, temperature), rtol=1e-6, atol=1e-6)
    found = entropy(sims, temperature)
    np.testing.assert_allclose(found, slow_entropy(sims, temperature), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(max_logit(sims), [max(row) for row in sims])
    for score in (max_logit, energy, entropy):
        assert score(sims).dtype == np.float32


def test_energy_and_entropy_worked_examples():
    sims = np.array([[math.log(3), 0, 0], [0.2, 0.2, 0.2]], np.float32)
    np.testing.assert_allclose(energy(sims, 1.0), [math.log(5), 0.2 + math.log(3)], rtol=1e-6)
    expected = [0.6 * math.log(0.6) + 0.4 * math.log(0.2), -math.log(3)]
    np.testing.assert_allclose(entropy(sims, 1.0), expected, rtol=1e-6)


def test_saturated_scores_of_positives():
    sims = np.array([[1, -1], [-1, -1]], np.float32)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        np.testing.assert_allclose(energy(sims, 1e-4), [1, -1 + 1e-4 * math.log(2)], rtol=1e-6)
        np.testing.assert_allclose(entropy(sims, 1e-4), [0, -math.log(2)], rtol=1e-6)


# ---- NegRefine ----------------------------------------------------------------------------------


def slow_negrefine(images, positives, negatives, temperature, groups, seed, top, weight):
    images, positives, negatives = (x.astype(float) for x in (images, positives, negatives))
    s_p, s_n = images @ positives.T, images @ negatives.T
    scores = slow_neglabel(s_p, s_n, temperature, groups, seed)
    for i in range(len(images)):
        best = 0
        for p in sorted(range(len(positives)), key=lambda p: (-s_p[i, p], p))[:top]:
            for n in sorted(range(len(negatives)), key=lambda n: (-s_n[i, n], n))[:top]:
                both = positives[p] + negatives[n]
                match = images[i] @ both / np.sqrt(both @ both)
                best = max(best, 1 / (1 + math.exp(-(match - s_n[i, n]) / temperature)))
        scores[i] += weight * best
    return scores


@pytest.mark.parametrize(("p", "m", "groups"), [(1, 1, 1), (1, 7, 2), (3, 5, 1), (30, 400, 30)])
@pytest.mark.parametrize("temperature", [1.0, 0.05])
def test_negrefine_matches_loops(p, m, groups, temperature):
    rng = np.random.default_rng(m)
    images, positives, negatives = unit(rng, 9), unit(rng, p), unit(rng, m)
    negatives[: m // 2] = negatives[0]  # ties
    found = negrefine(positives, negatives, temperature, groups, 3, 5, 2.0)(
        images, images @ positives.T, images @ negatives.T
    )
    expected = slow_negrefine(images, positives, negatives, temperature, groups, 3, 5, 2.0)
    # float32 cosines are off by 1e-7, logits by 1e-7 / temperature.
    np.testing.assert_allclose(found, expected, atol=1e-6 if temperature == 1 else 5e-6)
    assert found.dtype == np.float32


def test_negrefine_worked_example():
    # One of each: s_p = .6, s_n = 0, e_p and e_n orthogonal, so "p and n" is at .6 / sqrt 2.
    positives, negatives = np.eye(3, dtype=np.float32)[:1], np.eye(3, dtype=np.float32)[1:2]
    image = np.array([[0.6, 0, 0.8]], np.float32)
    score = negrefine(positives, negatives, 1.0, 1, 0, top=5, weight=2)
    mass = math.exp(0.6) / (math.exp(0.6) + 1)
    match = 1 / (1 + math.exp(-0.6 / math.sqrt(2)))
    found = score(image, image @ positives.T, image @ negatives.T)
    np.testing.assert_allclose(found, [mass + 2 * match], rtol=1e-6)


# ---- AdaNeg -------------------------------------------------------------------------------------


def slow_adaneg(
    images, positives, negatives, temperature, groups, seed, memory, threshold, gap, weight
):
    """Image by image, every proxy summed anew."""
    sides = [texts.astype(float) for texts in (positives, negatives)]
    slots = [[[] for _ in texts] for texts in sides]  # per label: (entropy, image)
    scores = []
    for image in images.astype(float):
        s = [texts @ image for texts in sides]
        plain = slow_neglabel(s[0][None], s[1][None], temperature, groups, seed)[0]
        side = None
        if plain > threshold + gap * (1 - threshold):
            side = 0
        elif plain < threshold - gap * threshold:
            side = 1
        if side is not None:
            label = int(np.argmax(s[side]))
            kept = slots[side][label]
            own = -slow_entropy(s[side][None], temperature)[0]
            if len(kept) < memory - 1:
                kept.append((own, image))
            elif kept:
                worst = max(range(len(kept)), key=lambda i: kept[i][0])
                if own < kept[worst][0]:
                    kept[worst] = (own, image)
        adapted = []
        for texts, labels in zip(sides, slots, strict=True):
            proxies = [t + sum(x for _, x in kept) for t, kept in zip(texts, labels, strict=True)]
            adapted.append(np.array([p @ image / np.sqrt(p @ p) for p in proxies]))
        adaptive = slow_neglabel(adapted[0][None], adapted[1][None], temperature, groups, seed)[0]
        scores.append(adaptive + weight * plain)
    return np.array(scores), slots


@pytest.mark.parametrize("memory", [1, 2, 4])
@pytest.mark.parametrize("gap", [0.0, 0.5])
def test_adaneg_matches_an_image_by_image_reference(memory, gap, monkeypatch):
    rng = np.random.default_rng(memory)
    positives, negatives = unit(rng, 3), unit(rng, 7)
    images = unit(rng, 90)
    images[40:45] = images[40]
    settings = (0.3, 2, 1, memory, 0.5, gap, 0.1)
    expected, slots = slow_adaneg(images, positives, negatives, *settings)
    if memory > 1:  # both sides are written to, and labels full
        assert all(any(labels) for labels in slots)
        assert max(map(len, slots[0])) == memory - 1
    for cuts in ([], [1, 2, 50], list(range(1, 90))):  # the blocks do not matter
        score = adaneg(positives, negatives, *settings)
        found = [
            score(part, part @ positives.T, part @ negatives.T) for part in np.split(images, cuts)
        ]
        np.testing.assert_allclose(np.concatenate(found), expected, atol=1e-6)
        assert found[0].dtype == np.float32
        monkeypatch.setattr(detectors_adaptive, "STEP", 8)


def test_adaneg_depends_on_the_order_but_not_on_the_past():
    rng = np.random.default_rng(0)
    positives, negatives, images = unit(rng, 3), unit(rng, 7), unit(rng, 60)
    config = {"adaneg": {"method": "adaneg", "temperature": 0.3, "groups": 2}}
    scores = [
        score_blocks([x], positives, {"n": negatives}, config)[0]["adaneg", "n"]
        for x in (images, images, images[::-1])
    ]
    np.testing.assert_array_equal(scores[0], scores[1])  # a new stream starts afresh
    assert not np.allclose(scores[0], scores[2][::-1], atol=1e-3)
    assert METHODS["adaneg"].stateful


def test_a_bias_of_the_logits_changes_no_ranking():
    """SigLIP's logits a s + b against the cosines s alone: b cancels or shifts all scores alike."""
    scale, bias = 117.3, -12.9
    rng = np.random.default_rng(0)
    sims = rng.uniform(-0.1, 0.2, (200, 30)).astype(np.float32)
    negative_sims = rng.uniform(-0.1, 0.2, (200, 40)).astype(np.float32)
    logits, negative_logits = ((scale * s + bias).astype(np.float32) for s in (sims, negative_sims))
    shifted = sims + np.float32(bias / scale)
    is_id = rng.random(200) < 0.5

    assert np.allclose(mcm(shifted, 1 / scale), softmax(logits, axis=1).max(1), atol=1e-4)
    assert np.allclose(mcm(shifted, 1 / scale), mcm(sims, 1 / scale), atol=1e-4)
    assert np.allclose(entropy(shifted, 1 / scale), entropy(sims, 1 / scale), atol=1e-3)
    of_cosines = neglabel(sims, negative_sims, 1 / scale, groups=4)
    of_logits = neglabel(logits, negative_logits, 1, groups=4)
    assert np.allclose(of_cosines, of_logits, atol=1e-4)
    for of_cosines, of_logits in (
        (max_logit(sims), max_logit(logits)),
        (energy(sims, 1 / scale), energy(logits, 1)),
    ):
        assert np.allclose(of_logits, scale * of_cosines + bias, atol=1e-3)
        assert roc_auc_score(is_id, of_cosines) == roc_auc_score(is_id, of_logits)
    probability = expit(scale * sims.astype(np.float64) + bias).max(1)
    assert np.array_equal(np.argsort(probability), np.argsort(max_logit(sims)))
