"""Rank the clusters of every image: its most probable or nearest one first.

Out: Parquet, one row per image in the order of the embeddings: image_id and clusters (int32, the
first m, best first).
"""

import numpy as np
import pyarrow as pa

from workflow_scripts.lib.artifacts import read_meta, write_table
from workflow_scripts.lib.clustering.methods import load_method
from workflow_scripts.lib.clustering.spaces import open_spaces
from workflow_scripts.lib.concepts.similarity import top_of_rows
from workflow_scripts.lib.job import job, progress
from workflow_scripts.lib.tensors import read_tensors


def rank_clusters(embeddings, index, clusters, model, cfg, output):
    method = load_method(cfg["method"])
    images, weights = open_spaces(embeddings, index, cfg.get("spaces")), read_tensors(model)
    meta = read_meta(clusters)
    m = min(cfg["predictions"], meta["k"])
    ranked = np.empty((images.rows, m), np.int32)
    first = 0
    for block in progress(images.blocks(), unit="block"):
        ranked[first : first + len(block)], _ = top_of_rows(method.scores(block, weights, cfg), m)
        first += len(block)
    columns = {"clusters": pa.FixedSizeListArray.from_arrays(ranked.ravel(), m)}
    write_table(output, {"image_id": images.index["image_id"]} | columns, meta)


if __name__ == "__main__":
    with job(snakemake):
        rank_clusters(
            snakemake.input.embeddings,
            snakemake.input.index,
            snakemake.input.clusters,
            snakemake.input.model,
            snakemake.params.cfg,
            snakemake.output[0],
        )
