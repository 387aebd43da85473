"""Measure how well every detector of a study tells its OOD sets from its ID sets.

Out: Parquet, one row per (list of positives, negatives, detector, ID set, OOD set). Group `shift`
marks rows whose ID set is a shifted test set; the others are `near` or `far` by their OOD set.
"""

import numpy as np
import pandas as pd

from workflow_scripts.lib import artifacts
from workflow_scripts.lib.job import job, progress
from workflow_scripts.lib.ood_metrics import ood_metrics
from workflow_scripts.lib.tables import write_frame

KEYS = ["study", "encoder", "id_set", "ood_set", "group", "clustering", "mining"]
KEYS += ["negatives", "detector", "seed"]
METRICS = ["n_positives", "n_id", "n_ood", "auroc", "fpr95", "fpr95_ood_pos", "tied"]


def pairs(test, near, far, shift):
    """(ID set, OOD set, group) of every comparison of a study."""
    for id_set in [test, *shift]:
        for group, ood_sets in (("near", near), ("far", far)):
            for ood_set in ood_sets:
                yield id_set, ood_set, group if id_set == test else "shift"


def evaluate_scores(path, sets):
    """Rows of the table for one score file."""
    table, meta = artifacts.read_table(path), artifacts.read_meta(path)
    image_set = table["image_set"].to_numpy(zero_copy_only=False)
    rows_of = {name: np.flatnonzero(image_set == name) for name in np.unique(image_set)}
    shared = {key: meta[key] for key in KEYS if key in meta}
    shared |= {"n_positives": meta["n_positives"], "oracle": meta["method"] == "ground_truth"}
    for column, names in meta["columns"].items():
        scores = table[column].to_numpy()
        for id_set, ood_set, group in pairs(**sets):
            metrics = ood_metrics(scores[rows_of[id_set]], scores[rows_of[ood_set]])
            yield shared | names | {
                "id_set": id_set, "ood_set": ood_set, "group": group,
            } | metrics  # fmt: skip


def against_oracle(frame):
    """AUROC minus the oracle's with the same encoder, detector, negatives and sets."""
    same = ["encoder", "id_set", "ood_set", "negatives", "detector"]
    oracle = frame[frame["oracle"]].groupby(same)["auroc"].mean().rename("oracle_auroc")
    return frame["auroc"] - frame.join(oracle, on=same)["oracle_auroc"]


def evaluate_ood(scores, sets, output):
    columns = [*KEYS, *METRICS, "oracle"]
    rows = [row for path in progress(scores, unit="file") for row in evaluate_scores(path, sets)]
    frame = pd.DataFrame(rows, columns=columns)
    frame["auroc_minus_oracle"] = against_oracle(frame) if len(frame) else []
    write_frame(output, frame.drop(columns="oracle"))


if __name__ == "__main__":
    with job(snakemake):
        evaluate_ood(list(snakemake.input), snakemake.params.cfg, snakemake.output[0])
