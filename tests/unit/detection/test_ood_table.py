"""Rows of the OOD table: means by hand, draws against slow loops, pooled sets against one set."""

import numpy as np
import pandas as pd
import pytest

from workflow_scripts.lib.detection.bootstrap import interval, metric_draws, resample_counts
from workflow_scripts.lib.detection.metrics import ood_metrics
from workflow_scripts.lib.detection.table import (
    ALL,
    MEAN,
    Row,
    measure,
    pooled_threshold,
    row_draws,
    table_rows,
)
from workflow_scripts.lib.errors import InputError

SIZES = {"test": 60, "blur": 45, "snow": 101, "a": 30, "b": 80, "c": 40}
RESAMPLES = 60


def world(decimals, seed=0):
    """Scores of six image sets with many or few ties, and their resamples."""
    rng = np.random.default_rng(seed)
    means = {"test": 1.2, "blur": 0.8, "snow": 0.5}
    scores = {name: rng.normal(means.get(name, 0), 1, n) for name, n in SIZES.items()}
    scores = {name: s.round(decimals).astype(np.float32) for name, s in scores.items()}
    scores[ALL] = np.concatenate([scores["test"], scores["blur"], scores["snow"]])
    return scores, {name: resample_counts(name, n, RESAMPLES) for name, n in SIZES.items()}


def of_row(rows, **keys):
    """Position of the only row with these values."""
    (found,) = (i for i, row in enumerate(rows) if keys.items() <= vars(row).items())
    return found


# ---- rows ----------------------------------------------------------------------------------------


def test_rows_of_a_study_without_shifted_sets():
    rows = table_rows("test", ["a"], ["b", "c"], [])
    assert rows == [
        Row("clean", "test", "a", "near", "all", (("test", "a"),)),
        Row("clean", "test", "b", "far", "all", (("test", "b"),)),
        Row("clean", "test", "c", "far", "all", (("test", "c"),)),
        Row("clean", "test", MEAN, "near", "all", (("test", "a"),)),
        Row("clean", "test", MEAN, "far", "all", (("test", "b"), ("test", "c"))),
        Row("clean", "test", MEAN, "all", "all", (("test", "a"), ("test", "b"), ("test", "c"))),
    ]
    assert table_rows("test", [], [], ["blur"]) == []
    assert [row.ood_group for row in table_rows("test", [], ["b"], [])] == ["far", "far", "all"]


def test_rows_of_shifted_and_pooled_sets():
    rows = table_rows("test", ["a"], ["b"], ["blur", "snow"])
    by_condition = pd.Series([(row.condition, row.id_set) for row in rows]).value_counts()
    assert by_condition.to_dict() == {
        ("clean", "test"): 5,
        ("shifted", "blur"): 5,
        ("shifted", "snow"): 5,
        ("shifted", MEAN): 3,
        ("full_spectrum", ALL): 5,
    }
    mean = rows[of_row(rows, id_set=MEAN, ood_group="near")]
    assert mean.ood_set == MEAN
    assert mean.pairs == (("blur", "a"), ("snow", "a"))
    everything = rows[of_row(rows, id_set=MEAN, ood_group="all")]
    assert set(everything.pairs) == {(i, o) for i in ("blur", "snow") for o in ("a", "b")}


def test_rows_of_unflagged_images_are_clean_ones_and_leave_out_empty_sets():
    full = table_rows("test", ["a"], ["b", "c"], ["blur"])
    rows = table_rows("test", ["a"], ["b", "c"], ["blur"], {"b": "b (unflagged)", "c": "c"})
    assert rows[: len(full)] == full
    assert rows[len(full) :] == [
        Row("clean", "test", "b", "far", "unflagged", (("test", "b (unflagged)"),)),
        Row("clean", "test", "c", "far", "unflagged", (("test", "c"),)),
        Row(
            *("clean", "test", MEAN, "far", "unflagged"),
            (("test", "b (unflagged)"), ("test", "c")),
        ),
        Row(
            *("clean", "test", MEAN, "all", "unflagged"),
            (("test", "b (unflagged)"), ("test", "c")),
        ),
    ]


# ---- metrics -------------------------------------------------------------------------------------


def test_means_by_hand():
    scores = {"test": np.array([1.0, 2, 3, 4]), "a": np.array([0.0]), "b": np.array([2.5, 2.5])}
    rows = table_rows("test", ["a"], ["b"], [])
    found = measure(rows, scores)
    a, b = (found[of_row(rows, ood_set=name)] for name in "ab")
    # a lies below all ID scores; b above two of the four, and above the lowest, the 95 % threshold.
    assert (a["auroc"], a["fpr95"], a["tied"], a["n_ood"]) == (1, 0, 0, 1)
    assert (b["auroc"], b["fpr95"], b["tied"], b["n_ood"]) == (0.5, 1, 2 / 6, 2)
    mean = found[of_row(rows, ood_set=MEAN, ood_group="all")]
    assert (mean["auroc"], mean["fpr95"]) == (0.75, 0.5)
    assert mean["tied"] == pytest.approx(1 / 6)
    assert (mean["n_id"], mean["n_ood"]) == (4, 3)
    assert found[of_row(rows, ood_set=MEAN, ood_group="far")] == b


def test_mean_over_shifted_sets_weighs_pairs_alike():
    scores, _ = world(2)
    rows = table_rows("test", ["a"], ["b", "c"], ["blur", "snow"])
    row = measure(rows, scores)[of_row(rows, id_set=MEAN, ood_group="all")]
    pairs = [ood_metrics(scores[i], scores[o]) for i in ("blur", "snow") for o in "abc"]
    for metric in ("auroc", "fpr95", "fpr95_ood_pos", "aupr_in", "aupr_out", "tied"):
        expected = sum(pair[metric] for pair in pairs) / 6
        assert row[metric] == pytest.approx(expected, abs=1e-12), metric
    assert (row["n_id"], row["n_ood"]) == (45 + 101, 30 + 80 + 40)


def test_refuses_an_empty_set():
    scores = {"test": np.ones(3), "a": np.ones(0)}
    with pytest.raises(InputError, match="no out-of-distribution scores"):
        measure(table_rows("test", ["a"], [], []), scores)


# ---- draws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_draws_and_intervals_of_means_against_a_slow_loop(decimals):
    """Draw the images of every set once per resample, measure all pairs, and average."""
    scores, counts = world(decimals)
    rows = table_rows("test", ["a"], ["b", "c"], ["blur", "snow"])
    draws = row_draws(rows, scores, counts, ["test", "blur", "snow"])
    rngs = {name: np.random.default_rng([0, *name.encode()]) for name in SIZES}
    slow = {"auroc": np.empty((len(rows), RESAMPLES)), "fpr95": np.empty((len(rows), RESAMPLES))}
    for resample in range(RESAMPLES):
        drawn = {
            name: scores[name][rng.integers(0, SIZES[name], SIZES[name], dtype=np.int32)]
            for name, rng in rngs.items()
        }
        drawn[ALL] = np.concatenate([drawn["test"], drawn["blur"], drawn["snow"]])
        for i, row in enumerate(rows):
            pairs = [ood_metrics(drawn[one], drawn[other]) for one, other in row.pairs]
            for metric, values in slow.items():
                values[i, resample] = sum(pair[metric] for pair in pairs) / len(pairs)
    for metric, values in slow.items():
        assert np.allclose(draws[metric], values, atol=1e-12), metric
        assert np.allclose(interval(draws[metric]), interval(values), atol=1e-12)
    assert len(np.unique(draws["fpr95"][of_row(rows, id_set=ALL, ood_set="b")])) > 3


@pytest.mark.parametrize("decimals", [0, 1, 6])
@pytest.mark.parametrize("sizes", [(1, 1), (1, 500), (19, 20), (300, 40)])
def test_pooled_set_is_the_concatenation_of_its_parts(sizes, decimals):
    rng = np.random.default_rng(sum(sizes))
    sets = {"p": (1, sizes[0]), "q": (0.5, sizes[1]), "o": (0, 50)}
    scores = {name: rng.normal(m, 1, n).round(decimals) for name, (m, n) in sets.items()}
    counts = {name: resample_counts(name, len(s), 80) for name, s in scores.items()}
    scores[ALL] = np.concatenate([scores["p"], scores["q"]])
    rows = [Row("full_spectrum", ALL, "o", "far", "all", ((ALL, "o"),))]
    found = row_draws(rows, scores, counts, ["p", "q"])

    pooled = (scores[ALL], np.concatenate([counts["p"], counts["q"]]))
    plain = metric_draws({"pool": pooled, "o": (scores["o"], counts["o"])}, [("pool", "o")])
    for metric, values in found.items():
        assert np.allclose(values[0], plain["pool", "o"][metric], atol=1e-12), metric


def test_pooled_threshold_looks_further_where_the_lowest_images_are_not_drawn():
    """Of 1,000 images only the highest is ever drawn: the threshold is its score."""
    counts = np.zeros((500, 3), np.uint16)
    counts[-1] = 500
    low, high = np.arange(500.0), np.arange(500.0) + 1000
    assert pooled_threshold([(low, counts), (high, counts)]).tolist() == [499.0] * 3
    # Position 50 of the pool: with each image drawn once, the 51st lowest score.
    once = np.ones((500, 2), np.uint8)
    assert pooled_threshold([(low, once), (high, once)]).tolist() == [50.0] * 2
