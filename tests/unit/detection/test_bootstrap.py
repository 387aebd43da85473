from itertools import combinations
from statistics import NormalDist

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from workflow_scripts.lib.detection import bootstrap
from workflow_scripts.lib.detection.bootstrap import (
    Resamples,
    holm,
    interval,
    interval_over_both,
    metric_draws,
    paired_p_value,
    resample_counts,
    t_interval,
)
from workflow_scripts.lib.detection.metrics import ood_metrics
from workflow_scripts.lib.errors import InputError


def draws_of(id_scores, ood_scores, resamples=200, seed=0):
    samples = {
        "id": (id_scores, resample_counts("id", len(id_scores), resamples, seed)),
        "ood": (ood_scores, resample_counts("ood", len(ood_scores), resamples, seed)),
    }
    return metric_draws(samples, [("id", "ood")])["id", "ood"]


# ---- resamples -----------------------------------------------------------------------------------


def test_a_resample_draws_as_many_images_as_the_set_has():
    counts = resample_counts("far", 300, resamples=40, seed=1)
    assert counts.shape == (300, 40)
    assert counts.dtype == np.uint8
    assert (counts.sum(axis=0) == 300).all()
    # Every image is left out of a resample with probability (1 - 1/n)^n = .368.
    assert np.mean(counts == 0) == pytest.approx(0.368, abs=0.02)


def test_resamples_depend_on_seed_and_name_only():
    counts = resample_counts("far", 50, 20, seed=3)
    assert np.array_equal(counts, resample_counts("far", 50, 20, seed=3))
    assert np.array_equal(counts[:, :5], resample_counts("far", 50, 5, seed=3))
    assert not np.array_equal(counts, resample_counts("far", 50, 20, seed=4))
    assert not np.array_equal(counts, resample_counts("raf", 50, 20, seed=3))


def test_parts_of_the_resamples_are_those_of_all():
    parts = Resamples(seed=3)
    found = {"far": [], "near": []}
    for resamples in (7, 12, 1):
        for name, own in found.items():
            own.append(parts(name, 50, resamples))
            assert parts(name, 50, resamples) is own[-1]
        parts.next_part()
    for name, own in found.items():
        assert np.array_equal(np.hstack(own), resample_counts(name, 50, 20, seed=3))


def test_the_only_image_of_a_set_is_always_drawn():
    assert (resample_counts("one", 1, 10) == 1).all()


# ---- draws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("decimals", [None, 1, 0])
@pytest.mark.parametrize("sizes", [(1, 1), (1, 30), (25, 1), (20, 19), (101, 60)])
def test_draws_are_the_metrics_of_the_resampled_images(sizes, decimals):
    rng = np.random.default_rng(sum(sizes))
    scores = [rng.normal(1, 1, sizes[0]), rng.normal(0, 1, sizes[1])]
    if decimals is not None:
        scores = [s.round(decimals) for s in scores]
    draws = draws_of(*scores, resamples=30, seed=7)

    rngs = [np.random.default_rng([7, *name]) for name in (b"id", b"ood")]
    for resample in range(30):
        drawn = [
            s[r.integers(0, len(s), len(s), dtype=np.int32)]
            for r, s in zip(rngs, scores, strict=True)
        ]
        expected = ood_metrics(*drawn)
        for metric, values in draws.items():
            assert values[resample] == pytest.approx(expected[metric], abs=1e-12), metric
        is_id = np.r_[np.ones(sizes[0]), np.zeros(sizes[1])]
        auroc = roc_auc_score(is_id, np.concatenate(drawn))
        assert draws["auroc"][resample] == pytest.approx(auroc, abs=1e-12)


def test_draws_do_not_depend_on_how_many_resamples_are_held_at_a_time(monkeypatch):
    rng = np.random.default_rng(0)
    scores = rng.normal(1, 1, 70).round(1), rng.normal(0, 1, 40).round(1)
    whole = draws_of(*scores, resamples=50)
    monkeypatch.setattr(bootstrap, "TILE", (70 + 40) * 7)
    parts = draws_of(*scores, resamples=50)
    assert all(np.array_equal(whole[metric], parts[metric]) for metric in whole)


def test_pairs_share_the_resamples_and_unions_concatenate():
    rng = np.random.default_rng(2)
    scores = {name: rng.normal(m, 1, 40) for name, m in (("id", 1), ("far", 0), ("near", 0.5))}
    samples = {name: (s, resample_counts(name, 40, 25)) for name, s in scores.items()}
    samples["all"] = tuple(
        np.concatenate([far, near])
        for far, near in zip(samples["far"], samples["near"], strict=True)
    )
    pairs = [("id", "far"), ("id", "near"), ("id", "all")]
    together = metric_draws(samples, pairs)
    for pair in pairs:
        alone = metric_draws(samples, [pair])[pair]
        assert all(np.array_equal(alone[m], together[pair][m]) for m in alone)
    # AUROC against the union of equally large sets is the mean of the AUROCs, per resample.
    mean = (together["id", "far"]["auroc"] + together["id", "near"]["auroc"]) / 2
    assert np.allclose(together["id", "all"]["auroc"], mean, atol=1e-12)


def test_refuses_samples_that_do_not_fit():
    one, two = resample_counts("a", 4, 10), resample_counts("b", 4, 11)
    with pytest.raises(InputError, match="a has 3 scores, but counts of 4 images"):
        metric_draws({"a": (np.arange(3), one), "b": (np.arange(4), one)}, [("a", "b")])
    with pytest.raises(InputError, match=r"\[10, 11\] resamples"):
        metric_draws({"a": (np.arange(4), one), "b": (np.arange(4), two)}, [("a", "b")])


# ---- intervals -----------------------------------------------------------------------------------


def test_interval_is_the_percentiles():
    low, high = interval(np.arange(1001.0))
    assert (low, high) == pytest.approx((25, 975))
    low, high = interval(np.tile(np.arange(1001.0), (3, 1)), level=0.5)
    assert low == pytest.approx(np.full(3, 250))
    assert high == pytest.approx(np.full(3, 750))


def test_intervals_cover_the_true_values_of_normal_scores():
    # ID ~ N(1, 1), OOD ~ N(0, 1): AUROC = Phi(1 / sqrt 2), and the ID score that 95 % of the ID
    # images reach is 1 - 1.645, which 1 - Phi(1 - 1.645) of the OOD images reach too.
    normal = NormalDist()
    fpr95 = 1 - normal.cdf(1 - normal.inv_cdf(0.95))
    truth = {"auroc": normal.cdf(0.5**0.5), "fpr95": fpr95}
    rng, runs = np.random.default_rng(0), 150
    covered = dict.fromkeys(truth, 0)
    for _ in range(runs):
        draws = draws_of(rng.normal(1, 1, 200), rng.normal(0, 1, 150), resamples=250)
        for metric, value in truth.items():
            low, high = interval(draws[metric])
            covered[metric] += low <= value <= high
    # .95 +- 4 standard errors of 150 runs is +-.07; quantile-based FPR95 covers less well.
    assert 0.88 <= covered["auroc"] / runs <= 0.995
    assert 0.85 <= covered["fpr95"] / runs <= 0.995


def test_intervals_narrow_with_the_number_of_images():
    rng = np.random.default_rng(1)
    widths = []
    for n in (100, 1600):
        low, high = interval(draws_of(rng.normal(1, 1, n), rng.normal(0, 1, n))["auroc"])
        widths.append(high - low)
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.3)


# ---- p-values ------------------------------------------------------------------------------------


def test_p_value_by_hand():
    # Differences 1, 1, 1, -1: tails of 1 and 3, 2 (1 + 1) / 5.
    assert paired_p_value(np.array([1.0, 1, 1, -1])) == pytest.approx(0.8)
    both = paired_p_value(np.array([[1.0, 2], [0, 0]]))
    assert both.tolist() == pytest.approx([2 / 3, 1])


def test_p_value_of_equal_and_of_clearly_better_scores():
    rng = np.random.default_rng(3)
    ids, oods = rng.normal(1, 1, 300), rng.normal(0, 1, 200)
    reference = draws_of(ids, oods, 500)["auroc"]
    # Only the order counts, so a growing function of the scores is the same detector.
    assert paired_p_value(draws_of(np.exp(ids), np.exp(oods), 500)["auroc"] - reference) == 1
    better = draws_of(ids + 1, oods, 500)["auroc"]
    assert paired_p_value(better - reference) == pytest.approx(2 / 501)
    assert paired_p_value(reference - better) == pytest.approx(2 / 501)


def test_pairing_finds_a_difference_that_separate_intervals_hide():
    rng = np.random.default_rng(4)
    ids, oods = rng.normal(1, 1, 300), rng.normal(0, 1, 300)
    reference = draws_of(ids, oods, 500)["auroc"]
    better = draws_of(ids + 0.1, oods, 500)["auroc"]
    assert interval(better)[0] < interval(reference)[1], "the intervals overlap"
    assert paired_p_value(better - reference) < 0.01


def test_equal_detectors_are_rarely_called_different():
    # Two noisy copies of one score: p < .05 should happen about one time in twenty.
    rng, runs, rejected = np.random.default_rng(5), 120, 0
    for _ in range(runs):
        ids, oods = rng.normal(1, 1, 120), rng.normal(0, 1, 120)
        first, second = (
            draws_of(ids + rng.normal(0, 1, 120), oods + rng.normal(0, 1, 120))["auroc"]
            for _ in range(2)
        )
        rejected += paired_p_value(first - second) < 0.05
    assert 0.005 <= rejected / runs <= 0.13


def test_p_value_of_unknown_draws_is_unknown():
    p = paired_p_value(np.array([[1.0, 2], [np.nan, 2]]))
    assert p[0] == pytest.approx(2 / 3) and np.isnan(p[1])


def slow_holm(p):
    """The closed test: a hypothesis is rejected where all sets of hypotheses with it are, each by
    Bonferroni."""
    found = []
    for i in range(len(p)):
        others = [j for j in range(len(p)) if j != i]
        sets = [(i, *more) for n in range(len(p)) for more in combinations(others, n)]
        found.append(min(1, max(len(one) * min(p[j] for j in one) for one in sets)))
    return found


def test_holm_is_the_closed_test_and_leaves_unknown_ones_out():
    rng = np.random.default_rng(0)
    for n in (1, 2, 6):
        p = rng.uniform(0, 0.4, n).round(2)
        assert holm(p) == pytest.approx(slow_holm(p))
    assert holm([0.01, np.nan, 0.03, 0.02]) == pytest.approx(
        [0.03, np.nan, 0.04, 0.04], nan_ok=True
    )
    assert np.isnan(holm([np.nan])).all() and len(holm([])) == 0


# ---- coverage over seeds -------------------------------------------------------------------------


class Trained:
    """Detectors that differ by seed, each with an AUROC of its own, measured on the same images.

    A seed's ID scores are N(1 + e, 1), with e ~ N(0, spread) of the seed; the OOD scores N(0, 1).
    """

    def __init__(self, rng, n, seeds, spread):
        self.shift = rng.normal(0, spread, seeds)
        ids, oods = rng.normal(1, 1, n), rng.normal(0, 1, n)
        self.own = [ood_metrics(ids + e, oods)["auroc"] for e in self.shift]
        drawn = [draws_of(ids + e, oods, 200)["auroc"] for e in self.shift]
        self.draws = np.mean(drawn, axis=0)


def true_mean(spread):
    """E Phi((1 + e) / sqrt 2) = Phi(1 / sqrt(2 + spread^2)), e ~ N(0, spread)."""
    return NormalDist().cdf(1 / (2 + spread**2) ** 0.5)


@pytest.mark.parametrize(
    ("n", "spread", "least"),
    [(100, 0.3, (0.4, 0.4)), (60, 0.02, (0.86, 0)), (400, 0.4, (0, 0.86))],
    ids=["both", "images", "seeds"],
)
def test_the_interval_over_both_covers_where_either_source_dominates(n, spread, least):
    """The expected AUROC over seeds and images; the intervals of one source cover it only where the
    other is small."""
    rng, runs = np.random.default_rng(0), 120
    covered = {"both": 0, "images": 0, "seeds": 0}
    for _ in range(runs):
        trained = Trained(rng, n, 5, spread)
        found = {
            "both": interval_over_both(trained.draws, trained.own),
            "images": interval(trained.draws),
            "seeds": t_interval(np.array(trained.own)),
        }
        for name, (low, high) in found.items():
            covered[name] += low <= true_mean(spread) <= high
    shares = {name: number / runs for name, number in covered.items()}
    assert 0.89 <= shares["both"] <= 1
    assert shares["images"] >= least[0] and shares["seeds"] >= least[1]
    if min(least) == 0:
        assert min(shares["images"], shares["seeds"]) < 0.75


def test_the_interval_over_seeds_covers_the_mean_of_other_seeds_on_the_same_images():
    rng, runs, spread = np.random.default_rng(1), 400, 0.02
    covered = 0
    for _ in range(runs):
        low, high = t_interval(rng.normal(0.8, spread, 5))
        covered += low <= 0.8 <= high
    assert 0.92 <= covered / runs <= 0.98


def test_paired_intervals_cover_the_difference_of_two_detectors():
    """ID scores N(1, 1) and N(1.2, 1) that share .8 of their variance; OOD scores N(0, 1) alike."""
    truth = NormalDist().cdf(1.2 / 2**0.5) - NormalDist().cdf(1 / 2**0.5)
    rng, runs, covered, apart = np.random.default_rng(2), 150, 0, 0
    for _ in range(runs):
        ids, oods = (rng.normal(0, 0.8**0.5, 150) for _ in range(2))
        one, two = (
            draws_of(ids + rng.normal(m, 0.2**0.5, 150), oods + rng.normal(0, 0.2**0.5, 150))
            for m in (1.2, 1)
        )
        low, high = interval(one["auroc"] - two["auroc"])
        covered += low <= truth <= high
        apart += paired_p_value(one["auroc"] - two["auroc"]) < 0.05
    assert 0.88 <= covered / runs <= 0.99
    assert apart / runs > 0.3, "pairing finds most of such differences"
