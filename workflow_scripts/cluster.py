"""Cluster the images of a set, by the method of lib/clustering that the config names.

Out: one row per image in the order of the embeddings (image_id, cluster, and value: how well it
fits, its probability, cosine or squared distance to the centroid); the weights that assign further
images; the training history (by restart or head, and iteration or epoch); time and memory.
"""

import time

from workflow_scripts.lib.artifacts import read_array
from workflow_scripts.lib.clustering.methods import Task, load_method
from workflow_scripts.lib.clustering.results import number_of_clusters, write_clusters
from workflow_scripts.lib.embeddings import open_embeddings
from workflow_scripts.lib.job import job, progress


def cluster(embeddings, index, neighbours, choice, cfg, code, wildcards, outputs):
    """neighbours, choice: paths of the kNN graph and of the chosen number of clusters, or None;
    code: digest of the code that clusters."""
    method = load_method(cfg["method"])
    images = open_embeddings(embeddings, index)
    k = number_of_clusters(cfg["k"], images, choice)
    graph = read_array(neighbours) if neighbours else None
    started = time.monotonic()
    found = method.fit(Task(images, k, cfg, graph, f"{outputs.model}.state", code))
    blocks = progress(images.blocks(), unit="block", desc="assign")
    assigned, value = method.assign(blocks, found.weights, cfg)
    meta = {**wildcards, "seed": cfg["seed"], "method": cfg["method"], "k": k}
    write_clusters(outputs, images, found, assigned, value, meta, started)


if __name__ == "__main__":
    with job(snakemake):
        cluster(
            snakemake.input.embeddings,
            snakemake.input.index,
            snakemake.input.get("neighbours"),
            snakemake.input.get("choice"),
            snakemake.params.cfg,
            snakemake.params.code,
            snakemake.wildcards,
            snakemake.output,
        )
