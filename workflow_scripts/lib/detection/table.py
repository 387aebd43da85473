"""The rows of an OOD table: what each compares, its metrics, its bootstrap draws, its reference.

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
import pandas as pd

from workflow_scripts.lib.detection.bootstrap import interval, metric_draws, paired_p_value
from workflow_scripts.lib.detection.metrics import ood_metrics

ALL, MEAN = "(all)", "(mean)"
AVERAGED = ("auroc", "fpr95", "fpr95_ood_pos", "aupr_in", "aupr_out", "tied")
DRAWN = ("auroc", "fpr95")  # the metrics that get intervals

SAME = ["encoder", "id_set", "ood_set", "ood_group", "images", "negatives", "detector"]
COMPARED = ["study", "encoder", "clustering", "mining", "negatives", "detector"]
COMPARED += ["condition", "ood_group"]
DIFFERENCES = ["difference", "difference_low", "difference_high", "p_value"]
DIFFERENCES += ["seed_low", "seed_high"]
COMPARISON = [*COMPARED, "seeds", "auroc", "auroc_std", "auroc_low", "auroc_high", "reference"]
COMPARISON += DIFFERENCES


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


def measure(rows, scores):
    """The metrics of every row, a list of dicts: those of `ood_metrics`, averaged over the pairs.

    scores: sample -> float [n], higher = more in-distribution.
    n_id and n_ood of a mean are the images of all its ID and of all its OOD samples.
    Raises InputError for a sample without images or with scores that are not finite.
    """
    of_pair = {pair: ood_metrics(*(scores[name] for name in pair)) for pair in pairs_of(rows)}
    return [_averaged({pair: of_pair[pair] for pair in row.pairs}) for row in rows]


def _averaged(of_pair):
    n_id = {one: metrics["n_id"] for (one, _), metrics in of_pair.items()}
    n_ood = {other: metrics["n_ood"] for (_, other), metrics in of_pair.items()}
    means = {key: np.mean([metrics[key] for metrics in of_pair.values()]) for key in AVERAGED}
    return {"n_id": sum(n_id.values()), "n_ood": sum(n_ood.values())} | means


def row_draws(rows, scores, counts, parts):
    """AUROC and FPR95 of every row in every resample: "auroc", "fpr95" -> float64 [rows, B].

    scores: sample -> [n]. counts: sample -> uint8 [n, B], of `resample_counts`, not of ALL. parts:
        the samples that ALL pools; each is resampled to its own size, so ALL is as well.
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
        sizes = [len(scores[part]) for part in parts]
        threshold = pooled_threshold([samples[part] for part in parts])
        for other in against_all:
            # Each part keeps its size in every resample, so this mean is exact, not a bound.
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
    position = len(scores) - -(-95 * len(scores) // 100)
    reach = position + 1
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
    return ((scores[:, None] >= threshold) * counts).sum(axis=0, dtype=np.int64) / len(scores)


# ---- comparisons ---------------------------------------------------------------------------------


def against_oracle(frame):
    """AUROC minus the oracle's with the same encoder, detector, negatives and samples (SAME).

    frame: the table with a bool column oracle. Returns a Series; NaN where there is no oracle.
    """
    oracle = frame[frame["oracle"]].groupby(SAME)["auroc"].mean().rename("oracle_auroc")
    return frame["auroc"] - frame.join(oracle, on=SAME)["oracle_auroc"]


def p_values(frame, draws, reference):
    """Paired bootstrap p-value of every row's AUROC against the `reference` mining's: float [rows].

    draws: [rows, B] in the frame's order, its index 0, 1, ..., or None without bootstrap. Rows are
    compared within equal SAME. The reference
    is averaged over its clusterings and seeds, resample by resample, and a row is one seed: the
    p-value says nothing of the spread over seeds (`compare` does). NaN without a reference.
    """
    values = np.full(len(frame), np.nan)
    if draws is None:
        return values
    is_reference = (frame["mining"] == reference).to_numpy()
    for rows in frame.groupby(SAME, sort=False).indices.values():
        references = rows[is_reference[rows]]
        if len(references):
            values[rows] = _p_value(draws[rows] - draws[references].mean(axis=0))
    return values


def _p_value(differences):
    # Without the rounding error of means over seeds, which would tell equal draws apart.
    return paired_p_value(np.round(differences, 12), np.zeros(differences.shape[-1]))


def compare(frame, draws, reference):
    """Every list of positives and detector against the reference mining, over all seeds.

    frame, draws: as for `p_values`. Of the table only the means over OOD sets of all images, and
    over shifted sets; so a row per COMPARED.
    auroc, auroc_std: mean and standard deviation (ddof 1) over the `seeds`; auroc_low and
        auroc_high: 95 % bootstrap interval of the mean over seeds (its draws are averaged).
    reference: name of the reference mining, empty where the row has none to compare with.
    difference: AUROC minus the reference's, both averaged over seeds and the reference over its
        clusterings too; difference_low, difference_high: its paired 95 % bootstrap interval;
        p_value: of the same draws. These cover the choice of images, with the seeds as they are.
    seed_low, seed_high: 95 % t-interval of the difference over seeds, with the images as they are.
        A seed is paired with the reference's same seed, where both have several (they share the
        clusterings). NaN if neither has several. Student's interval for so few is our choice.
    Neither interval covers both sources; a difference is plain if both leave out 0.
    """
    shown = (frame["ood_set"] == MEAN) & (frame["images"] == "all")
    shown &= (frame["condition"] != "shifted") | (frame["id_set"] == MEAN)
    at = np.flatnonzero(shown)
    keys = frame.iloc[at][COMPARED]
    same = [key for key in COMPARED if key not in ("clustering", "mining")]
    means = frame[["auroc", "seed"]]  # numbers only, which select fast
    references = {
        key: means.iloc[at[rows]]
        for key, rows in keys.where(keys["mining"] == reference).groupby(same).indices.items()
    }
    compared = []
    for key, rows in keys.groupby(COMPARED, sort=False).indices.items():
        row = dict(zip(COMPARED, key, strict=True))
        own, other = means.iloc[at[rows]], references.get(tuple(row[name] for name in same))
        row |= _over_seeds(own, draws)
        if other is not None:
            row |= {"reference": reference} | _difference(own, other, draws)
        compared.append(row)
    return pd.DataFrame(compared, columns=COMPARISON)


def _over_seeds(own, draws):
    row = {"seeds": len(own), "auroc": own["auroc"].mean(), "auroc_std": own["auroc"].std()}
    if draws is not None:
        row["auroc_low"], row["auroc_high"] = interval(draws[own.index].mean(axis=0))
    return row


def _difference(own, other, draws):
    """The columns DIFFERENCES of the rows of one list of positives, against the reference's."""
    row = {"difference": own["auroc"].mean() - other["auroc"].mean()}
    if draws is not None:
        drawn = draws[own.index].mean(axis=0) - draws[other.index].mean(axis=0)
        row["difference_low"], row["difference_high"] = interval(drawn)
        row["p_value"] = float(_p_value(drawn))
    row["seed_low"], row["seed_high"] = t_interval(differences_of_seeds(own, other))
    return row


def differences_of_seeds(own, other):
    """AUROC minus the reference's by seed, float [n]: of the seeds that both have, or, if one side
    has a single seed, of the other's seeds with it.

    own, other: data frames auroc, seed; a seed may occur several times, as in two clusterings.
    """
    one, two = (rows.groupby("seed")["auroc"].mean() for rows in (own, other))
    if len(one) == 1:
        return one.item() - two.to_numpy()
    return (one - (two.item() if len(two) == 1 else two)).dropna().to_numpy()


def t_interval(values, level=0.95):
    """Student's interval (low, high) of the mean of values [n]; NaN if there are fewer than two."""
    if len(values) < 2:
        return np.nan, np.nan
    from scipy.special import stdtrit

    width = stdtrit(len(values) - 1, (1 + level) / 2) * values.std(ddof=1) / len(values) ** 0.5
    return values.mean() - width, values.mean() + width
