"""Compare the clusterings of a study with the labels of the training images, where known.

Out: Parquet, one row per (encoder, clustering, seed): the study's encoder, and as
clustering_encoder the one whose embeddings are clustered. Without labels the metrics are empty.
"""

import numpy as np
import pandas as pd

from workflow_scripts.lib import artifacts
from workflow_scripts.lib.clustering.metrics import clustering_metrics
from workflow_scripts.lib.job import job, progress
from workflow_scripts.lib.report.tables import read_frame, write_frame

METRICS = ["n", "classes", "acc", "nmi", "ami", "ari", "purity"]
COLUMNS = ["study", "encoder", "clustering_encoder", "image_set", "clustering", "method", "k"]
COLUMNS += ["seed", *METRICS, "used_clusters", "objective"]


def evaluate_clustering(clusters, index, study, cfg, output):
    """cfg: train (the image set) and encoders (of the study, one for every file of clusters)."""
    labelled = pd.concat([read_frame(path)[["image_id", "label"]] for path in index]).dropna()
    label_of = labelled.drop_duplicates("image_id").set_index("image_id")["label"]
    rows = []
    for path, encoder in zip(progress(clusters, unit="clustering"), cfg["encoders"], strict=True):
        table = artifacts.read_table(path, ["image_id", "cluster"])
        assigned = table["cluster"].to_numpy()
        labels = label_of.reindex(table["image_id"].to_pylist())
        known = labels.notna().to_numpy()
        meta = artifacts.read_meta(path)
        row = {"image_set": cfg["train"]} | meta | {"clustering_encoder": meta["encoder"]}
        row |= {"study": study, "encoder": encoder}
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
            snakemake.params.cfg,
            snakemake.output[0],
        )
