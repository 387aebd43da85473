"""Measure how well every detector of a study tells its OOD sets from its ID sets.

Out: ood.parquet, one row per (list of positives, negatives, detector, ID set, OOD set) with the
means over sets, as `lib.detection.table` says, and 95 % bootstrap intervals; comparison.parquet,
every list of positives and detector over all seeds, against the reference mining.
"""

import functools
import logging

import numpy as np
import pandas as pd

from workflow_scripts.lib import artifacts
from workflow_scripts.lib.detection.bootstrap import interval, resample_counts
from workflow_scripts.lib.detection.table import (
    ALL,
    against_oracle,
    compare,
    measure,
    p_values,
    row_draws,
    table_rows,
)
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.job import job, progress
from workflow_scripts.lib.report.tables import read_frame, write_frame

KEYS = ["study", "encoder", "id_set", "ood_set", "group", "condition", "ood_group", "images"]
KEYS += ["clustering", "mining", "negatives", "detector", "seed"]
METRICS = ["n_positives", "n_id", "n_ood", "auroc", "auroc_low", "auroc_high"]
METRICS += ["fpr95", "fpr95_low", "fpr95_high", "fpr95_ood_pos", "aupr_in", "aupr_out", "tied"]


def read_flags(path):
    """Image set -> {image id: whether it is flagged}, of flag_contamination's table."""
    frame = read_frame(path)
    return {
        name: dict(zip(rows["image_id"], rows["flagged"], strict=True))
        for name, rows in frame.groupby("image_set", sort=False)
    }


def unflagged_rows(image_ids, flags, image_set):
    """Which images of a set are not flagged: bool [n]. Raises InputError if some are not judged."""
    flag_of = flags.get(image_set, {})
    missing = [name for name in image_ids if name not in flag_of]
    if missing:
        raise InputError(
            f"contamination: {len(missing)} of {len(image_ids)} images of {image_set} have no "
            f"flag, e.g. {missing[0]}; flag them with an encoder that has the same image ids"
        )
    return np.array([not flag_of[name] for name in image_ids], dtype=bool)


def samples_of(table, flags, cfg):
    """Rows of a score file of every sample of images, and OOD set -> its unflagged sample."""
    image_set = table["image_set"].to_numpy(zero_copy_only=False)
    parts, oods = [cfg["test"], *cfg["shift"]], [*cfg["near"], *cfg["far"]]
    samples = {name: np.flatnonzero(image_set == name) for name in dict.fromkeys([*parts, *oods])}
    samples[ALL] = np.concatenate([samples[part] for part in parts])
    if flags is None:
        return samples, None
    unflagged = {}
    for name in oods:
        kept = unflagged_rows(table["image_id"].take(samples[name]).to_pylist(), flags, name)
        if kept.all():
            unflagged[name] = name
        elif kept.any():
            unflagged[name] = f"{name} (unflagged)"
            samples[unflagged[name]] = samples[name][kept]
        else:
            logging.warning("all images of %s are flagged: not among the unflagged rows", name)
    return samples, unflagged


def group_of(row):
    """One word for what a row measures: near, far or all OOD sets on the clean test set, or else
    shift, full_spectrum or unflagged."""
    if row.images != "all":
        return row.images
    return {"clean": row.ood_group, "shifted": "shift"}.get(row.condition, row.condition)


def evaluate_scores(path, flags, cfg, counts_of):
    """Rows of the table for one score file, each with its draws of the AUROC, or None.

    counts_of: as `resample_counts`, name and number of images -> counts; None without bootstrap.
    """
    table, meta = artifacts.read_table(path), artifacts.read_meta(path)
    samples, unflagged = samples_of(table, flags, cfg)
    rows = table_rows(cfg["test"], cfg["near"], cfg["far"], cfg["shift"], unflagged)
    shared = {key: meta[key] for key in KEYS if key in meta}
    shared |= {"n_positives": meta["n_positives"], "oracle": meta["method"] == "ground_truth"}
    for column, names in meta["columns"].items() if rows else ():
        values = table[column].to_numpy()
        scores = {name: values[positions] for name, positions in samples.items()}
        measured = measure(rows, scores)  # checks the scores
        draws, limits = {}, {}
        if counts_of:
            counts = {name: counts_of(name, len(s)) for name, s in scores.items() if name != ALL}
            draws = row_draws(rows, scores, counts, [cfg["test"], *cfg["shift"]])
        for metric, drawn in draws.items():
            limits[f"{metric}_low"], limits[f"{metric}_high"] = interval(drawn)
        for i, (row, metrics) in enumerate(zip(rows, measured, strict=True)):
            keys = names | vars(row) | {"group": group_of(row)}
            limit = {name: values[i] for name, values in limits.items()}
            yield shared | keys | metrics | limit, draws["auroc"][i] if draws else None


def evaluate_ood(scores, flags, cfg, output, comparison_output):
    """scores: paths of score files. flags: path of flag_contamination's flags, or None. cfg: test,
    near, far and shift (names of image sets), resamples (0: no bootstrap) and reference (name of a
    mining, or None)."""
    flags = flags and read_flags(flags)
    counts_of = None
    if cfg["resamples"]:
        counts_of = functools.cache(lambda name, n: resample_counts(name, n, cfg["resamples"]))
    files = progress(scores, unit="file")
    results = [r for path in files for r in evaluate_scores(path, flags, cfg, counts_of)]
    frame = pd.DataFrame([row for row, _ in results], columns=[*KEYS, *METRICS, "oracle"])
    draws = np.array([drawn for _, drawn in results]) if results and counts_of else None
    frame["auroc_minus_oracle"] = against_oracle(frame) if results else []
    frame["p_value"] = p_values(frame, draws, cfg["reference"])
    write_frame(output, frame.drop(columns="oracle"))
    write_frame(comparison_output, compare(frame, draws, cfg["reference"]))


if __name__ == "__main__":
    with job(snakemake):
        evaluate_ood(
            list(snakemake.input.scores),
            snakemake.input.flags or None,
            snakemake.params.cfg,
            snakemake.output.ood,
            snakemake.output.comparison,
        )
