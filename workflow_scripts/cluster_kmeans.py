"""Cluster the images of a set with k-means.

Out: one row per image in the order of the embeddings (image_id, cluster, and value: the cosine to
its centroid, or the squared distance); the centroids; the objective by restart and iteration.
"""

import time

import numpy as np

from workflow_scripts.lib.clustering import kmeans
from workflow_scripts.lib.clustering.results import (
    number_of_clusters,
    restart_history,
    write_clusters,
)
from workflow_scripts.lib.embeddings import open_embeddings
from workflow_scripts.lib.job import job, progress


def sample_rows(images, size, seed):
    """A random sample of the embeddings, float32 [size, d], in order; all of them if size is 0."""
    if not 0 < size < images.rows:
        return images.array()
    chosen = np.zeros(images.rows, bool)
    chosen[np.random.default_rng(seed).choice(images.rows, size, replace=False)] = True
    starts = np.cumsum([0, *(len(array) for array in images.arrays)])
    parts = zip(images.arrays, np.split(chosen, starts[1:-1]), strict=True)
    return np.concatenate([array[rows] for array, rows in parts]).astype(np.float32)


def cluster_kmeans(embeddings, index, cfg, meta, outputs):
    images = open_embeddings(embeddings, index)
    k = number_of_clusters(cfg["k"], images)
    started = time.monotonic()
    centroids, objective, curve = kmeans.fit_kmeans(
        sample_rows(images, cfg["sample"], cfg["seed"]),
        k,
        cfg["seed"],
        cfg["spherical"],
        cfg["restarts"],
        cfg["iterations"],
        cfg["init"],
    )
    blocks = progress(images.blocks(), unit="block", desc="assign")
    assigned, value = kmeans.assign(blocks, centroids, cfg["spherical"])
    weights, meta = {"centroids": centroids}, meta | {"k": k, "objective": objective}
    curve = restart_history(curve)
    write_clusters(outputs, images, assigned, value, weights, curve, meta, started)


if __name__ == "__main__":
    with job(snakemake):
        cfg = snakemake.params.cfg
        cluster_kmeans(
            snakemake.input.embeddings,
            snakemake.input.index,
            cfg,
            {**snakemake.wildcards, "seed": cfg["seed"], "method": cfg["method"]},
            snakemake.output,
        )
