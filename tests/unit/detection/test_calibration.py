import numpy as np
import pytest
from scipy.stats import binom, false_discovery_control

from workflow_scripts.lib.detection.calibration import discoveries, flagged, least_number, p_values
from workflow_scripts.lib.errors import InputError


def test_p_values_worked_by_hand():
    found = p_values([0.1, 0.2, 0.2, 0.4], [0.05, 0.1, 0.2, 0.3, 0.5])
    np.testing.assert_allclose(found, [1 / 5, 2 / 5, 4 / 5, 4 / 5, 1])


def test_p_values_count_one_by_one():
    rng = np.random.default_rng(0)
    calibration, scores = rng.integers(0, 9, 40) / 9, rng.integers(0, 9, 60) / 9  # many ties
    slow = [(1 + sum(c <= s for c in calibration)) / (1 + len(calibration)) for s in scores]
    np.testing.assert_allclose(p_values(calibration, scores), slow)


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.1])
@pytest.mark.parametrize("ties", [False, True])
def test_exchangeable_images_are_flagged_at_most_at_the_rate(rate, ties):
    """Each trial draws its calibration images and one image anew, so trials are independent."""
    rng = np.random.default_rng(1)
    trials, n = 4000, 199
    draws = rng.standard_normal((trials, n + 1))
    draws = np.round(draws) if ties else draws
    hits = sum(flagged(p_values(row[:-1], row[-1:]), rate).item() for row in draws)
    assert hits <= binom.ppf(0.9999, trials, rate)
    if not ties:  # (n + 1) rate is whole, so the rate is exact
        assert hits >= binom.ppf(0.0001, trials, rate)


def test_too_few_calibration_images_flag_nothing():
    assert not flagged(p_values(np.arange(18.0), [-1.0]), 0.05).any()
    assert flagged(p_values(np.arange(19.0), [-1.0]), 0.05).all()
    assert least_number(0.05) == 19


def test_the_least_number_is_the_first_that_flags_something():
    for rate in [*(1 / np.arange(2, 200)), *np.random.default_rng(0).uniform(0.005, 1, 50)]:
        first = next(n for n in range(1, 300) if flagged(p_values(np.arange(n), [-1.0]), rate))
        assert least_number(rate) == first, rate


@pytest.mark.parametrize("foreign", [0, 5, 60])
@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_discoveries_are_those_of_scipy(foreign, rate):
    rng = np.random.default_rng(foreign)
    p = np.concatenate([rng.random(100), rng.random(foreign) / 500])
    np.testing.assert_array_equal(discoveries(p, rate), false_discovery_control(p) <= rate)


def test_discoveries_keep_the_share_of_false_alarms():
    rng = np.random.default_rng(2)
    shares = []
    for _ in range(400):
        calibration = rng.standard_normal(1000)
        scores = np.concatenate([rng.standard_normal(180), rng.standard_normal(20) - 5])
        chosen = discoveries(p_values(calibration, scores), 0.1)
        shares.append(chosen[:180].sum() / max(1, chosen.sum()))
    assert np.mean(shares) <= 0.1 + 3 * np.std(shares) / 20


def test_no_images_and_bad_scores():
    assert discoveries([], 0.1).shape == (0,)
    with pytest.raises(InputError, match="no calibration images"):
        p_values([], [1.0])
    for calibration, scores in (([np.nan], [1.0]), ([1.0], [np.inf])):
        with pytest.raises(InputError, match="NaN or infinite"):
            p_values(calibration, scores)
