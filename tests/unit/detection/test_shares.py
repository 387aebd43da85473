"""Intervals of shares: SciPy's for independent images, by slow sums and coverage for groups."""

from statistics import NormalDist

import numpy as np
import pytest
from scipy.stats import binomtest, t

from workflow_scripts.lib.detection.resampling import sample_counts
from workflow_scripts.lib.detection.shares import effective_size, share_interval, wilson_interval

HITS = np.array([1, 1, 0, 0, 0, 0, 1, 0, 0, 0], bool)
GROUPS = ["v", "v", "v", "w", "w", "x", "x", "x", "y", "z"]


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (5, 5), (31, 600), (1, 3)])
def test_of_independent_images_the_interval_is_that_of_scipy(hits, n):
    expected = binomtest(hits, n).proportion_ci(0.95, "wilson")
    np.testing.assert_allclose(wilson_interval(hits, n), [*expected], atol=1e-12)
    np.testing.assert_allclose(share_interval(np.arange(n) < hits), [*expected], atol=1e-12)


def test_of_no_images_or_one_group_nothing_is_known():
    none = np.zeros(0, bool)
    assert wilson_interval(0, 0) == share_interval(none) == share_interval(none, []) == (0, 1)
    assert share_interval(HITS, ["v"] * 10) == (0, 1)


def grouped(share, alike, sizes, rng):
    """Hits of images with this share and, within a group, this correlation; and their groups."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    rates = rng.beta(share * (1 / alike - 1), (1 - share) * (1 / alike - 1), len(sizes))
    return rng.random(len(groups)) < rates[groups], groups


def narrowed(groups):
    """The factor (z / t)^2 of an effective size."""
    return (NormalDist().inv_cdf(0.975) / t.ppf(0.975, len(set(groups)) - 1)) ** 2


def test_the_effective_size_by_slow_sums():
    p, total = HITS.mean(), 0
    for group in "vwxyz":
        members = [hit for hit, own in zip(HITS, GROUPS, strict=True) if own == group]
        total += (sum(members) - p * len(members)) ** 2
    variance = 5 / 4 * total / len(HITS) ** 2
    expected = p * (1 - p) / variance * narrowed(GROUPS)
    assert effective_size(HITS, GROUPS) == pytest.approx(expected)
    low, high = share_interval(HITS, GROUPS)
    z = NormalDist().inv_cdf(0.975)
    for limit in (low, high):  # Wilson's limits solve (p - q)^2 = z^2 q (1 - q) / n
        assert (p - limit) ** 2 == pytest.approx(z**2 * limit * (1 - limit) / expected)


def test_the_variance_is_that_of_the_cluster_bootstrap():
    hits, groups = grouped(0.2, 0.4, np.tile([2, 5, 11], 100), np.random.default_rng(0))
    counts = sample_counts({"s": groups.tolist()}, 2000)["s"].astype(float)
    drawn = (hits @ counts) / counts.sum(axis=0)
    p, size = hits.mean(), effective_size(hits, groups) / narrowed(groups)
    assert np.sqrt(p * (1 - p) / size) == pytest.approx(drawn.std(), rel=0.05)


def test_groups_of_one_image_and_without_likeness_count_nearly_as_images():
    rng = np.random.default_rng(1)
    hits = rng.random(500) < 0.1
    assert effective_size(hits, range(500)) == pytest.approx(500, rel=0.01)
    assert effective_size(hits, np.repeat(np.arange(5), 100)) <= 500


@pytest.mark.parametrize("share", [0, 1])
def test_where_all_or_none_have_a_hit_a_group_counts_as_one_image(share):
    hits, groups = np.full(12, bool(share)), list("aaaabbbbcccc")
    assert effective_size(hits, groups) == pytest.approx(3 * narrowed(groups))
    unequal = list("aaaaaaaaaabc")
    assert effective_size(hits, unequal) == pytest.approx(144 / 102 * narrowed(groups))


@pytest.mark.parametrize(("share", "alike", "number"), [(0.05, 0.3, 200), (0.5, 0.8, 20)])
def test_the_true_share_is_covered_where_wilsons_interval_is_too_narrow(share, alike, number):
    rng, runs, covered = np.random.default_rng(3), 400, [0, 0]
    sizes = rng.integers(1, 15, number)
    for _ in range(runs):
        hits, groups = grouped(share, alike, sizes, rng)
        for i, own in enumerate((groups, None)):
            low, high = share_interval(hits, own)
            covered[i] += low <= share <= high
    assert 0.92 <= covered[0] / runs <= 0.98
    assert covered[1] / runs < 0.8
