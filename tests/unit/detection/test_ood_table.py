"""Rows of the OOD table: means by hand, draws against slow loops, pooled sets against one set."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from workflow_scripts.lib.detection.bootstrap import (
    interval,
    metric_draws,
    paired_p_value,
    resample_counts,
)
from workflow_scripts.lib.detection.metrics import ood_metrics
from workflow_scripts.lib.detection.table import (
    ALL,
    COMPARISON,
    MEAN,
    Row,
    against_oracle,
    compare,
    differences_of_seeds,
    measure,
    p_values,
    pooled_threshold,
    row_draws,
    t_interval,
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


# ---- comparisons ---------------------------------------------------------------------------------


def frame_of(rows):
    """Mean rows of one detector: rows of (mining, clustering, seed, auroc)."""
    frame = pd.DataFrame(rows, columns=["mining", "clustering", "seed", "auroc"])
    same = {"study": "s", "encoder": "e", "negatives": "none", "detector": "mcm"}
    same |= {"condition": "clean", "id_set": "test", "ood_set": MEAN, "ood_group": "all"}
    return frame.assign(**same, images="all")


REFERENCE_AND_MINED = [
    ("truth", "none", 0, 0.90),
    ("mined", "kmeans", 0, 0.80),
    ("mined", "kmeans", 1, 0.84),
    ("mined", "kmeans", 2, 0.88),
]


def test_comparison_by_hand():
    draws = np.array(
        [[0.90, 0.91, 0.92], [0.80, 0.81, 0.82], [0.84, 0.85, 0.89], [0.88, 0.86, 0.96]]
    )
    table = compare(frame_of(REFERENCE_AND_MINED), draws, "truth").set_index("mining")
    mined = table.loc["mined"]
    assert mined["seeds"] == 3
    assert mined["auroc"] == pytest.approx(0.84)
    assert mined["auroc_std"] == pytest.approx(0.04)
    # Means over seeds: .84, .84, .89; minus the reference's: -.06, -.07, -.03.
    assert mined["auroc_low"] == pytest.approx(0.84)
    assert mined["auroc_high"] == pytest.approx(0.84 + 0.95 * 0.05)
    assert mined["difference"] == pytest.approx(-0.06)
    assert mined["difference_low"] == pytest.approx(-0.07 + 0.05 * 0.01)
    assert mined["difference_high"] == pytest.approx(-0.03 - 0.05 * 0.03)
    assert mined["p_value"] == pytest.approx(2 / 4)
    # 4.3027 is the .975 quantile of t with 2 degrees of freedom.
    width = 4.3027 * 0.04 / 3**0.5
    assert mined["seed_low"] == pytest.approx(-0.06 - width, abs=1e-5)
    assert mined["seed_high"] == pytest.approx(-0.06 + width, abs=1e-5)
    truth = table.loc["truth"]
    assert (truth["difference"], truth["difference_low"], truth["p_value"]) == (0, 0, 1)
    assert np.isnan(truth["auroc_std"])
    assert np.isnan(truth["seed_low"])


def test_comparison_covers_both_sources_of_uncertainty_apart():
    """Seeds that agree leave the images' interval, images that agree leave the seeds'."""
    rng = np.random.default_rng(0)
    shared = rng.normal(0, 0.02, 400)
    own = np.array([0.9 + 2 * shared] + [0.8 + shared] * 3)
    agree = frame_of(REFERENCE_AND_MINED).assign(auroc=own.mean(axis=1))
    row = compare(agree, own, "truth").set_index("mining").loc["mined"]
    assert row["seed_high"] - row["seed_low"] == pytest.approx(0, abs=1e-9)
    assert row["difference_high"] - row["difference_low"] == pytest.approx(4 * 0.02, rel=0.15)
    sure = np.repeat([[r[3]] for r in REFERENCE_AND_MINED], 400, axis=1)
    row = compare(frame_of(REFERENCE_AND_MINED), sure, "truth").set_index("mining").loc["mined"]
    assert row["difference_high"] - row["difference_low"] == pytest.approx(0, abs=1e-9)
    assert row["seed_high"] - row["seed_low"] > 0.1


def test_seeds_are_paired_where_both_sides_have_several():
    def rows(**values):
        return pd.DataFrame({"auroc": values["auroc"], "seed": values["seed"]})

    three, single = rows(auroc=[0.1, 0.5, 0.9], seed=[0, 1, 2]), rows(auroc=[0.4], seed=[0])
    assert differences_of_seeds(three, single) == pytest.approx([-0.3, 0.1, 0.5])
    assert differences_of_seeds(single, three) == pytest.approx([0.3, -0.1, -0.5])
    other = rows(auroc=[0.8, 0.4, 0.0, 0.2], seed=[2, 1, 0, 0])  # seed 0 in two clusterings
    assert differences_of_seeds(three, other) == pytest.approx([0, 0.1, 0.1])
    assert len(differences_of_seeds(three, rows(auroc=[0.1, 0.2], seed=[2, 7]))) == 1


def test_reference_is_averaged_over_clusterings_and_seeds():
    rows = [("ref", c, s, a) for c, s, a in (("k", 0, 0.6), ("k", 1, 0.7), ("t", 0, 0.8))]
    frame = frame_of([*rows, ("other", "none", 0, 0.9)])
    table = compare(frame, None, "ref").set_index(["mining", "clustering"])
    assert table.loc[("other", "none"), "difference"] == pytest.approx(0.2)
    assert table.loc[("ref", "k"), "difference"] == pytest.approx(-0.05)


def test_comparison_takes_mean_rows_of_all_images_only():
    rows = table_rows("test", ["a"], ["b"], ["blur", "snow"], {"a": "a", "b": "b"})
    frame = pd.DataFrame(rows).assign(mining="m", clustering="none", seed=0, study="s")
    frame = frame.assign(encoder="e", negatives="none", detector="d", auroc=np.arange(len(rows)))
    table = compare(frame, None, "m")
    assert list(table.columns) == COMPARISON
    cells = [(c, g) for c in ("clean", "shifted", "full_spectrum") for g in ("near", "far", "all")]
    assert list(zip(table["condition"], table["ood_group"], strict=True)) == cells
    assert table["auroc"].tolist() == [
        of_row(rows, condition=c, ood_group=g, images="all", ood_set=MEAN, id_set=i)
        for (c, g), i in zip(cells, np.repeat(["test", MEAN, ALL], 3), strict=True)
    ]


def test_comparison_without_reference_bootstrap_or_rows():
    table = compare(frame_of(REFERENCE_AND_MINED), None, None)
    assert table["auroc"].tolist() == pytest.approx([0.9, 0.84])
    assert table[["difference", "p_value", "auroc_low", "reference"]].isna().all(axis=None)
    table = compare(frame_of(REFERENCE_AND_MINED), None, "truth")
    assert table["difference"].tolist() == pytest.approx([0, -0.06])
    assert table[["difference_low", "p_value"]].isna().all(axis=None)
    assert compare(frame_of([]), None, "truth").empty
    alone = frame_of(REFERENCE_AND_MINED).assign(detector=["a", "b", "b", "b"])
    assert compare(alone, None, "truth")["difference"].isna().tolist() == [False, True]


def test_p_values_compare_with_the_reference_of_the_same_samples():
    """The reference is the last mining of each encoder, not the first rows of the table."""
    draws = np.random.default_rng(0).normal(
        [[0.5], [0.6], [0.7], [0.5], [0.6], [0.9]], 0.1, (6, 500)
    )
    frame = frame_of([(mining, "none", 0, 0.5) for mining in "abcabc"])
    for key in ("encoder", "id_set", "ood_set", "ood_group", "images", "negatives", "detector"):
        values = p_values(frame.assign(**{key: list("eeefff")}), draws, "c")
        expected = [paired_p_value(draws[i], draws[2 if i < 3 else 5]) for i in range(6)]
        assert values.tolist() == pytest.approx(expected), key
        assert values[2] == values[5] == 1


def test_p_value_of_equal_draws_is_one_whatever_the_rounding():
    draws = np.full((8, 200), 0.1)
    frame = frame_of([("ref", "k", seed, 0.1) for seed in range(7)] + [("same", "k", 0, 0.1)])
    assert (draws[0] != draws[:7].mean(axis=0)).all(), "the mean of equal numbers rounds"
    assert p_values(frame, draws, "ref").tolist() == [1] * 8


def test_p_values_without_bootstrap_or_reference_are_unknown():
    frame = frame_of(REFERENCE_AND_MINED)
    assert np.isnan(p_values(frame, None, "truth")).all()
    assert np.isnan(p_values(frame, np.zeros((4, 10)), None)).all()


def test_oracle_is_found_by_its_samples():
    frame = frame_of([(mining, "none", 0, 0) for mining in "abab"])
    frame = frame.assign(
        auroc=[0.9, 0.7, 0.6, 0.5], images=["all", "all", "unflagged", "unflagged"]
    )
    frame["oracle"] = frame["mining"] == "a"
    assert against_oracle(frame).tolist() == pytest.approx([0, -0.2, 0, -0.1])


def test_t_interval_is_scipys():
    values = np.random.default_rng(2).normal(0.1, 1, 6)
    expected = stats.t.interval(0.95, 5, values.mean(), stats.sem(values))
    assert t_interval(values) == pytest.approx(expected)
    assert np.isnan(t_interval(values[:1])).all()
