"""Comparisons of rows of an OOD table: with the oracle, with the reference mining, over seeds."""

import numpy as np
import pandas as pd

from workflow_scripts.lib.detection.bootstrap import (
    holm,
    interval,
    interval_over_both,
    paired_p_value,
    t_interval,
)
from workflow_scripts.lib.detection.table import MEAN

SAME = ["encoder", "id_set", "ood_set", "ood_group", "images", "negatives", "detector"]
COMPARED = ["study", "encoder", "clustering", "mining", "negatives", "detector"]
COMPARED += ["condition", "ood_group"]
ROUND = ["study", "condition", "ood_group"]  # rows whose p-values are corrected together
METRICS = ["seeds", "auroc", "auroc_std", "auroc_low", "auroc_high", "total_low", "total_high"]
METRICS += ["fpr95", "fpr95_std", "fpr95_low", "fpr95_high", "name_leak"]
DIFFERENCES = ["difference", "difference_low", "difference_high", "p_value", "p_holm"]
DIFFERENCES += ["seed_low", "seed_high"]
COMPARISON = [*COMPARED, *METRICS, "reference", *DIFFERENCES, "reason"]


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
    (`compare` does). NaN without a reference, and of a row without AUROC.
    """
    values = np.full(len(frame), np.nan)
    if draws is None:
        return values
    is_reference = ((frame["mining"] == reference) & frame["auroc"].notna()).to_numpy()
    for rows in frame.groupby(SAME, sort=False).indices.values():
        references = rows[is_reference[rows]]
        if len(references):
            values[rows] = paired_p_value(draws[rows] - draws[references].mean(axis=0))
    return values


def compare(frame, draws, reference):
    """Every list of positives and detector against the reference mining, over all seeds.

    frame: as for `p_values`, with fpr95, name_leak and reason. draws: None, or "auroc" and "fpr95"
    -> [rows, B] as for `p_values`. Of the table only the means over OOD sets of all images, and
    over shifted sets; so a row per COMPARED. A seed that could not be scored is left out; without
    any, a row has nothing but the `reason`.
    auroc, fpr95, and _std: mean and standard deviation (ddof 1) over the `seeds`; _low and _high:
        95 % bootstrap interval of the mean over seeds (its draws are averaged).
    total_low, total_high: 95 % interval of `auroc` over images and seeds (`interval_over_both`).
    reference: name of the reference mining, empty where the row has none to compare with.
    difference: AUROC minus the reference's, both averaged over seeds and the reference over its
        clusterings too; difference_low, difference_high: its paired 95 % bootstrap interval;
        p_value: of the same draws. These cover the choice of images, with the seeds as they are.
    p_holm: the p-value corrected for the rows of a ROUND that are compared with another mining.
    seed_low, seed_high: 95 % t-interval of the difference over seeds, with the images as they are.
        A seed is paired with the reference's same seed, where both have several (they share the
        clusterings). NaN below `bootstrap.MIN_SEEDS` seeds.
    """
    shown = (frame["ood_set"] == MEAN) & (frame["images"] == "all")
    shown &= (frame["condition"] != "shifted") | (frame["id_set"] == MEAN)
    at = np.flatnonzero(shown)
    keys = frame.iloc[at][COMPARED]
    same = [key for key in COMPARED if key not in ("clustering", "mining")]
    values = frame[["auroc", "fpr95", "name_leak", "seed"]].astype(float)  # which select fast
    scored = values["auroc"].notna().to_numpy()
    references = {
        key: values.iloc[at[rows][scored[at[rows]]]]
        for key, rows in keys.where(keys["mining"] == reference).groupby(same).indices.items()
    }
    compared = []
    for key, rows in keys.groupby(COMPARED, sort=False).indices.items():
        row, rows = dict(zip(COMPARED, key, strict=True)), at[rows]
        own, other = values.iloc[rows[scored[rows]]], references.get(tuple(row[k] for k in same))
        reasons = frame["reason"].iloc[rows].dropna()
        row |= {"seeds": len(own), "reason": reasons.iloc[0] if len(reasons) else None}
        if len(own):
            row |= _over_seeds(own, draws)
        if len(own) and other is not None and len(other):
            row |= {"reference": reference} | _difference(own, other, draws)
        compared.append(row)
    table = pd.DataFrame(compared, columns=COMPARISON).astype({"reason": "string"})
    tested = table["p_value"].where(table["mining"] != reference).astype(float)
    table["p_holm"] = tested.groupby([table[key] for key in ROUND]).transform(holm)
    return table


def _over_seeds(own, draws):
    row = {"name_leak": own["name_leak"].mean()}
    for metric in ("auroc", "fpr95"):
        row |= {metric: own[metric].mean(), f"{metric}_std": own[metric].std()}
        if draws is not None:
            drawn = draws[metric][own.index].mean(axis=0)
            row[f"{metric}_low"], row[f"{metric}_high"] = interval(drawn)
            if metric == "auroc":
                row["total_low"], row["total_high"] = interval_over_both(drawn, own[metric])
    return row


def _difference(own, other, draws):
    """The columns DIFFERENCES of the rows of one list of positives, against the reference's."""
    row = {"difference": own["auroc"].mean() - other["auroc"].mean()}
    if draws is not None:
        drawn = draws["auroc"][own.index].mean(axis=0) - draws["auroc"][other.index].mean(axis=0)
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
