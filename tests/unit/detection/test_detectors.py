import math
import tracemalloc

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.metrics import roc_auc_score

from workflow_scripts.lib.concepts import similarity
from workflow_scripts.lib.detection import adaptive as detectors_adaptive
from workflow_scripts.lib.detection import detectors
from workflow_scripts.lib.detection import images as detectors_images
from workflow_scripts.lib.detection import texts as detectors_texts
from workflow_scripts.lib.detection.adaptive import adaneg
from workflow_scripts.lib.detection.detectors import METHODS, score_blocks, with_temperatures
from workflow_scripts.lib.detection.images import knn, mahalanobis
from workflow_scripts.lib.detection.needs import NEEDS
from workflow_scripts.lib.detection.texts import (
    energy,
    entropy,
    max_logit,
    mcm,
    neglabel,
    negrefine,
)
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


# ---- scores of positives ------------------------------------------------------------------------


def slow_energy(sims, temperature):
    sums = [sum(math.exp((float(s) - 1) / temperature) for s in row) for row in sims]
    return [1 + temperature * math.log(total) for total in sums]


def slow_entropy(sims, temperature):
    scores = []
    for row in sims:
        weights = [math.exp((float(s) - float(max(row))) / temperature) for s in row]
        q = [w / sum(weights) for w in weights]
        scores.append(sum(x * math.log(x) for x in q if x > 0))
    return scores


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


@pytest.mark.parametrize(("n", "k"), [(1, 1), (5, 5), (63, 5), (64, 1), (700, 5), (700, 40)])
def test_top_is_a_stable_sort(n, k):
    rng = np.random.default_rng(n)
    sims = rng.integers(-4, 5, (30, n)).astype(np.float32)  # many ties
    for stored in (sims, np.asfortranarray(sims)):
        ids, cosines = detectors_texts._top(stored, k)
        expected = np.argsort(-sims, axis=1, kind="stable")[:, :k]
        np.testing.assert_array_equal(ids, expected)
        np.testing.assert_array_equal(cosines, np.take_along_axis(sims, expected, axis=1))


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


# ---- scores of training images ------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 7, 40])
def test_knn_is_the_kth_best_of_sorted_cosines(k, monkeypatch):
    rng = np.random.default_rng(k)
    train, images = unit(rng, 40), unit(rng, 15)
    train[3:9] = train[3]  # ties
    expected = [sorted((float(x @ t) for t in train), reverse=True)[k - 1] for x in images]
    shards = [train[:1].astype(np.float64), train[1:30], train[30:30], train[30:]]
    np.testing.assert_allclose(knn([train], k)(images), expected, atol=1e-6)
    monkeypatch.setattr(detectors_images, "ROWS", 6)
    found = knn(shards, k)(images, None, None)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.dtype == np.float32


def slow_mahalanobis(images, train, clusters, shrinkage):
    train, images = train.astype(float), images.astype(float)
    means = {c: train[clusters == c].mean(axis=0) for c in set(clusters.tolist())}
    covariance = np.zeros((train.shape[1], train.shape[1]))
    for z, c in zip(train, clusters.tolist(), strict=True):
        covariance += np.outer(z - means[c], z - means[c]) / len(train)
    size = len(covariance)
    identity = np.trace(covariance) / size * np.eye(size)
    inverse = np.linalg.inv((1 - shrinkage) * covariance + shrinkage * identity)
    return [max(-(z - m) @ inverse @ (z - m) for m in means.values()) for z in images]


@pytest.mark.parametrize("shrinkage", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("k", [1, 6])
def test_mahalanobis_matches_the_formula(shrinkage, k, monkeypatch):
    rng = np.random.default_rng(k)
    train, images = unit(rng, 90, 8), unit(rng, 20, 8)
    clusters = (rng.integers(0, k, 90) * 3).astype(np.int32)  # clusters without images between
    expected = slow_mahalanobis(images, train, clusters, shrinkage)
    found = mahalanobis([train], clusters, shrinkage)(images)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    monkeypatch.setattr(detectors_images, "ROWS", 7)
    monkeypatch.setattr(similarity, "TILE", 60)
    score = mahalanobis([train[:50], train[50:]], clusters, shrinkage)
    np.testing.assert_allclose(score(images, None, None), expected, rtol=1e-6)
    assert found.dtype == np.float32


def test_mahalanobis_worked_example():
    # Two clusters around (1, 0) and (0, 1), each +- .1 in x and +- .2 in y: S = diag(.01, .04).
    offsets = np.array([[0.1, 0.2], [0.1, -0.2], [-0.1, 0.2], [-0.1, -0.2]])
    train = (np.eye(2)[:, None] + offsets).reshape(8, 2).astype(np.float32)
    score = mahalanobis([train], np.repeat([0, 1], 4), shrinkage=0)
    images = np.array([[1, 0], [1, 0.4], [0.2, 1]], np.float32)
    np.testing.assert_allclose(score(images), [0, -4, -4], atol=1e-5)
    score = mahalanobis([train], np.repeat([0, 1], 4), shrinkage=0.5)  # S = diag(.0175, .0325)
    np.testing.assert_allclose(score(images), [0, -0.16 / 0.0325, -0.04 / 0.0175], atol=1e-5)


def test_training_images_must_fit():
    x = np.ones((5, 3), np.float32)
    with pytest.raises(InputError, match="k = 6, but there are 5 training images"):
        knn([x[:2], x[2:]], k=6)
    with pytest.raises(InputError, match="4 clusters for 5 training images"):
        mahalanobis([x], np.zeros(4, int))
    with pytest.raises(InputError, match="raise shrinkage above 0"):
        mahalanobis([x], np.zeros(5, int), shrinkage=0)
    with pytest.raises(InputError, match="3 dimensions, the training images 2"):
        score_blocks([x], None, {}, {"knn": {"method": "knn", "k": 1}}, train=[x[:, :2]])


# ---- other code ---------------------------------------------------------------------------------


def test_agrees_with_pytorch_ood():
    other = pytest.importorskip("pytorch_ood.detector")
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    sims = rng.uniform(-0.1, 0.4, (50, 30)).astype(np.float32)
    logits = torch.from_numpy(100 * sims.astype(float))
    np.testing.assert_allclose(100 * max_logit(sims), -other.MaxLogit.score(logits), rtol=1e-6)
    np.testing.assert_allclose(100 * energy(sims), -other.EnergyBased.score(logits), rtol=1e-6)
    # They clamp probabilities at 1e-7, which adds up to 1e-7 log 1e7 for each.
    np.testing.assert_allclose(entropy(sims), -other.Entropy.score(logits), atol=6e-5)
    train, images, clusters = unit(rng, 300, 8), unit(rng, 50, 8), rng.integers(0, 4, 300)
    theirs = other.Mahalanobis(None)
    theirs.fit_features(torch.from_numpy(train), torch.from_numpy(clusters))
    halves = theirs.predict_features(torch.from_numpy(images)).numpy()
    # Theirs is half the distance, by a covariance that is not divided by N (and has a ridge).
    found = mahalanobis([train], clusters, shrinkage=0)(images)
    np.testing.assert_allclose(found, -2 * len(train) * halves, rtol=1e-3)


# ---- the stream ---------------------------------------------------------------------------------

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


def test_memory_does_not_grow_with_the_images(monkeypatch):
    rng = np.random.default_rng(0)
    positives, negatives = unit(rng, 50), {"n": unit(rng, 1000)}
    train, images = [unit(rng, 1000)], unit(rng, 5000)
    config = {name: {"method": name} for name in METHODS}
    monkeypatch.setattr(similarity, "TILE", 100_000)
    tracemalloc.start()
    score_blocks([images], positives, negatives, config, train, np.arange(1000) % 10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000  # the product would be 20 MB, a tile is 0.4 MB


def test_one_product_per_tile_and_list_of_texts(monkeypatch):
    rng = np.random.default_rng(0)
    products = []

    def counted(images, texts):
        products.append(len(texts))
        return (texts @ images.T).T

    monkeypatch.setattr(detectors, "_cosines", counted)
    monkeypatch.setattr(similarity, "TILE", 650)  # 10 images a tile
    negatives = {"far": unit(rng, 40), "rest": unit(rng, 65)}
    config = {name: {"method": name} for name in METHODS if "train" not in NEEDS[name]}
    for block in config.values():
        if block["method"] in ("neglabel", "negrefine"):
            block["groups"] = 5
    score_blocks([unit(rng, 30)], unit(rng, 7), negatives, config)
    assert products == [7, 40, 65] * 3


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


def test_the_temperature_of_the_encoder():
    blocks = {
        "mcm": {"method": "mcm", "temperature": "encoder"},
        "energy": {"method": "energy", "temperature": 0.5},
        "max_logit": {"method": "max_logit"},
    }
    known = with_temperatures(blocks, {"model": "siglip", "logit_scale": 8.0})
    assert known == blocks | {"mcm": {"method": "mcm", "temperature": 0.125}}
    for encoder in ({}, {"model": "mine", "pretrained": "precomputed"}, {"logit_scale": None}):
        with pytest.raises(InputError, match=r"detectors.mcm.temperature: .* does not tell"):
            with_temperatures(blocks, encoder)
    others = {name: blocks[name] for name in ("energy", "max_logit")}
    assert with_temperatures(others, {}) == others


def test_every_method_in_one_stream(monkeypatch):
    """Each score equals the same detector's on the whole, whatever the tiles, its inputs apart."""
    rng = np.random.default_rng(5)
    images, positives, negatives = unit(rng, 50), unit(rng, 7), unit(rng, 40)
    train, clusters = unit(rng, 60), rng.integers(0, 3, 60)
    sources = {"positives": positives, "train": [train], "clusters": clusters}
    config = {name: {"method": name} for name in METHODS}
    config["knn"]["k"] = 4
    for name in ("neglabel", "negrefine"):
        config[name]["groups"] = 6
    monkeypatch.setattr(similarity, "TILE", 400)  # 10 images a tile
    scores, _, _ = score_blocks(
        [images[:23], images[23:]], positives, {"n": negatives}, config, [train], clusters
    )
    monkeypatch.undo()
    positive_sims, negative_sims = images @ positives.T, images @ negatives.T
    for name, method in METHODS.items():
        parameters = {key: value for key, value in config[name].items() if key != "method"}
        if method.fitted:
            given = [{**sources, "negatives": negatives}[need] for need in NEEDS[name]]
            expected = method.function(*given, **parameters)(images, positive_sims, negative_sims)
        else:
            sims = {"positives": positive_sims, "negatives": negative_sims}
            expected = method.function(*(sims[need] for need in NEEDS[name]), **parameters)
        against = "n" if "negatives" in NEEDS[name] else None
        np.testing.assert_allclose(scores[name, against], expected, rtol=1e-4, atol=1e-5)
    assert len(scores) == len(METHODS)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_names_what_is_missing(method):
    x = np.ones((20, 3), np.float32)
    sources = {"positives": x, "negatives": {"n": x}, "train": [x], "clusters": np.arange(20) % 2}
    assert set(NEEDS[method]) <= set(sources)
    config = {"mine": {"method": method}}
    for need in NEEDS[method]:
        given = sources | {need: {} if need == "negatives" else None}
        with pytest.raises(InputError, match=rf"detectors\.mine: {method} needs {need}"):
            score_blocks(
                [x], given["positives"], given["negatives"], config, given["train"],
                given["clusters"],
            )  # fmt: skip


def test_scores_without_positives():
    rng = np.random.default_rng(0)
    train, images = unit(rng, 30), unit(rng, 9)
    config = {"knn": {"method": "knn", "k": 3}}
    scores, nearest, cosines = score_blocks([images], None, {}, config, train=[train])
    np.testing.assert_array_equal(scores["knn", None], knn([train], 3)(images))
    assert nearest is cosines is None
