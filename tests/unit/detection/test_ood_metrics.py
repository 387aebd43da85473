import numpy as np
import pytest
from sklearn.metrics import (
    auc,
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from workflow_scripts.lib.detection.metrics import fpr95_place, ood_metrics
from workflow_scripts.lib.errors import InputError


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
        "aupr_in": average_precision_score(is_id, scores),
        "aupr_out": average_precision_score(1 - is_id, -scores),
    }


def assert_matches_sklearn(id_scores, ood_scores):
    ours = ood_metrics(id_scores, ood_scores)
    for name, value in sklearn_metrics(id_scores, ood_scores).items():
        assert ours[name] == pytest.approx(value, abs=1e-12), name


def by_definition(id_scores, ood_scores):
    """AUROC over all pairs, FPR and AUPR over all thresholds, straight from the words."""
    pairs = [(a > b) + 0.5 * (a == b) for a in id_scores for b in ood_scores]

    def fpr95(positives, negatives):
        for t in sorted({*positives, *negatives}, reverse=True):
            # 100 * count >= 95 * n is tpr >= .95 in whole numbers
            if 100 * sum(p >= t for p in positives) >= 95 * len(positives):
                return sum(n >= t for n in negatives) / len(negatives)
        raise AssertionError

    def aupr(positives, negatives):
        total = recall = 0
        for t in sorted({*positives, *negatives}, reverse=True):
            right, wrong = sum(p >= t for p in positives), sum(n >= t for n in negatives)
            total += (right / len(positives) - recall) * right / (right + wrong)
            recall = right / len(positives)
        return total

    every = [*id_scores, *ood_scores]
    return {
        "auroc": sum(pairs) / len(pairs),
        "fpr95": fpr95(id_scores, ood_scores),
        "fpr95_ood_pos": fpr95([-s for s in ood_scores], [-s for s in id_scores]),
        "aupr_in": aupr(id_scores, ood_scores),
        "aupr_out": aupr([-s for s in ood_scores], [-s for s in id_scores]),
        "tied": sum(every.count(s) > 1 for s in every) / len(every),
        "n_id": len(id_scores),
        "n_ood": len(ood_scores),
    }


def test_a_worked_example():
    # 4 beats 3 and 1, 2 beats 1 only: 3 of 4 pairs. To accept both ID scores the threshold is 2,
    # which 3 passes; to flag both OOD scores it is 3, which flags 2. Precision on the way down is 1
    # at 4 and 2/3 at 2, each half of the recall; on the way up 1 at 1 and 2/3 at 3.
    assert ood_metrics([4, 2], [3, 1]) == {
        "auroc": 0.75,
        "fpr95": 0.5,
        "fpr95_ood_pos": 0.5,
        "aupr_in": pytest.approx(5 / 6),
        "aupr_out": pytest.approx(5 / 6),
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


# ---- conventions of other code bases, each written here from its description --------------------


def openood(id_scores, ood_scores):
    """OpenOOD since August 2023 and pytorch-ood: OOD is positive, scores negated, the first point
    with recall >= .95, AUPR by the trapezoidal rule."""
    scores = -np.concatenate([id_scores, ood_scores]).astype(float)
    is_ood = np.r_[np.zeros(len(id_scores)), np.ones(len(ood_scores))]
    fpr, tpr, _ = roc_curve(is_ood, scores)
    return {
        "auroc": auc(fpr, tpr),
        "fpr95": fpr[np.argmax(tpr >= 0.95)],
        "aupr_in": trapezoid_aupr(1 - is_ood, -scores),
        "aupr_out": trapezoid_aupr(is_ood, scores),
    }


def trapezoid_aupr(is_positive, scores):
    precision, recall, _ = precision_recall_curve(is_positive, scores)
    return auc(recall, precision)


def nearest_recall(id_scores, ood_scores):
    """MCM, NegLabel and CSP: ID is positive, the point whose recall is nearest to .95, the laxest
    of equally near ones; AUPR is average precision."""
    thresholds = np.unique(np.concatenate([id_scores, ood_scores]))  # lax to strict
    recall = 1 - np.searchsorted(np.sort(id_scores), thresholds, "left") / len(id_scores)
    is_id = np.r_[np.ones(len(id_scores)), np.zeros(len(ood_scores))]
    return {
        "fpr95": np.mean(ood_scores >= thresholds[np.argmin(np.abs(recall - 0.95))]),
        "aupr_in": average_precision_score(is_id, np.concatenate([id_scores, ood_scores])),
    }


def interpolated(id_scores, ood_scores):
    is_id = np.r_[np.ones(len(id_scores)), np.zeros(len(ood_scores))]
    fpr, tpr, _ = roc_curve(is_id, np.concatenate([id_scores, ood_scores]))
    return np.interp(0.95, tpr, fpr)


def strictly_above(id_scores, ood_scores):
    """KNN-OOD style: the ID score with 5 % of the ID images below it, and a strict '>'."""
    return np.mean(ood_scores > np.sort(id_scores)[round(0.05 * len(id_scores))])


def test_conventions_agree_on_many_images_without_ties():
    rng = np.random.default_rng(0)
    scores = rng.normal(1.5, 1, 50_000), rng.normal(0, 1, 10_000)
    ours, theirs = ood_metrics(*scores), openood(*scores)
    assert theirs["auroc"] == pytest.approx(ours["auroc"], abs=1e-12)
    assert theirs["fpr95"] == pytest.approx(ours["fpr95_ood_pos"], abs=1e-4)
    assert theirs["aupr_in"] == pytest.approx(ours["aupr_in"], abs=1e-4)
    assert theirs["aupr_out"] == pytest.approx(ours["aupr_out"], abs=1e-4)
    for fpr95 in (nearest_recall(*scores)["fpr95"], interpolated(*scores), strictly_above(*scores)):
        assert fpr95 == pytest.approx(ours["fpr95"], abs=3e-4)
    assert nearest_recall(*scores)["aupr_in"] == pytest.approx(ours["aupr_in"], abs=1e-12)


def test_conventions_differ_when_all_scores_are_equal():
    scores = np.ones(100), np.ones(100)
    ours = ood_metrics(*scores)
    assert ours["fpr95"] == nearest_recall(*scores)["fpr95"] == openood(*scores)["fpr95"] == 1
    assert interpolated(*scores) == pytest.approx(0.95)
    assert strictly_above(*scores) == 0
    assert ours["aupr_in"] == ours["aupr_out"] == 0.5
    assert openood(*scores)["aupr_in"] == openood(*scores)["aupr_out"] == 0.75


def test_conventions_differ_by_the_positive_class_when_scores_saturate():
    rng = np.random.default_rng(0)
    id_scores = np.r_[np.ones(600), rng.uniform(0.3, 1, 400)]
    ood_scores = np.r_[np.ones(60), rng.uniform(0, 0.6, 940)]
    ours = ood_metrics(id_scores, ood_scores)
    assert ours["fpr95_ood_pos"] == openood(id_scores, ood_scores)["fpr95"] == 1
    assert nearest_recall(id_scores, ood_scores)["fpr95"] == pytest.approx(ours["fpr95"], abs=0.01)
    assert ours["fpr95"] < 0.5


def test_convention_nearest_recall_may_lie_below_95_percent():
    # 47 of 50 ID scores are above -47, which the next two share: recall .94, then .98. Nearest
    # stops at .94, before the OOD score -47; the first recall >= .95 takes it in.
    id_scores, ood_scores = -np.r_[np.arange(47.0), 47, 47, 48], np.array([-47.0])
    assert nearest_recall(id_scores, ood_scores)["fpr95"] == 0
    assert ood_metrics(id_scores, ood_scores)["fpr95"] == 1


def test_convention_nearest_recall_takes_the_lax_end_of_a_plateau():
    # Recall is .95 from the threshold .9 down to just above 0; the OOD score .5 lies in between.
    id_scores, ood_scores = np.r_[np.full(95, 0.9), np.zeros(5)], np.array([0.5])
    assert nearest_recall(id_scores, ood_scores)["fpr95"] == 1
    assert ood_metrics(id_scores, ood_scores)["fpr95"] == 0


def test_convention_aupr_follows_the_class_sizes():
    # Scores that say nothing: precision is the share of the positive class at every threshold.
    metrics = ood_metrics(np.ones(300), np.ones(100))
    assert (metrics["aupr_in"], metrics["aupr_out"]) == (0.75, 0.25)


def test_convention_aupr_out_needs_negated_scores():
    """A warning: pos_label=0 on scores that are not negated ranks the OOD images backwards, so a
    perfect detector looks worse than a useless one."""
    id_scores, ood_scores = np.linspace(0.6, 1, 100), np.linspace(0, 0.4, 100)
    is_id = np.r_[np.ones(100), np.zeros(100)]
    scores = np.concatenate([id_scores, ood_scores])
    precision, recall, _ = precision_recall_curve(is_id, scores, pos_label=0)
    assert auc(recall, precision) < 0.35
    assert ood_metrics(id_scores, ood_scores)["aupr_out"] == 1


ADVERSARIAL = {
    "normal": lambda rng: (rng.normal(1, 1, 300), rng.normal(0, 1, 200)),
    "rounded": lambda rng: (rng.normal(1, 1, 300).round(1), rng.normal(0, 1, 200).round(1)),
    "few values": lambda rng: (rng.integers(1, 4, 150), rng.integers(0, 3, 90)),
    "tied at the top": lambda rng: (np.r_[np.ones(60), rng.random(40)], rng.random(100).round(1)),
    "tied at the bottom": lambda rng: (np.r_[np.zeros(10), rng.random(90)], rng.random(100)),
    "constant": lambda rng: (np.ones(50), np.ones(80)),
    "perfect": lambda rng: (rng.random(40) + 1, rng.random(30)),
    "inverted": lambda rng: (rng.random(40), rng.random(30) + 1),
    "one of each": lambda rng: (np.array([0.3]), np.array([0.3])),
    "one ID image": lambda rng: (np.array([0.5]), rng.random(100)),
    "one OOD image": lambda rng: (rng.random(100), np.array([0.5])),
    "denormal": lambda rng: (1e-310 * rng.random(50), 1e-310 * rng.random(50)),
    "huge": lambda rng: (1e300 * rng.normal(1, 1, 50), 1e300 * rng.normal(0, 1, 50)),
    "float32 neighbours": lambda rng: (
        (1 + 1e-7 * rng.random(80)).astype(np.float32),
        (1 + 1e-7 * rng.random(80)).astype(np.float32),
    ),
}


@pytest.mark.parametrize("case", ADVERSARIAL)
def test_adversarial_scores_match_sklearn(case):
    assert_matches_sklearn(*ADVERSARIAL[case](np.random.default_rng(1)))


@pytest.mark.filterwarnings("ignore:AUTC is undefined")
@pytest.mark.parametrize("case", ADVERSARIAL)
def test_adversarial_scores_match_pytorch_ood(case):
    metrics = pytest.importorskip("pytorch_ood.metrics").OODMetrics()
    import torch

    id_scores, ood_scores = (
        np.asarray(s, np.float64) for s in ADVERSARIAL[case](np.random.default_rng(1))
    )
    labels = np.r_[np.zeros(len(id_scores)), -np.ones(len(ood_scores))]
    scores = np.concatenate([id_scores, ood_scores])
    metrics.update(torch.from_numpy(-scores), torch.from_numpy(labels).long())
    theirs, ours = metrics.compute(), ood_metrics(id_scores, ood_scores)
    assert theirs["AUROC"] == pytest.approx(ours["auroc"], abs=1e-12)
    assert theirs["FPR95TPR"] == pytest.approx(ours["fpr95_ood_pos"], abs=1e-12)
    # Its AUPR is the trapezoid, ours the step: compare its value with scikit-learn's trapezoid.
    is_ood = labels < 0
    assert theirs["AUPR-IN"] == pytest.approx(trapezoid_aupr(~is_ood, scores), abs=1e-12)
    assert theirs["AUPR-OUT"] == pytest.approx(trapezoid_aupr(is_ood, -scores), abs=1e-12)


# ---- bad input -----------------------------------------------------------------------------------


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


def test_the_place_of_the_threshold_lets_95_percent_through_and_no_higher_place_does():
    for n in range(1, 401):
        place = fpr95_place(n)
        assert 100 * (n - place) >= 95 * n
        assert 100 * (n - place - 1) < 95 * n
