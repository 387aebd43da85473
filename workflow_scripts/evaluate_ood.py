"""Measure how well every detector of a study tells its OOD sets from its ID sets.

Out: ood.parquet, one row per (list of positives, negatives, detector, ID set, OOD set) with the
means over sets, as `lib.detection.table` says, and 95 % bootstrap intervals; comparison.parquet,
every list of positives and detector over all seeds, against the reference mining. A detector that
could not score has rows without values, and the reason. Evaluation only: labels of OOD images are
read here, to count the negatives that name their classes.
"""

import numpy as np
import pandas as pd

from workflow_scripts.lib import artifacts
from workflow_scripts.lib.detection.bootstrap import Resamples, interval
from workflow_scripts.lib.detection.comparison import against_oracle, compare, p_values
from workflow_scripts.lib.detection.leaks import Leaks, names_of_sets
from workflow_scripts.lib.detection.metrics import METRICS
from workflow_scripts.lib.detection.resampling import grouping
from workflow_scripts.lib.detection.samples import counts_of, flags_by_set, samples_of
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
from workflow_scripts.lib.texts.label_names import naming
from workflow_scripts.lib.texts.trees import noun_tree

KEYS = ["study", "encoder", "id_set", "ood_set", "group", "condition", "ood_group", "images"]
KEYS += ["clustering", "mining", "negatives", "detector", "seed"]
LIST = ("encoder", "clustering", "mining", "seed")  # of positives, and so of negatives
VALUES = ["n_positives", "n_negatives", "name_leak", "n_id", "n_ood"]
VALUES += [name for m in METRICS for name in ([m, f"{m}_low", f"{m}_high"] if m in DRAWN else [m])]

HELD = 2**28  # bytes of counts of drawn images at a time
COLUMNS = [*KEYS, *VALUES, "auroc_minus_oracle", "p_value", "reason"]
WHOLE = dict.fromkeys(["n_negatives", "name_leak", "n_id", "n_ood"], "Int64") | {"reason": "string"}


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


def negatives_by_list(paths):
    """(encoder, clustering, mining, seed) -> block of negatives -> their names, a list."""
    found = {}
    for path in paths:
        meta, frame = artifacts.read_meta(path), read_frame(path)
        own = {name: rows["concept"].tolist() for name, rows in frame.groupby("negatives")}
        found[tuple(meta[key] for key in LIST)] = own
    return found


class Evaluation:
    """What the score files of a study have in common: its sets, flags, groups, leaks, resamples.

    inputs, cfg: as for `evaluate_ood`.
    """

    def __init__(self, inputs, cfg):
        self.cfg = cfg
        self.flags = flags_by_set(read_frame(inputs.flags)) if inputs.flags else None
        found = grouping(inputs.groups, cfg["groups"].values())
        self.groups = dict(zip(cfg["groups"], found, strict=True))
        self.drawn = Resamples()  # for all files, where all resamples are held at a time
        names = naming(inputs.label_names, cfg["label_names"])
        classes = names_of_sets(inputs.ood_index, cfg["ood_parts"], names)
        tree = noun_tree(inputs.trees) if inputs.trees and any(classes.values()) else None
        self.leaks = Leaks(classes, {group: cfg[group] for group in ("near", "far")}, tree)
        self.negatives = negatives_by_list(inputs.negatives)

    def rows_of(self, path):
        """Yield the rows of the table for one score file, each with its draws of the metrics,
        DRAWN -> [B]; without bootstrap none, and of a detector that could not score NaN."""
        cfg, table, meta = self.cfg, artifacts.read_table(path), artifacts.read_meta(path)
        samples, unflagged = samples_of(table, self.flags, cfg)
        rows = table_rows(cfg["test"], cfg["near"], cfg["far"], cfg["shift"], unflagged)
        shared = {key: meta[key] for key in KEYS if key in meta}
        shared |= {"n_positives": meta["n_positives"], "oracle": meta["method"] == "ground_truth"}
        negatives = self.negatives.get(tuple(meta[key] for key in LIST), {})
        columns = meta["columns"] if rows else {}
        measured, scores = {}, {}
        for column in columns:
            values = table[column].to_numpy()
            own = {name: values[positions] for name, positions in samples.items()}
            paired = paired_scores(table, meta, column, samples, unflagged or {}, rows)
            measured[column] = measure(rows, own, paired)  # checks the scores
            if paired is None:
                scores[column] = own
        draws = self.draws(rows, scores, table, samples, unflagged)
        for column, names in columns.items():
            leaked = self.leaked(rows, negatives.get(names["negatives"]))
            results = self.with_intervals(measured[column], draws.get(column))
            for row, leak, (metrics, drawn) in zip(rows, leaked, results, strict=True):
                yield shared | names | vars(row) | {"group": row.group} | leak | metrics, drawn
        unknown = dict.fromkeys(DRAWN, np.full(cfg["resamples"], np.nan))
        for names in meta.get("missing", []):
            for row in rows:
                yield shared | names | vars(row) | {"group": row.group}, unknown

    def leaked(self, rows, negatives):
        """The columns on negatives, a dict per row; negatives: their names, or None."""
        if negatives is None:
            return [{}] * len(rows)
        number = {"n_negatives": len(negatives)}
        return [number | {"name_leak": leak} for leak in self.leaks.of_rows(rows, negatives)]

    def draws(self, rows, scores, table, samples, unflagged):
        """Column -> DRAWN -> float64 [rows, B], of a dict of columns -> sample -> scores.

        As many resamples are drawn at a time as HELD allows: all of them, for all files at once, or
        else part by part, for each file anew.
        """
        cfg, resamples = self.cfg, self.cfg["resamples"]
        if not scores or not resamples:
            return {}
        images = sum(len(own) for name, own in samples.items() if name != ALL)
        step = max(1, HELD // max(1, images))
        drawn = self.drawn if step >= resamples else Resamples()
        parts, found = [cfg["test"], *cfg["shift"]], {column: [] for column in scores}
        for first in range(0, resamples, step):
            part = cfg | {"resamples": min(step, resamples - first)}
            counts = counts_of(table, samples, unflagged, self.groups, part, drawn)
            for column, own in scores.items():
                found[column].append(row_draws(rows, own, counts, parts))
            if step < resamples:
                drawn.next_part()
        return {
            column: {metric: np.hstack([part[metric] for part in drawn]) for metric in DRAWN}
            for column, drawn in found.items()
        }

    def with_intervals(self, measured, draws):
        """Per row its metrics, with intervals, and its draws; measured: of `measure`. Without
        bootstrap no draws; NaN for None, of a detector that scores every pair on its own."""
        limits = {}
        if not self.cfg["resamples"]:
            draws = {}
        elif draws is None:
            unknown = np.full((len(measured), self.cfg["resamples"]), np.nan)
            draws = dict.fromkeys(DRAWN, unknown)
        for metric, drawn in draws.items():
            limits[f"{metric}_low"], limits[f"{metric}_high"] = interval(drawn)
        for i, metrics in enumerate(measured):
            limit = {name: values[i] for name, values in limits.items()}
            yield metrics | limit, {metric: drawn[i] for metric, drawn in draws.items()}


def evaluate_ood(inputs, cfg, output, comparison_output):
    """inputs: named paths, scores, flags (of flag_contamination, or none), negatives, ood_index (of
    the OOD images), label_names and groups (the tables that name their labels, and that group the
    images of all sets), trees (the files of one concept tree, or none). cfg: test, near, far and
    shift (names of image sets), resamples (0: no bootstrap), reference (name of a mining, or None),
    ood_parts (OOD set -> number of parts), label_names (of the OOD sets, see
    `label_names.naming`) and groups (image set -> block, see `resampling.grouping`)."""
    study = Evaluation(inputs, cfg)
    results = [r for path in progress(inputs.scores, unit="file") for r in study.rows_of(path)]
    frame = pd.DataFrame([row for row, _ in results], columns=[*COLUMNS, "oracle"]).astype(WHOLE)
    draws = None
    if results and cfg["resamples"]:
        draws = {metric: np.array([drawn[metric] for _, drawn in results]) for metric in DRAWN}
    frame["auroc_minus_oracle"] = against_oracle(frame) if results else []
    frame["p_value"] = p_values(frame, draws and draws["auroc"], cfg["reference"])
    write_frame(output, frame[COLUMNS])
    write_frame(comparison_output, compare(frame, draws, cfg["reference"]))


if __name__ == "__main__":
    with job(snakemake):
        evaluate_ood(snakemake.input, snakemake.params.cfg, *snakemake.output)
