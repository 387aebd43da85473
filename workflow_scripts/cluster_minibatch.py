"""Cluster the images of a set with mini-batch k-means, which reads the embeddings batch by batch.

Out: as cluster_kmeans.
"""

import time

from workflow_scripts.lib.clustering import kmeans
from workflow_scripts.lib.clustering.results import (
    number_of_clusters,
    restart_history,
    write_clusters,
)
from workflow_scripts.lib.embeddings import open_embeddings
from workflow_scripts.lib.job import job, progress


def cluster_minibatch(embeddings, index, cfg, meta, outputs):
    images = open_embeddings(embeddings, index)
    k = number_of_clusters(cfg["k"], images)
    started = time.monotonic()
    centroids, objective, curve = kmeans.fit_minibatch(
        images.joined(),
        k,
        cfg["seed"],
        cfg["spherical"],
        cfg["restarts"],
        cfg["batch_size"],
        cfg["passes"],
    )
    blocks = progress(images.blocks(), unit="block", desc="assign")
    assigned, value = kmeans.assign(blocks, centroids, cfg["spherical"])
    weights, meta = {"centroids": centroids}, meta | {"k": k, "objective": objective}
    curve = restart_history(curve)
    write_clusters(outputs, images, assigned, value, weights, curve, meta, started)


if __name__ == "__main__":
    with job(snakemake):
        cfg = snakemake.params.cfg
        cluster_minibatch(
            snakemake.input.embeddings,
            snakemake.input.index,
            cfg,
            {**snakemake.wildcards, "seed": cfg["seed"], "method": cfg["method"]},
            snakemake.output,
        )
