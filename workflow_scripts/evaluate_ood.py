"""Measure how well every detector of a study tells its OOD sets from its ID sets.

Out: Parquet, one row per (list of positives, negatives, detector, ID set, OOD set), with 95 %
bootstrap intervals. Group `shift` marks rows whose ID set is a shifted test set; the others are
`near` or `far` by their OOD set.
"""

import numpy as np
import pandas as pd

from workflow_scripts.lib import artifacts
from workflow_scripts.lib.bootstrap import interval, metric_draws, paired_p_value, resample_counts
from workflow_scripts.lib.job import job, progress
from workflow_scripts.lib.ood_metrics import ood_metrics
from workflow_scripts.lib.tables import write_frame

KEYS = ["study", "encoder", "id_set", "ood_set", "group", "clustering", "mining"]
KEYS += ["negatives", "detector", "seed"]
METRICS = ["n_positives", "n_id", "n_ood", "auroc", "auroc_low", "auroc_high"]
METRICS += ["fpr95", "fpr95_low", "fpr95_high", "fpr95_ood_pos", "aupr_in", "aupr_out", "tied"]
SAME = ["encoder", "id_set", "ood_set", "negatives", "detector"]


def pairs(cfg):
    """(ID set, OOD set, group) of every comparison of a study."""
    for id_set in [cfg["test"], *cfg["shift"]]:
        for group in ("near", "far"):
            for ood_set in cfg[group]:
                yield id_set, ood_set, group if id_set == cfg["test"] else "shift"


def evaluate_scores(path, cfg):
    """Rows of the table for one score file, each with its bootstrap draws of the AUROC."""
    table, meta = artifacts.read_table(path), artifacts.read_meta(path)
    image_set = table["image_set"].to_numpy(zero_copy_only=False)
    names = dict.fromkeys([cfg["test"], *cfg["near"], *cfg["far"], *cfg["shift"]])
    rows_of = {name: np.flatnonzero(image_set == name) for name in names}
    counts = {
        name: resample_counts(name, len(rows), cfg["resamples"])
        for name, rows in rows_of.items()
        if cfg["resamples"] and len(rows)
    }
    shared = {key: meta[key] for key in KEYS if key in meta}
    shared |= {"n_positives": meta["n_positives"], "oracle": meta["method"] == "ground_truth"}
    for column, names in meta["columns"].items():
        scores = {name: table[column].to_numpy()[rows] for name, rows in rows_of.items()}
        measured = [(*pair, ood_metrics(*(scores[s] for s in pair[:2]))) for pair in pairs(cfg)]
        draws = {}
        if counts:
            samples = {name: (scores[name], counts[name]) for name in counts}
            draws = metric_draws(samples, [pair[:2] for pair in measured])
        for id_set, ood_set, group, metrics in measured:
            sets = {"id_set": id_set, "ood_set": ood_set, "group": group}
            drawn = draws.get((id_set, ood_set), {})
            limits = {}
            for metric in {"auroc", "fpr95"} & drawn.keys():
                low, high = interval(drawn[metric])
                limits |= {f"{metric}_low": low, f"{metric}_high": high}
            yield shared | names | sets | metrics | limits, drawn.get("auroc")


def against_oracle(frame):
    """AUROC minus the oracle's with the same encoder, detector, negatives and sets."""
    oracle = frame[frame["oracle"]].groupby(SAME)["auroc"].mean().rename("oracle_auroc")
    return frame["auroc"] - frame.join(oracle, on=SAME)["oracle_auroc"]


def p_values(frame, draws, reference):
    """Paired bootstrap p-value of every row's AUROC against the `reference` mining's.

    The reference is averaged over its clusterings and seeds, resample by resample. Rows without a
    reference (another detector, no bootstrap) get NaN.
    """
    draws = np.array(draws)
    at = np.flatnonzero((frame["mining"] == reference).to_numpy())
    found = {key: at[rows] for key, rows in frame.iloc[at].groupby(SAME).indices.items()}
    values = np.full(len(frame), np.nan)
    if draws.ndim == 2:
        for row, key in enumerate(frame[SAME].itertuples(index=False, name=None)):
            if key in found:
                values[row] = paired_p_value(draws[row], draws[found[key]].mean(axis=0))
    return values


def evaluate_ood(scores, cfg, output):
    """cfg: test, near, far and shift (names of image sets), resamples and reference."""
    files = progress(scores, unit="file")
    results = [result for path in files for result in evaluate_scores(path, cfg)]
    frame = pd.DataFrame([row for row, _ in results], columns=[*KEYS, *METRICS, "oracle"])
    frame["auroc_minus_oracle"] = against_oracle(frame) if len(frame) else []
    frame["p_value"] = p_values(frame, [drawn for _, drawn in results], cfg["reference"])
    write_frame(output, frame.drop(columns="oracle"))


if __name__ == "__main__":
    with job(snakemake):
        evaluate_ood(list(snakemake.input), snakemake.params.cfg, snakemake.output[0])
