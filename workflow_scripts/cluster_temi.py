"""Cluster the images of a set with TEMI.

Out: one row per image in the order of the embeddings (image_id, cluster, and value: its
probability); the best head's teacher; loss and used clusters of every head by epoch.
"""

import torch

from workflow_scripts.lib.artifacts import read_array
from workflow_scripts.lib.clustering import temi
from workflow_scripts.lib.clustering.results import number_of_clusters, train_and_write
from workflow_scripts.lib.embeddings import open_embeddings
from workflow_scripts.lib.job import job


def cluster_temi(embeddings, index, neighbours, cfg, meta, outputs):
    images = open_embeddings(embeddings, index)
    k = number_of_clusters(cfg["k"], images)
    vectors, graph = images.joined(), read_array(neighbours)

    def train(state_path, on_epoch):
        return temi.train_temi(
            vectors, graph, k, cfg, cfg["seed"], state_path=state_path, on_epoch=on_epoch
        )

    def assign(blocks, weights):
        return temi.assign(blocks, weights, cfg["temperature"])

    train_and_write(train, assign, images, meta | {"k": k}, outputs)


if __name__ == "__main__":
    with job(snakemake):
        torch.set_num_threads(snakemake.threads)
        cfg = snakemake.params.cfg
        cluster_temi(
            snakemake.input.embeddings,
            snakemake.input.index,
            snakemake.input.neighbours,
            cfg,
            {**snakemake.wildcards, "seed": cfg["seed"], "method": cfg["method"]},
            snakemake.output,
        )
