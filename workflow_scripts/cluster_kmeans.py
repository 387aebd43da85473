"""Cluster the images of a set with k-means.

Out: one row per image in the order of the embeddings (image_id, cluster, and value: the cosine to
its centroid, or the squared distance); the centroids; the objective by restart and iteration.
"""

import numpy as np
import pyarrow as pa
from safetensors.numpy import save_file

from workflow_scripts.lib import artifacts, kmeans
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


def cluster_kmeans(embeddings, index, cfg, meta, clusters, model, history):
    images = open_embeddings(embeddings, index)
    centroids, objective, curve = kmeans.fit_kmeans(
        sample_rows(images, cfg["sample"], cfg["seed"]),
        cfg["k"],
        cfg["seed"],
        cfg["spherical"],
        cfg["restarts"],
        cfg["iterations"],
    )
    blocks = progress(images.blocks(), unit="block", desc="assign")
    assigned, value = kmeans.assign(blocks, centroids, cfg["spherical"])
    meta = meta | {"objective": objective}
    columns = {"image_id": images.index["image_id"], "cluster": assigned, "value": value}
    artifacts.write_table(clusters, columns, meta)
    artifacts.write_table(history, pa.Table.from_pylist(curve), meta)
    with artifacts.replacing(model) as temporary:
        save_file({"centroids": centroids}, temporary)


if __name__ == "__main__":
    with job(snakemake):
        cfg = snakemake.params.cfg
        cluster_kmeans(
            snakemake.input.embeddings,
            snakemake.input.index,
            cfg,
            {**snakemake.wildcards, "seed": cfg["seed"], "method": cfg["method"], "k": cfg["k"]},
            snakemake.output.clusters,
            snakemake.output.model,
            snakemake.output.history,
        )
