"""Cluster the images of a set, by the method of lib/clustering that the config names.

Out: one row per image in the order of the embeddings (image_id, cluster, and value: how well it
fits, its probability, cosine or squared distance to the centroid); the weights that assign further
images; the training history (by restart or head, and iteration or epoch); time and memory.
"""

import time
from types import SimpleNamespace

import numpy as np

from workflow_scripts.lib import distributed
from workflow_scripts.lib.artifacts import note_in
from workflow_scripts.lib.clustering.graph import read_neighbours
from workflow_scripts.lib.clustering.methods import Task, load_method
from workflow_scripts.lib.clustering.results import number_of_clusters, write_clusters
from workflow_scripts.lib.clustering.spaces import open_spaces
from workflow_scripts.lib.job import job, progress


def cluster(embeddings, index, inputs, cfg, code, wildcards, outputs):
    """inputs: what some clusterings read beside embeddings, name -> path: `neighbours`, the kNN
    graph, and `about_neighbours`, the file beside it; `choice`, the chosen number of clusters;
    `init`, the first centroids; `members`, a list of models. code: digest of the code that
    clusters. In several processes each assigns its part, and the first one writes."""
    method = load_method(cfg["method"])
    images = open_spaces(embeddings, index, cfg.get("spaces"))
    k = number_of_clusters(cfg["k"], images, inputs.get("choice"))
    graph, data = None, (images.digest,)
    if inputs.get("neighbours"):
        graph = read_neighbours(inputs["neighbours"], inputs["about_neighbours"], images)
        data += (note_in(inputs["about_neighbours"]),)
    started = time.monotonic()
    state, members = f"{outputs.model}.state", tuple(inputs.get("members") or ())
    task = Task(images, k, cfg, graph, state, code, inputs.get("init"), members, data)
    found = method.fit(task)
    assigned, value = assigned_images(method, images, found.weights, cfg)
    if distributed.rank():
        return
    meta = {**wildcards, "seed": cfg["seed"], "method": cfg["method"], "k": k}
    write_clusters(outputs, images, found, assigned, value, meta, started)


def assigned_images(method, images, weights, cfg):
    """Cluster, int32 [N], and value, float32 [N], of all images; each process assigns its part."""
    part = distributed.part(images.rows)
    own = images.blocks() if len(part) == images.rows else images.blocks(rows=np.array(part))
    cluster, value = np.zeros(images.rows, np.int32), np.zeros(images.rows, np.float32)
    rows = slice(part.start, part.stop)
    blocks = progress(own, unit="block", desc="assign")
    cluster[rows], value[rows] = method.assign(blocks, weights, cfg)
    distributed.total(cluster, value)
    return cluster, value


def main(outputs, **arguments):
    """One of several processes (see `distributed.launch`); outputs: name -> path."""
    cluster(outputs=SimpleNamespace(**outputs), **arguments)


INPUTS = ("neighbours", "about_neighbours", "choice", "init", "members")

if __name__ == "__main__":
    with job(snakemake):
        arguments = {
            "embeddings": list(snakemake.input.embeddings),
            "index": list(snakemake.input.index),
            "inputs": {n: snakemake.input.get(n) for n in INPUTS},
            "cfg": snakemake.params.cfg,
            "code": snakemake.params.code,
            "wildcards": dict(snakemake.wildcards.items()),
            "outputs": dict(snakemake.output.items()),
        }
        processes = snakemake.resources.processes
        if processes == 1:
            main(**arguments)
        else:
            started_in = f"{snakemake.output.model}.job"
            distributed.launch(
                "workflow_scripts.cluster", arguments, started_in, processes, snakemake.threads
            )
