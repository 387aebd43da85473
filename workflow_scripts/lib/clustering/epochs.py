"""What every clustering that torch trains by epochs needs, whatever its loss.

Steps, epochs and batches; the history; the state of an unfinished training; the choice of the best
head; the most probable clusters. Several heads are trained at once, from different random weights:
their tensors are stacked along a leading dimension H.
"""

import hashlib
import json
import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from workflow_scripts.lib import distributed
from workflow_scripts.lib.clustering import shared
from workflow_scripts.lib.clustering.methods import Clustering
from workflow_scripts.lib.clustering.states import read_state, write_state
from workflow_scripts.lib.device import resolved, torch_device
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.job import progress

CHECKPOINT_SECONDS = 30
HISTORY = {"epoch": np.int32, "step": np.int32, "loss": np.float32, "used": np.int32}


@dataclass
class Training:
    """All that changes during training; what a saved state contains.

    tensors: part -> name -> tensor, changed in place. optimisers: part -> the optimiser of its
    tensors. generator: draws the batches. history: one dict epoch, step (at its end), loss [H]
    (epoch mean), used [H] (clusters that were some image's best in that epoch, for the teacher
    where there is one) per finished epoch.
    """

    tensors: dict
    optimisers: dict
    generator: torch.Generator
    history: list


def product_type(cfg, device):
    """The torch.dtype of matrix products in training, by cfg["precision"] (`device.resolved`)."""
    return getattr(torch, resolved(cfg["precision"], device))


def products_in(dtype, device):
    """A context in which torch casts matrices to this dtype before it multiplies them.

    Weights, and all that the code casts to float, stay float32.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=dtype is torch.bfloat16)


# ---- epochs and batches ---------------------------------------------------------------------


def run_epochs(training, train_epoch, task, arrays):
    """Go on with a training, from its saved state if there is one of the same run, to its end.

    train_epoch(epoch, first step, step after the last) changes `training` in place and returns
    the epoch's row of the history. task: a `Task`; its cfg has steps and batch_size. arrays: the
    data that is trained on, [N, ...] each.
    The state is written at the end of an epoch, at most every CHECKPOINT_SECONDS, and removed at
    the end. A run with the same code, data, k and cfg goes on from it and ends with the same
    bytes; any other state is ignored with a warning. Of several processes the first one writes.
    """
    run = fingerprint(task, arrays)
    if Path(task.state_path).exists():
        _load(task.state_path, run, training)
    ends = epoch_ends(len(arrays[0]), task.cfg)
    saved = time.monotonic()
    done = len(training.history)
    epochs = progress(range(done, len(ends)), initial=done, total=len(ends), unit="epoch")
    for epoch in epochs:
        row = train_epoch(epoch, ends[epoch - 1] if epoch else 0, ends[epoch])
        training.history.append(row)
        if time.monotonic() - saved >= CHECKPOINT_SECONDS and not distributed.rank():
            _save(task.state_path, run, training)
            saved = time.monotonic()
        log_epoch(row)
    if not distributed.rank():
        Path(task.state_path).unlink(missing_ok=True)


def epoch_ends(n, cfg):
    """The step after the last one of every epoch. The cfg["steps"] fall into equal epochs (to a
    step) of at most n // batch_size steps (ours)."""
    longest = n // min(cfg["batch_size"], n)
    epochs = math.ceil(cfg["steps"] / longest)
    return [(epoch + 1) * cfg["steps"] // epochs for epoch in range(epochs)]


def batches(n, first, last, size, generator):
    """Yield (step, rows) from step `first` to before `last`, rows from a fresh permutation."""
    order = torch.randperm(n, generator=generator).numpy()
    size = min(size, n)
    for step in range(first, last):
        yield step, order[(step - first) * size :][:size]


class EpochLog:
    """Mean loss and used clusters of every head over an epoch; like: a tensor [H, K]."""

    def __init__(self, like):
        self.loss = torch.zeros(len(like), device=like.device)
        self.used = torch.zeros_like(like, dtype=torch.bool)

    def add(self, loss, clusters):
        """One step's loss [H], times the process's share of the batch, and clusters [H, B]."""
        self.loss += loss
        self.used.scatter_(1, clusters, True)

    def row(self, epoch, first, last):
        """The epoch's row of the history."""
        shared.sum_log(self.loss, self.used)
        return {
            "epoch": epoch,
            "step": last,
            "loss": (self.loss / (last - first)).cpu().numpy(),
            "used": self.used.sum(dim=1).to(torch.int32).cpu().numpy(),
        }


def log_epoch(row):
    logging.info(
        "step %d: loss %.4f (best head), %.0f clusters used (mean over heads)",
        row["step"], row["loss"].min(), row["used"].mean(),
    )  # fmt: skip


# ---- the result -----------------------------------------------------------------------------


def best_clustering(parameters, history):
    """The Clustering of the best head.

    parameters: name -> tensor [H, ...], of which it takes the best head's. history: see `Training`.
    Its columns have one row per epoch and head: epoch, step, head, used_clusters int32; loss
    float32. meta: objective, the best head's mean loss over the last epoch, and best_head.
    """
    rows = _history_arrays(history)
    best = best_head(rows["loss"][-1])
    epochs, heads = rows["loss"].shape
    columns = {
        "epoch": np.repeat(rows["epoch"], heads),
        "step": np.repeat(rows["step"], heads),
        "head": np.tile(np.arange(heads, dtype=np.int32), epochs),
        "loss": rows["loss"].ravel(),
        "used_clusters": rows["used"].ravel(),
    }
    weights = {name: value[best].detach().cpu().numpy() for name, value in parameters.items()}
    meta = {"objective": float(rows["loss"][-1, best]), "best_head": best}
    return Clustering(weights, meta, columns)


def best_head(loss):
    """The head with the lowest loss, float32 [H]; a NaN never wins.

    Raises InputError if no head has a finite loss.
    """
    if not np.isfinite(loss).any():
        raise InputError(
            "the training diverged, no head has a finite loss: lower the learning rate, and look "
            "for NaN or infinite values in the embeddings"
        )
    return int(np.where(np.isfinite(loss), loss, np.inf).argmin())


def most_probable(blocks):
    """The best cluster (int32 [N]) and its probability (float32 [N]) of every row.

    blocks: iterable of tensors of log-probabilities [b, K], streamed. What is found is kept in
    two buffers that grow by half: small arrays between the large blocks would keep the memory of
    these from being used again.
    """
    clusters, probabilities, n = np.empty(0, np.int32), np.empty(0, np.float32), 0
    for block in blocks:
        best, cluster = block.max(dim=-1)
        rows, n = slice(n, n + len(block)), n + len(block)
        if n > len(clusters):
            clusters.resize(n + n // 2, refcheck=False)
            probabilities.resize(n + n // 2, refcheck=False)
        clusters[rows], probabilities[rows] = cluster.cpu().numpy(), best.exp().cpu().numpy()
    return clusters[:n], probabilities[:n]


# ---- the state of an unfinished training ----------------------------------------------------


def fingerprint(task, arrays):
    """What a state must share with a run to continue it, as JSON: code, settings, shapes, what the
    files say of the data, and a digest of 64 evenly spaced rows of it."""
    sample = np.linspace(0, len(arrays[0]) - 1, 64).astype(np.int64)
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array[sample]).tobytes())
    run = {
        "code": task.code,
        "cfg": task.cfg,
        "k": task.k,
        "device": torch_device().type,
        "precision": resolved(task.cfg["precision"], torch_device()),
        "processes": distributed.size(),
        "shapes": [list(array.shape) for array in arrays],
        "data": task.data,
        "rows": digest.hexdigest(),
    }
    return json.dumps(run, sort_keys=True)


def _history_arrays(history):
    """The history as arrays: epoch and step int32 [E], loss float32 [E, H], used int32 [E, H]."""
    return {name: np.array([row[name] for row in history], HISTORY[name]) for name in HISTORY}


def _save(path, run, training):
    """Write the state of a training; see `states`."""
    tensors = {"generator": training.generator.get_state()}
    for part, values in training.tensors.items():
        tensors |= {f"tensor/{part}/{name}": value.detach() for name, value in values.items()}
    for part, optimiser in training.optimisers.items():
        for number, values in optimiser.state_dict()["state"].items():
            tensors |= {f"moment/{part}/{number}/{name}": v for name, v in values.items()}
    arrays = {name: tensor.numpy(force=True) for name, tensor in tensors.items()}
    for name, values in _history_arrays(training.history).items():
        arrays[f"history/{name}"] = values
    write_state(path, run, arrays)


def _load(path, run, training):
    """Take over a saved state, or leave the training as it is if that is another run's."""
    arrays = read_state(path, run, "training")
    if not arrays:
        return
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    training.generator.set_state(tensors["generator"])
    with torch.no_grad():
        for part, values in training.tensors.items():
            for name, value in values.items():
                value.copy_(tensors[f"tensor/{part}/{name}"])
    for part, optimiser in training.optimisers.items():
        state = _optimiser_state(tensors, f"moment/{part}/")
        optimiser.load_state_dict(optimiser.state_dict() | {"state": state})
    columns = {name: arrays[f"history/{name}"] for name in HISTORY}
    training.history += [
        dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
    ]


def _optimiser_state(tensors, prefix):
    """Number of a parameter -> name -> tensor, as an optimiser's `state_dict` has them."""
    state = {}
    for key in tensors:
        if key.startswith(prefix):
            number, name = key.removeprefix(prefix).split("/")
            state.setdefault(int(number), {})[name] = tensors[key]
    return state
