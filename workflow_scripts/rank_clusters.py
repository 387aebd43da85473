"""Rank the clusters of every image: its most probable or nearest one first.

Out: Parquet, one row per image in the order of the embeddings: image_id and clusters (int32, the
first m, best first).
"""

import numpy as np
import pyarrow as pa
from safetensors.numpy import load_file

from workflow_scripts.lib.artifacts import read_meta, write_table
from workflow_scripts.lib.embeddings import open_embeddings
from workflow_scripts.lib.job import job, progress


def kmeans_scores(block, weights, cfg):
    """Cosine, or (up to a constant per image) negative squared distance, to every centroid."""
    centroids = weights["centroids"]
    if cfg["spherical"]:
        return block @ centroids.T
    return 2 * block @ centroids.T - (centroids**2).sum(axis=1)


def head_scores(block, weights, cfg):
    import torch

    from workflow_scripts.lib.clustering.heads import log_probabilities

    head = {name: torch.from_numpy(value)[None] for name, value in weights.items()}
    return log_probabilities(head, torch.from_numpy(block), cfg["temperature"])[0].numpy()


def turtle_scores(block, weights, cfg):
    import torch

    from workflow_scripts.lib.clustering.turtle import task_log_probabilities

    task = {name: torch.from_numpy(value)[None] for name, value in weights.items()}
    return task_log_probabilities(task, [torch.from_numpy(block)], cfg["temperature"])[0].numpy()


SCORES = {
    "kmeans": kmeans_scores,
    "minibatch": kmeans_scores,
    "temi": head_scores,
    "scan": head_scores,
    "turtle": turtle_scores,
}


def rank_clusters(embeddings, index, clusters, model, cfg, output):
    images, weights, meta = (
        open_embeddings(embeddings, index),
        load_file(model),
        read_meta(clusters),
    )
    m = min(cfg["predictions"], meta["k"])
    ranked = np.empty((images.rows, m), np.int32)
    first = 0
    for block in progress(images.blocks(), unit="block"):
        scores = SCORES[meta["method"]](block, weights, cfg)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :m]
        ranked[first : first + len(block)] = order
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
