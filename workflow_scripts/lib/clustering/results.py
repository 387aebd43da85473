"""What a clustering job works on and writes, the same for every method."""

import json
import logging
import resource
import time

import numpy as np
import pyarrow as pa
from safetensors.numpy import save_file

from workflow_scripts.lib import artifacts
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.job import progress


def number_of_clusters(k, images):
    """k, or for "classes" the number of distinct labels, as the protocol of arXiv 2406.01203 wants.

    The only thing that a clustering may know of labels. Raises InputError if none is known.
    """
    if k != "classes":
        return k
    classes = len(set(images.labels) - {None})
    if not classes:
        raise InputError("k: classes needs labels, and no image has one: set k to a number")
    return classes


def write_clusters(outputs, images, assigned, value, weights, history, meta, started):
    """Write one clustering.

    outputs: paths clusters, model, history and cost. assigned: int32 [N]; value: float32 [N], how
    well an image fits; weights: name -> float32 array, what assigns further images; history:
    columns or a table of the training; meta: what made it, with the objective that selected it;
    started: time.monotonic() before the first step. The cost alone differs from run to run.
    """
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    cost = {"seconds": round(time.monotonic() - started, 2), "peak_memory_mb": round(peak)}
    artifacts.write_text(outputs.cost, json.dumps(cost) + "\n")
    columns = {"image_id": images.index["image_id"], "cluster": assigned, "value": value}
    artifacts.write_table(outputs.clusters, columns, meta)
    artifacts.write_table(outputs.history, history, meta)
    with artifacts.replacing(outputs.model) as temporary:
        save_file(weights, temporary)


def train_and_write(train, assign, images, meta, outputs):
    """Train heads and write the best one's clustering.

    train: function (state_path, on_epoch) -> `heads.Result`; a killed job goes on from the state
    file beside its output. assign: function (blocks, weights) -> (clusters, probabilities).
    """
    started = time.monotonic()
    result = train(f"{outputs.model}.state", log_epoch)
    blocks = progress(images.blocks(), unit="block", desc="assign")
    assigned, probability = assign(blocks, result.weights)
    objective = float(result.history["loss"][-1, result.best_head])
    meta = meta | {"objective": objective, "best_head": result.best_head}
    history = head_history(result.history)
    weights = result.weights
    write_clusters(outputs, images, assigned, probability, weights, history, meta, started)


def log_epoch(row):
    logging.info(
        "step %d: loss %.4f (best head), %.0f clusters used (mean over heads)",
        row["step"], row["loss"].min(), row["used"].mean(),
    )  # fmt: skip


def head_history(history):
    """The training history as columns, one row per epoch and head."""
    epochs, heads = history["loss"].shape
    return {
        "epoch": np.repeat(history["epoch"], heads),
        "step": np.repeat(history["step"], heads),
        "head": np.tile(np.arange(heads, dtype=np.int32), epochs),
        "loss": history["loss"].ravel(),
        "used_clusters": history["used"].ravel(),
    }


def restart_history(curve):
    """The history of k-means as a table, one row per restart and iteration."""
    return pa.Table.from_pylist(curve)
