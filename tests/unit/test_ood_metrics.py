import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.ood_metrics import ood_metrics


def sklearn_metrics(id_scores, ood_scores):
    scores = np.concatenate([id_scores, ood_scores])
    is_id = np.r_[np.ones(len(id_scores)), np.zeros(len(ood_scores))]

    def fpr95(labels, scores):
        fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
        return fpr[np.flatnonzero(tpr >= 0.95)[0]]

    return {
        "auroc": roc_auc_score(is_id, scores),
        "fpr95": fpr95(is_id, scores),
        "fpr95_ood_pos": fpr95(1 - is_id, -scores),
    }


def assert_matches_sklearn(id_scores, ood_scores):
    ours = ood_metrics(id_scores, ood_scores)
    for name, value in sklearn_metrics(id_scores, ood_scores).items():
        assert ours[name] == pytest.approx(value, abs=1e-12), name


def by_definition(id_scores, ood_scores):
    """AUROC over all pairs and FPR over all thresholds, straight from the words."""
    pairs = [(a > b) + 0.5 * (a == b) for a in id_scores for b in ood_scores]

    def fpr95(positives, negatives):
        for t in sorted({*positives, *negatives}, reverse=True):
            # 100 * count >= 95 * n is tpr >= .95 in whole numbers
            if 100 * sum(p >= t for p in positives) >= 95 * len(positives):
                return sum(n >= t for n in negatives) / len(negatives)
        raise AssertionError

    every = [*id_scores, *ood_scores]
    return {
        "auroc": sum(pairs) / len(pairs),
        "fpr95": fpr95(id_scores, ood_scores),
        "fpr95_ood_pos": fpr95([-s for s in ood_scores], [-s for s in id_scores]),
        "tied": sum(every.count(s) > 1 for s in every) / len(every),
        "n_id": len(id_scores),
        "n_ood": len(ood_scores),
    }


def test_a_worked_example():
    # 4 beats 3 and 1, 2 beats 1 only: 3 of 4 pairs. To accept both ID scores the threshold is 2,
    # which 3 passes; to flag both OOD scores it is 3, which flags 2.
    assert ood_metrics([4, 2], [3, 1]) == {
        "auroc": 0.75,
        "fpr95": 0.5,
        "fpr95_ood_pos": 0.5,
        "tied": 0.0,
        "n_id": 2,
        "n_ood": 2,
    }


@pytest.mark.parametrize("decimals", [None, 1, 0])
@pytest.mark.parametrize("sizes", [(1, 1), (1, 30), (30, 1), (20, 19), (101, 40), (500, 300)])
def test_matches_sklearn(sizes, decimals):
    for seed in range(10):
        rng = np.random.default_rng(seed)
        id_scores, ood_scores = rng.normal(1, 1, sizes[0]), rng.normal(0, 1, sizes[1])
        if decimals is not None:
            id_scores, ood_scores = id_scores.round(decimals), ood_scores.round(decimals)
        assert_matches_sklearn(id_scores, ood_scores)


@pytest.mark.parametrize("sizes", [(1, 1), (19, 20), (20, 21), (40, 60)])
def test_matches_the_definitions(sizes):
    rng = np.random.default_rng(3)
    id_scores, ood_scores = rng.integers(1, 9, sizes[0]), rng.integers(0, 8, sizes[1])
    assert ood_metrics(id_scores, ood_scores) == pytest.approx(
        by_definition(id_scores.tolist(), ood_scores.tolist()), abs=1e-12
    )


def test_the_threshold_of_every_set_size_is_exact():
    # n distinct ID scores, one OOD score just above the k-th largest and one just below it.
    for n in range(1, 1001):
        k = next(k for k in range(1, n + 1) if 100 * k >= 95 * n)
        ids = -np.arange(1, n + 1)
        assert ood_metrics(ids, [-k + 0.5, -k - 0.5])["fpr95"] == 0.5, n


def test_float32_scores_are_compared_exactly():
    rng = np.random.default_rng(5)
    id_scores = (1e-3 + 1e-9 * rng.normal(1, 1, 300)).astype(np.float32)
    ood_scores = (1e-3 + 1e-9 * rng.normal(0, 1, 200)).astype(np.float32)
    assert_matches_sklearn(id_scores, ood_scores)


def test_convention_all_scores_equal():
    # np.interp would say .95 and KNN-OOD's strict ">" 0; a threshold can only accept all or none.
    metrics = ood_metrics(np.ones(100), np.ones(100))
    assert metrics["auroc"] == 0.5
    assert metrics["fpr95"] == metrics["fpr95_ood_pos"] == 1
    assert metrics["tied"] == 1


def test_convention_perfect_and_inverted():
    good = ood_metrics([2.0, 3.0], [0.0, 1.0])
    assert (good["auroc"], good["fpr95"], good["fpr95_ood_pos"]) == (1, 0, 0)
    bad = ood_metrics([0.0, 1.0], [2.0, 3.0])
    assert (bad["auroc"], bad["fpr95"], bad["fpr95_ood_pos"]) == (0, 1, 1)


def test_convention_id_tied_at_the_top_hurts_only_ood_positive():
    # 60 ID and 6 of 100 OOD images saturate at 1: to flag 95 OOD images is to flag everything.
    ood_scores = np.r_[np.ones(6), np.linspace(0, 0.1, 94)]
    metrics = ood_metrics(np.r_[np.ones(60), np.linspace(0.2, 0.9, 40)], ood_scores)
    assert metrics["fpr95"] == 0.06
    assert metrics["fpr95_ood_pos"] == 1
    assert metrics["tied"] == 66 / 200


def test_convention_id_tied_at_the_bottom_hurts_only_id_positive():
    id_scores = np.r_[np.zeros(10), np.linspace(0.6, 1, 90)]
    metrics = ood_metrics(id_scores, np.linspace(0.1, 0.5, 100))
    assert metrics["fpr95"] == 1
    assert metrics["fpr95_ood_pos"] == 0.1


def test_convention_first_recall_at_or_above_not_nearest():
    # 50 ID images: recall .94 at the 47th, .96 at the 48th. Nearest recall could stop at .94.
    id_scores = -np.arange(50.0)
    between = [-46.5]  # accepted at the 48th (score -47), not at the 47th (score -46)
    assert ood_metrics(id_scores, between)["fpr95"] == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_refuses_values_that_are_not_finite(bad):
    with pytest.raises(InputError, match=r"1 of 2 in-distribution scores .* row 1"):
        ood_metrics([0.5, bad], [0.1])
    with pytest.raises(InputError, match=r"1 of 2 out-of-distribution scores .* row 0"):
        ood_metrics([0.5], [bad, 0.1])


def test_refuses_empty_sets():
    with pytest.raises(InputError, match="no in-distribution scores"):
        ood_metrics([], [0.1])
    with pytest.raises(InputError, match="no out-of-distribution scores"):
        ood_metrics([0.1], [])
