"""Comparisons of rows of an OOD table: with the oracle, with the reference mining, over seeds."""

import numpy as np
import pandas as pd

from workflow_scripts.lib.detection.bootstrap import interval, paired_p_value
from workflow_scripts.lib.detection.table import MEAN

SAME = ["encoder", "id_set", "ood_set", "ood_group", "images", "negatives", "detector"]
COMPARED = ["study", "encoder", "clustering", "mining", "negatives", "detector"]
COMPARED += ["condition", "ood_group"]
DIFFERENCES = ["difference", "difference_low", "difference_high", "p_value"]
DIFFERENCES += ["seed_low", "seed_high"]
COMPARISON = [*COMPARED, "seeds", "auroc", "auroc_std", "auroc_low", "auroc_high", "reference"]
COMPARISON += DIFFERENCES


def against_oracle(frame):
    """AUROC minus the oracle's with the same encoder, detector, negatives and samples (SAME).

    frame: the table with a bool column oracle. Returns a Series; NaN where there is no oracle.
    """
    oracle = frame[frame["oracle"]].groupby(SAME)["auroc"].mean().rename("oracle_auroc")
    return frame["auroc"] - frame.join(oracle, on=SAME)["oracle_auroc"]


def p_values(frame, draws, reference):
    """Paired bootstrap p-value of every row's AUROC against the `reference` mining's: float [rows].

    draws: [rows, B] in the frame's order, its index 0, 1, ..., or None without bootstrap. Rows are
    compared within equal SAME. The reference is averaged over its clusterings and seeds, resample
    by resample, and a row is one seed: the p-value says nothing of the spread over seeds
    (`compare` does). NaN without a reference.
    """
    values = np.full(len(frame), np.nan)
    if draws is None:
        return values
    is_reference = (frame["mining"] == reference).to_numpy()
    for rows in frame.groupby(SAME, sort=False).indices.values():
        references = rows[is_reference[rows]]
        if len(references):
            values[rows] = paired_p_value(draws[rows] - draws[references].mean(axis=0))
    return values


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
        row["p_value"] = float(paired_p_value(drawn))
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
