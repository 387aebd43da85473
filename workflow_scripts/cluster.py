"""Cluster the images of a set, by the method of lib/clustering that the config names.

Out: one row per image in the order of the embeddings (image_id, cluster, and value: how well it
fits, its probability, cosine or squared distance to the centroid); the weights that assign further
images; the training history (by restart or head, and iteration or epoch); time and memory.
"""

import time

from workflow_scripts.lib.artifacts import read_array
from workflow_scripts.lib.clustering.methods import Task, load_method
from workflow_scripts.lib.clustering.results import number_of_clusters, write_clusters
from workflow_scripts.lib.clustering.spaces import open_spaces
from workflow_scripts.lib.job import job, progress


def cluster(embeddings, index, inputs, cfg, code, wildcards, outputs):
    """inputs: what some clusterings read beside embeddings, name -> path: `neighbours`, the kNN
    graph; `choice`, the chosen number of clusters; `members`, a list of models. code: digest of the
    code that clusters."""
    method = load_method(cfg["method"])
    images = open_spaces(embeddings, index, cfg.get("spaces"))
    k = number_of_clusters(cfg["k"], images, inputs.get("choice"))
    graph = read_array(inputs["neighbours"]) if inputs.get("neighbours") else None
    members = tuple(inputs.get("members") or ())
    started = time.monotonic()
    found = method.fit(Task(images, k, cfg, graph, f"{outputs.model}.state", code, members))
    blocks = progress(images.blocks(), unit="block", desc="assign")
    assigned, value = method.assign(blocks, found.weights, cfg)
    meta = {**wildcards, "seed": cfg["seed"], "method": cfg["method"], "k": k}
    write_clusters(outputs, images, found, assigned, value, meta, started)


if __name__ == "__main__":
    with job(snakemake):
        cluster(
            snakemake.input.embeddings,
            snakemake.input.index,
            {n: snakemake.input.get(n) for n in ("neighbours", "choice", "members")},
            snakemake.params.cfg,
            snakemake.params.code,
            snakemake.wildcards,
            snakemake.output,
        )
