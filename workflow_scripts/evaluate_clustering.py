"""Compare the clusterings of a study with the labels of the training images, where known.

Out: Parquet, one row per (encoder, clustering, seed). Without labels the metrics are empty.
"""

import numpy as np
import pandas as pd

from workflow_scripts.lib import artifacts
from workflow_scripts.lib.clustering.metrics import clustering_metrics
from workflow_scripts.lib.job import job, progress
from workflow_scripts.lib.report.tables import read_frame, write_frame

METRICS = ["n", "classes", "acc", "nmi", "ami", "ari", "purity"]
COLUMNS = ["study", "encoder", "image_set", "clustering", "method", "k", "seed", *METRICS]
COLUMNS += ["used_clusters", "objective"]


def evaluate_clustering(clusters, index, study, image_set, output):
    labelled = pd.concat([read_frame(path)[["image_id", "label"]] for path in index]).dropna()
    label_of = labelled.drop_duplicates("image_id").set_index("image_id")["label"]
    rows = []
    for path in progress(clusters, unit="clustering"):
        table = artifacts.read_table(path, ["image_id", "cluster"])
        assigned = table["cluster"].to_numpy()
        labels = label_of.reindex(table["image_id"].to_pylist())
        known = labels.notna().to_numpy()
        row = {"study": study, "image_set": image_set} | artifacts.read_meta(path)
        if known.any():
            row |= clustering_metrics(labels[known].to_numpy(), assigned[known])
        row["used_clusters"] = len(np.unique(assigned))
        rows.append(row)
    write_frame(output, pd.DataFrame(rows).reindex(columns=COLUMNS))


if __name__ == "__main__":
    with job(snakemake):
        evaluate_clustering(
            snakemake.input.clusters,
            snakemake.input.index,
            snakemake.wildcards.study,
            snakemake.params.cfg["train"],
            snakemake.output[0],
        )
