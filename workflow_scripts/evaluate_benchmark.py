"""Compare the clusterings of a benchmark with the labels, beside what they cost.

Out: Parquet, one row per clustering: the level of the axis, what the image set is like, the
metrics, and seconds (without start and imports) and peak memory of the job.
"""

import json
from pathlib import Path

import pandas as pd

from workflow_scripts.lib import artifacts
from workflow_scripts.lib.benchmarks.results import KEYS, labels_by_set, row_keys
from workflow_scripts.lib.benchmarks.subsets import class_balance
from workflow_scripts.lib.clustering.metrics import clustering_metrics
from workflow_scripts.lib.job import job, progress
from workflow_scripts.lib.report.tables import write_frame

SET = ["n", "classes", "imbalance_ratio", "prior_entropy_normalised"]
METRICS = ["acc", "balanced_acc", "nmi", "ami", "ari", "used_clusters", "purity", "objective"]
COST = ["seconds", "peak_memory_mb"]


def evaluate_benchmark(clusters, costs, labels, benchmark, cfg, output):
    """cfg: axis, levels (image set -> level) and parts ("encoder/image set" -> number)."""
    labels_of = labels_by_set(labels, cfg["parts"])
    rows = []
    for path, cost in zip(progress(clusters, unit="clustering"), costs, strict=True):
        meta = artifacts.read_meta(path)
        assigned = artifacts.read_table(path, ["cluster"])["cluster"].to_numpy()
        label = labels_of[f"{meta['encoder']}/{meta['image_set']}"]
        known = ~pd.isna(label)
        row = row_keys(meta, benchmark, cfg) | json.loads(Path(cost).read_text())
        row |= class_balance(label) | clustering_metrics(label[known], assigned[known])
        rows.append(row)
    write_frame(output, pd.DataFrame(rows).reindex(columns=[*KEYS, *SET, *METRICS, *COST]))


if __name__ == "__main__":
    with job(snakemake):
        evaluate_benchmark(
            snakemake.input.clusters,
            snakemake.input.costs,
            snakemake.input.labels,
            snakemake.wildcards.benchmark,
            snakemake.params.cfg,
            snakemake.output[0],
        )
