"""Comparisons of rows: intervals and p-values by hand, references found by their samples."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from workflow_scripts.lib.detection.bootstrap import paired_p_value, t_interval
from workflow_scripts.lib.detection.comparison import (
    COMPARISON,
    against_oracle,
    compare,
    differences_of_seeds,
    p_values,
)
from workflow_scripts.lib.detection.table import ALL, MEAN, table_rows


def of_row(rows, **keys):
    """Position of the only row with these values."""
    (found,) = (i for i, row in enumerate(rows) if keys.items() <= vars(row).items())
    return found


def frame_of(rows):
    """Mean rows of one detector: rows of (mining, clustering, seed, auroc)."""
    frame = pd.DataFrame(rows, columns=["mining", "clustering", "seed", "auroc"])
    same = {"study": "s", "encoder": "e", "negatives": "none", "detector": "mcm"}
    same |= {"condition": "clean", "id_set": "test", "ood_set": MEAN, "ood_group": "all"}
    return frame.assign(**same, images="all", fpr95=1 - frame["auroc"], name_leak=2, reason=None)


def of_auroc(draws):
    """Draws of the AUROC, and of an FPR95 that nothing looks at."""
    return {"auroc": np.asarray(draws), "fpr95": np.zeros(np.shape(draws))}


REFERENCE_AND_MINED = [
    ("truth", "none", 0, 0.90),
    *(("mined", "kmeans", seed, 0.80 + 0.02 * seed) for seed in range(5)),
]


def test_comparison_by_hand():
    draws = [[0.90, 0.91, 0.92], [0.80, 0.81, 0.82], [0.82, 0.83, 0.85]]
    draws += [[0.84, 0.85, 0.89], [0.86, 0.85, 0.93], [0.88, 0.86, 0.96]]
    table = compare(frame_of(REFERENCE_AND_MINED), of_auroc(draws), "truth").set_index("mining")
    mined = table.loc["mined"]
    assert mined["seeds"] == 5
    assert mined["auroc"] == pytest.approx(0.84)
    assert mined["auroc_std"] == mined["fpr95_std"] == pytest.approx(0.001**0.5)
    assert mined["fpr95"] == pytest.approx(0.16)
    # Means over seeds: .84, .84, .89; minus the reference's: -.06, -.07, -.03.
    assert mined["auroc_low"] == pytest.approx(0.84)
    assert mined["auroc_high"] == pytest.approx(0.84 + 0.95 * 0.05)
    assert mined["difference"] == pytest.approx(-0.06)
    assert mined["difference_low"] == pytest.approx(-0.07 + 0.05 * 0.01)
    assert mined["difference_high"] == pytest.approx(-0.03 - 0.05 * 0.03)
    assert mined["p_value"] == pytest.approx(2 / 4)
    # 2.7764 is the .975 quantile of t with 4 degrees of freedom.
    width = 2.7764 * 0.001**0.5 / 5**0.5
    assert mined["seed_low"] == pytest.approx(-0.06 - width, abs=1e-5)
    assert mined["seed_high"] == pytest.approx(-0.06 + width, abs=1e-5)
    truth = table.loc["truth"]
    assert (truth["difference"], truth["difference_low"], truth["p_value"]) == (0, 0, 1)
    assert np.isnan(truth["auroc_std"])
    assert np.isnan(truth["seed_low"])
    assert np.isnan(truth["total_low"])


def test_comparison_covers_both_sources_of_uncertainty_apart():
    """Seeds that agree leave the images' interval, images that agree leave the seeds'."""
    rng = np.random.default_rng(0)
    shared = rng.normal(0, 0.02, 400)
    own = np.array([0.9 + 2 * shared] + [0.8 + shared] * 5)
    agree = frame_of(REFERENCE_AND_MINED).assign(auroc=own.mean(axis=1))
    row = compare(agree, of_auroc(own), "truth").set_index("mining").loc["mined"]
    assert row["seed_high"] - row["seed_low"] == pytest.approx(0, abs=1e-9)
    assert row["difference_high"] - row["difference_low"] == pytest.approx(4 * 0.02, rel=0.15)
    sure = np.repeat([[r[3]] for r in REFERENCE_AND_MINED], 400, axis=1)
    table = compare(frame_of(REFERENCE_AND_MINED), of_auroc(sure), "truth")
    row = table.set_index("mining").loc["mined"]
    assert row["difference_high"] - row["difference_low"] == pytest.approx(0, abs=1e-9)
    assert row["seed_high"] - row["seed_low"] > 0.07


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
    frame = frame.assign(fpr95=0, name_leak=0, reason=None)
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
    alone = frame_of(REFERENCE_AND_MINED).assign(detector=["a", *"bbbbb"])
    assert compare(alone, None, "truth")["difference"].isna().tolist() == [False, True]


def test_p_values_compare_with_the_reference_of_the_same_samples():
    """The reference is the last mining of each encoder, not the first rows of the table."""
    draws = np.random.default_rng(0).normal(
        [[0.5], [0.6], [0.7], [0.5], [0.6], [0.9]], 0.1, (6, 500)
    )
    frame = frame_of([(mining, "none", 0, 0.5) for mining in "abcabc"])
    for key in ("encoder", "id_set", "ood_set", "ood_group", "images", "negatives", "detector"):
        values = p_values(frame.assign(**{key: list("eeefff")}), draws, "c")
        expected = [paired_p_value(draws[i] - draws[2 if i < 3 else 5]) for i in range(6)]
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
    assert np.isnan(p_values(frame, np.zeros((6, 10)), None)).all()


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
    assert np.isnan(t_interval(values[:4])).all(), "four seeds tell no spread"
