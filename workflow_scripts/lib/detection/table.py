"""The rows of an OOD table: what each compares, its metrics and its bootstrap draws.

A row averages the metrics of one or more pairs (ID sample, OOD sample). By the ID side, its
condition is
- clean: the test set;
- shifted: a shifted test set, or the mean over all of them, id_set `(mean)`;
- full_spectrum: the test set and all shifted ones pooled, id_set `(all)`: one threshold has to
  serve them all. Source: full-spectrum detection of OpenOOD v1.5 (Zhang et al. 2023).
By the OOD side, it is one OOD set, or ood_set `(mean)`: the mean over the OOD sets of a group,
near, far or all. With flags there are clean rows of `unflagged` images beside those of all images.

A mean counts every set alike, whatever its size. Its interval is that of the mean's draws: the
bootstrap draws the same images of a set in all its pairs, so they average resample by resample.
It covers the choice of images, not of sets.
"""

from dataclasses import dataclass
from math import isqrt

import numpy as np

from workflow_scripts.lib.detection.bootstrap import metric_draws
from workflow_scripts.lib.detection.methods import ALL
from workflow_scripts.lib.detection.metrics import METRICS, fpr95_place, ood_metrics

MEAN = "(mean)"
DRAWN = ("auroc", "fpr95")  # the metrics that get intervals


# ---- rows ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One row of the table; pairs: the (ID sample, OOD sample) whose metrics it averages."""

    condition: str
    id_set: str
    ood_set: str
    ood_group: str
    images: str
    pairs: tuple

    @property
    def group(self):
        """One word for what the row measures: near, far or all OOD sets on the clean test set, or
        else shift, full_spectrum or unflagged."""
        if self.images != "all":
            return self.images
        return {"clean": self.ood_group, "shifted": "shift"}.get(self.condition, self.condition)


def table_rows(test, near, far, shift, unflagged=None):
    """The rows that every detector of a study gets, a list of Row.

    test: name of the ID test set. near, far, shift: names of OOD sets and of shifted test sets.
    unflagged: None without flags, else OOD set -> name of the sample of its unflagged images; a
        set that has none is absent, and left out of the unflagged means.
    The sample ALL is the test set and the shifted ones pooled.
    """
    groups = {"near": {name: name for name in near}, "far": {name: name for name in far}}
    rows = _rows("clean", test, groups)
    for id_set in shift:
        rows += _rows("shifted", id_set, groups)
    if shift:
        rows += _means("shifted", MEAN, shift, groups)
        rows += _rows("full_spectrum", ALL, groups)
    if unflagged is not None:
        kept = {
            group: {name: unflagged[name] for name in sets if name in unflagged}
            for group, sets in groups.items()
        }
        rows += _rows("clean", test, kept, "unflagged")
    return rows


def _rows(condition, id_set, groups, images="all"):
    """A row for each OOD set and one for the mean of each group, against one ID sample."""
    single = [
        Row(condition, id_set, name, group, images, ((id_set, sample),))
        for group, sets in groups.items()
        for name, sample in sets.items()
    ]
    return single + _means(condition, id_set, [id_set], groups, images)


def _means(condition, id_set, id_samples, groups, images="all"):
    """A row for the mean of each group that has OOD sets, over these ID samples."""
    groups = groups | {"all": groups["near"] | groups["far"]}
    return [
        Row(
            *(condition, id_set, MEAN, group, images),
            tuple((one, other) for one in id_samples for other in sets.values()),
        )
        for group, sets in groups.items()
        if sets
    ]


def pairs_of(rows):
    """The distinct pairs of these rows, in order."""
    return list(dict.fromkeys(pair for row in rows for pair in row.pairs))


# ---- metrics and draws ---------------------------------------------------------------------------


def measure(rows, scores, paired=None):
    """The metrics of every row, a list of dicts: those of `ood_metrics`, averaged over the pairs.

    scores: sample -> float [n], higher = more in-distribution.
    paired: pair -> the scores of its two samples, of a detector that scores every pair on its own;
        None takes those of `scores`.
    n_id and n_ood of a mean are the images of all its ID and of all its OOD samples.
    Raises InputError for a sample without images or with scores that are not finite.
    """
    if paired is None:
        paired = {pair: [scores[name] for name in pair] for pair in pairs_of(rows)}
    of_pair = {pair: ood_metrics(*both) for pair, both in paired.items()}
    return [_averaged({pair: of_pair[pair] for pair in row.pairs}) for row in rows]


def _averaged(of_pair):
    n_id = {one: metrics["n_id"] for (one, _), metrics in of_pair.items()}
    n_ood = {other: metrics["n_ood"] for (_, other), metrics in of_pair.items()}
    means = {key: np.mean([metrics[key] for metrics in of_pair.values()]) for key in METRICS}
    return {"n_id": sum(n_id.values()), "n_ood": sum(n_ood.values())} | means


def row_draws(rows, scores, counts, parts):
    """AUROC and FPR95 of every row in every resample: "auroc", "fpr95" -> float64 [rows, B].

    scores: sample -> [n]. counts: sample -> uint8 [n, B], of `sample_counts`, not of ALL. parts:
        the samples that ALL pools.
    """
    of_pair = _pair_draws(pairs_of(rows), scores, counts, parts)
    return {
        metric: np.stack([_mean([of_pair[pair][metric] for pair in row.pairs]) for row in rows])
        for metric in DRAWN
    }


def _mean(draws):
    return draws[0] if len(draws) == 1 else np.mean(draws, axis=0)


def _pair_draws(pairs, scores, counts, parts):
    """(ID sample, OOD sample) -> {"auroc", "fpr95": float64 [B]}."""
    against_all = [other for one, other in pairs if one == ALL]
    needed = [pair for pair in pairs if pair[0] != ALL]
    needed += [(part, other) for part in parts for other in against_all]
    samples = {name: (scores[name], counts[name]) for pair in needed for name in pair}
    draws = metric_draws(samples, dict.fromkeys(needed))
    if against_all:
        sizes = [counts[part].sum(axis=0, dtype=np.int64) for part in parts]
        threshold = pooled_threshold([samples[part] for part in parts])
        for other in against_all:
            # Pairs with a part's images count by their number, so this mean is exact, not a bound.
            aurocs = [draws[part, other]["auroc"] for part in parts]
            draws[ALL, other] = {
                "auroc": np.average(aurocs, axis=0, weights=sizes),
                "fpr95": accepted(*samples[other], threshold),
            }
    return draws


def pooled_threshold(samples):
    """The score that at least 95 % of pooled ID images reach, in every resample: [B].

    samples: list of (scores [n], counts [n, B]). The threshold of `fpr95`; see `ood_metrics`.
    It lies among the lowest images, so only as many as can hold it are looked at.
    """
    scores = np.concatenate([part for part, _ in samples])
    sizes = [len(part) for part, _ in samples]
    part, row = np.repeat(range(len(sizes)), sizes), np.concatenate([*map(np.arange, sizes)])
    order = np.argsort(scores, kind="stable")
    position = fpr95_place(sum(counts.sum(axis=0, dtype=np.int64) for _, counts in samples))
    reach = int(position.max()) + 1
    while True:
        reach = min(len(scores), reach + 6 * isqrt(reach) + 10)
        lowest = order[:reach]
        below = np.empty((reach, samples[0][1].shape[1]), np.int32)
        for number, (_, counts) in enumerate(samples):
            own = part[lowest] == number
            below[own] = counts[row[lowest][own]]
        np.cumsum(below, axis=0, out=below)
        if (below[-1] > position).all():
            return scores[order[(below <= position).sum(axis=0)]]


def accepted(scores, counts, threshold):
    """Share of resampled images [B] at or above the threshold [B] of their resample."""
    drawn = counts.sum(axis=0, dtype=np.int64)
    return ((scores[:, None] >= threshold) * counts).sum(axis=0, dtype=np.int64) / drawn
