"""AUROC, FPR95 and AUPR of out-of-distribution (OOD) detection, with the conventions spelled out.

Scores are higher for in-distribution (ID) images. Published FPR95 values follow two conventions
that differ by tens of points on the same scores, so both are reported:

- `fpr95`: ID is the positive class, as in the MCM, NegLabel and CSP papers. The share of OOD images
  accepted at the threshold that accepts at least 95 % of the ID images.
- `fpr95_ood_pos`: OOD is the positive class and the scores are negated, as in OpenOOD since August
  2023 and in pytorch-ood. The share of ID images flagged at the threshold that flags at least 95 %
  of the OOD images.

Both take the first threshold, from strict to lax over all distinct scores, whose true positive rate
is >= .95: the point scikit-learn's `roc_curve(drop_intermediate=False)` gives. MCM's and NegLabel's
code takes the recall *nearest* to .95 instead, which may lie below it, and the last of equally near
points; `np.interp` on the curve draws a line between points, a rate that no threshold has. On
10,000 images or more without ties the three agree to about .02 points; with ties or few images
they do not.

AUPR is the average precision, the sum over all distinct thresholds of precision x gain in recall,
as scikit-learn's `average_precision_score` and the code of MCM, NegLabel and CSP compute it:

- `aupr_in`: ID is the positive class.
- `aupr_out`: OOD is the positive class *and* the scores are negated.

OpenOOD and pytorch-ood draw the precision-recall curve and take its area by the trapezoidal rule,
which counts precisions that no threshold has. On 10,000 images or more without ties the two agree
to .01 points; with ties they may be tens of points apart, mostly with the trapezoid higher (all
scores equal and sets of one size: .75 instead of .5).
An AUPR-OUT from scores that are not negated is the share of OOD images among the *most*
in-distribution ones, and not comparable to anything. Both AUPRs depend on the sizes of the two
sets: random scores get n_id / (n_id + n_ood) and n_ood / (n_id + n_ood).
"""

import numpy as np

from workflow_scripts.lib.errors import InputError

METRICS = ("auroc", "fpr95", "fpr95_ood_pos", "aupr_in", "aupr_out", "tied")
"""What `ood_metrics` returns beside the numbers of images; columns of the OOD table, in order."""


def ood_metrics(id_scores, ood_scores):
    """Detection metrics of one ID set against one OOD set, as fractions in 0..1.

    id_scores, ood_scores: 1-d arrays, higher = more in-distribution; compared in float64.
    Returns a dict: auroc (ties count half), fpr95, fpr95_ood_pos, aupr_in, aupr_out (see the
    module), tied (share of all scores whose value occurs more than once: a high share means
    saturated scores, where FPR95 says little), n_id, n_ood.
    Raises InputError for an empty set or scores that are NaN or infinite.
    """
    id_scores = _checked(id_scores, "in-distribution")
    ood_scores = _checked(ood_scores, "out-of-distribution")
    values = (
        _auroc(id_scores, ood_scores),
        _fpr95(id_scores, ood_scores),
        _fpr95(-ood_scores, -id_scores),
        _aupr(id_scores, ood_scores),
        _aupr(-ood_scores, -id_scores),
        _tied(np.concatenate([id_scores, ood_scores])),
    )
    counts = {"n_id": len(id_scores), "n_ood": len(ood_scores)}
    return dict(zip(METRICS, values, strict=True)) | counts


def _checked(scores, name):
    scores = np.asarray(scores, np.float64).ravel()
    if not len(scores):
        raise InputError(f"there are no {name} scores; check the image set")
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        raise InputError(
            f"{len(bad)} of {len(scores)} {name} scores are NaN or infinite, the first in row "
            f"{bad[0]}; score the images again"
        )
    return scores


def _auroc(positives, negatives):
    """Share of (positive, negative) pairs in the right order, a tie counting half."""
    negatives = np.sort(negatives)
    below = np.searchsorted(negatives, positives, "left").sum()
    not_above = np.searchsorted(negatives, positives, "right").sum()
    return float((below + not_above) / 2 / (len(positives) * len(negatives)))


def fpr95_place(n):
    """Where FPR95's threshold stands among n ascending scores of the positive class, from 0.

    It is the highest score that at least 95 % of them reach, so n - ceil(.95 n) = n // 20 scores
    stand before it.
    """
    return n // 20


def _fpr95(positives, negatives):
    threshold = np.sort(positives)[fpr95_place(len(positives))]
    return float(np.mean(negatives >= threshold))


def _aupr(positives, negatives):
    """Average precision; recall grows only at scores of positives, so only those count."""
    thresholds, hits = np.unique(positives, return_counts=True)
    accepted = np.cumsum(hits[::-1])[::-1]
    wrong = len(negatives) - np.searchsorted(np.sort(negatives), thresholds, "left")
    return float((hits * (accepted / (accepted + wrong))).sum() / len(positives))


def _tied(scores):
    counts = np.unique(scores, return_counts=True)[1]
    return float(counts[counts > 1].sum() / len(scores))
