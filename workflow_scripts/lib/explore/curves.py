"""Histograms and ROC of one detector, in-distribution (ID) against OOD images, as SVG text."""

import io

import numpy as np
from markupsafe import Markup
from matplotlib import style
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from workflow_scripts.lib.report.figures import COLOURS, STYLE

BINS = 40
POINTS = 400  # of the curve


def separation(id_scores, ood_scores, id_set, ood_set, metrics):
    """Histograms of both sets beside the ROC curve with the points of both FPR95 conventions.

    id_scores, ood_scores: float64 arrays, higher = more in-distribution. id_set, ood_set: names.
    metrics: of `ood_metrics`. Returns Markup: an SVG element with a transparent background; it
    holds no text from data but the names, which matplotlib escapes.
    """
    with style.context(["default", STYLE]):
        figure = Figure((9, 2.9), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=[2, 1])
        bins = np.histogram_bin_edges(np.concatenate([id_scores, ood_scores]), BINS)
        for scores, name, colour in zip(
            (id_scores, ood_scores), (id_set, ood_set), COLOURS, strict=False
        ):
            weights = np.full(len(scores), 100 / len(scores))
            left.hist(scores, bins, weights=weights, color=colour, alpha=0.6, label=name)
        left.set(xlabel="score (higher: more in-distribution)", ylabel="% of the set")
        left.legend()
        _roc(right, id_scores, ood_scores, metrics)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    return Markup(svg[svg.index("<svg") :])


def _roc(axis, id_scores, ood_scores, metrics):
    """Share of accepted ID images over that of accepted OOD images."""
    truth = np.repeat([1, 0], [len(id_scores), len(ood_scores)])
    accepted_ood, accepted_id, _ = roc_curve(truth, np.concatenate([id_scores, ood_scores]))
    shown = np.unique(np.linspace(0, len(accepted_id) - 1, POINTS).astype(int))
    axis.plot(accepted_ood[shown], accepted_id[shown], color=COLOURS[0])
    id_point = metrics["fpr95"], 0.95
    ood_point = 0.05, 1 - metrics["fpr95_ood_pos"]
    axis.plot(*id_point, "o", color=COLOURS[1])
    axis.plot(*ood_point, "s", color=COLOURS[1])
    axis.set(xlabel="OOD images accepted", ylabel="ID images accepted", xlim=(-0.02, 1.02))
    axis.set_ylim(-0.02, 1.02)
