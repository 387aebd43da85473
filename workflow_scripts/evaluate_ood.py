"""Measure how well every detector of a study tells its OOD sets from its ID sets.

Out: ood.parquet, one row per (list of positives, negatives, detector, ID set, OOD set) with the
means over sets, as `lib.detection.table` says, and 95 % bootstrap intervals; comparison.parquet,
every list of positives and detector over all seeds, against the reference mining.
"""

import functools

import numpy as np
import pandas as pd

from workflow_scripts.lib import artifacts
from workflow_scripts.lib.detection.bootstrap import interval, resample_counts
from workflow_scripts.lib.detection.comparison import against_oracle, compare, p_values
from workflow_scripts.lib.detection.metrics import METRICS
from workflow_scripts.lib.detection.samples import flags_by_set, samples_of
from workflow_scripts.lib.detection.table import (
    ALL,
    DRAWN,
    measure,
    pairs_of,
    row_draws,
    table_rows,
)
from workflow_scripts.lib.job import job, progress
from workflow_scripts.lib.report.tables import read_frame, write_frame

KEYS = ["study", "encoder", "id_set", "ood_set", "group", "condition", "ood_group", "images"]
KEYS += ["clustering", "mining", "negatives", "detector", "seed"]
VALUES = ["n_positives", "n_id", "n_ood"]
VALUES += [name for m in METRICS for name in ([m, f"{m}_low", f"{m}_high"] if m in DRAWN else [m])]


def paired_scores(table, meta, column, samples, unflagged, rows):
    """Pair -> the scores of its two samples, of a detector that scored every pair of sets on its
    own; None for other detectors.

    Such scores have no bootstrap: each depends on the other images, which a resample would change.
    """
    own = {tuple(pair) for name, *pair in meta.get("pairs", []) if name == column}
    if not own:
        return None
    set_of = {sample: name for name, sample in unflagged.items()}
    paired = {}
    for one, other in pairs_of(rows):
        name = ":".join([column, one, set_of.get(other, other)])
        values = table[name].to_numpy()
        paired[one, other] = [values[samples[one]], values[samples[other]]]
    return paired


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
        paired = paired_scores(table, meta, column, samples, unflagged or {}, rows)
        measured = measure(rows, scores, paired)  # checks the scores
        draws, limits = {}, {}
        if counts_of and paired:
            draws = {metric: np.full((len(rows), cfg["resamples"]), np.nan) for metric in DRAWN}
        elif counts_of:
            counts = {name: counts_of(name, len(s)) for name, s in scores.items() if name != ALL}
            draws = row_draws(rows, scores, counts, [cfg["test"], *cfg["shift"]])
        for metric, drawn in draws.items():
            limits[f"{metric}_low"], limits[f"{metric}_high"] = interval(drawn)
        for i, (row, metrics) in enumerate(zip(rows, measured, strict=True)):
            keys = names | vars(row) | {"group": row.group}
            limit = {name: values[i] for name, values in limits.items()}
            yield shared | keys | metrics | limit, draws["auroc"][i] if draws else None


def evaluate_ood(scores, flags, cfg, output, comparison_output):
    """scores: paths of score files. flags: path of flag_contamination's flags, or None. cfg: test,
    near, far and shift (names of image sets), resamples (0: no bootstrap) and reference (name of a
    mining, or None)."""
    flags = flags and flags_by_set(read_frame(flags))
    counts_of = None
    if cfg["resamples"]:
        counts_of = functools.cache(lambda name, n: resample_counts(name, n, cfg["resamples"]))
    files = progress(scores, unit="file")
    results = [r for path in files for r in evaluate_scores(path, flags, cfg, counts_of)]
    frame = pd.DataFrame([row for row, _ in results], columns=[*KEYS, *VALUES, "oracle"])
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
