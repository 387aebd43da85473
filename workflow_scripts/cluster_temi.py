"""Cluster the images of a set with TEMI.

Out: one row per image in the order of the embeddings (image_id, cluster, and value: its
probability); the best head's teacher; loss and used clusters of every head by epoch. A killed job
goes on from the state file beside its output.
"""

import logging

import numpy as np
import torch
from safetensors.numpy import save_file

from workflow_scripts.lib import artifacts, temi
from workflow_scripts.lib.embeddings import open_embeddings
from workflow_scripts.lib.job import job, progress


def log_epoch(row):
    logging.info(
        "step %d: loss %.4f (best head), %.0f clusters used (mean over heads)",
        row["step"], row["loss"].min(), row["used"].mean(),
    )  # fmt: skip


def history_columns(history):
    """The training history, one row per epoch and head."""
    epochs, heads = history["loss"].shape
    return {
        "epoch": np.repeat(history["epoch"], heads),
        "step": np.repeat(history["step"], heads),
        "head": np.tile(np.arange(heads, dtype=np.int32), epochs),
        "loss": history["loss"].ravel(),
        "used_clusters": history["used"].ravel(),
    }


def cluster_temi(embeddings, index, neighbours, cfg, meta, clusters, model, history):
    images = open_embeddings(embeddings, index)
    result = temi.train_temi(
        images.array(),
        artifacts.read_array(neighbours),
        cfg["k"],
        cfg,
        cfg["seed"],
        state_path=f"{model}.state",
        on_epoch=log_epoch,
    )
    blocks = progress(images.blocks(), unit="block", desc="assign")
    assigned, probability = temi.assign(blocks, result.weights, cfg["temperature"])
    objective = float(result.history["loss"][-1, result.best_head])
    meta = meta | {"objective": objective, "best_head": result.best_head}
    columns = {"image_id": images.index["image_id"], "cluster": assigned, "value": probability}
    artifacts.write_table(clusters, columns, meta)
    artifacts.write_table(history, history_columns(result.history), meta)
    with artifacts.replacing(model) as temporary:
        save_file(result.weights, temporary)


if __name__ == "__main__":
    with job(snakemake):
        torch.set_num_threads(snakemake.threads)
        cfg = snakemake.params.cfg
        cluster_temi(
            snakemake.input.embeddings,
            snakemake.input.index,
            snakemake.input.neighbours,
            cfg,
            {**snakemake.wildcards, "seed": cfg["seed"], "method": cfg["method"], "k": cfg["k"]},
            snakemake.output.clusters,
            snakemake.output.model,
            snakemake.output.history,
        )
