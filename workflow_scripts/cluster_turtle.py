"""Cluster the images of a set with TURTLE.

Out: one row per image in the order of the embeddings (image_id, cluster, and value: its
probability); the best task encoder; loss and used clusters of every task encoder by epoch.
"""

import torch

from workflow_scripts.lib.clustering import turtle
from workflow_scripts.lib.clustering.results import number_of_clusters, train_and_write
from workflow_scripts.lib.embeddings import open_embeddings
from workflow_scripts.lib.job import job


def cluster_turtle(embeddings, index, cfg, meta, outputs):
    images = open_embeddings(embeddings, index)
    k = number_of_clusters(cfg["k"], images)
    spaces = [images.joined()]

    def train(state_path, on_epoch):
        return turtle.train_turtle(
            spaces, k, cfg, cfg["seed"], state_path=state_path, on_epoch=on_epoch
        )

    def assign(blocks, weights):
        return turtle.assign(zip(blocks), weights, cfg["temperature"])

    train_and_write(train, assign, images, meta | {"k": k}, outputs)


if __name__ == "__main__":
    with job(snakemake):
        torch.set_num_threads(snakemake.threads)
        cfg = snakemake.params.cfg
        cluster_turtle(
            snakemake.input.embeddings,
            snakemake.input.index,
            cfg,
            {**snakemake.wildcards, "seed": cfg["seed"], "method": cfg["method"]},
            snakemake.output,
        )
