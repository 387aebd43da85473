"""Clustering heads on frozen embeddings, taught by a moving average of themselves.

What TEMI and SCANv2 share: H student heads learn to give an image and one of its nearest
neighbours the same cluster; the teacher of each is an exponential moving average (EMA) of it. All
heads are trained at once: their weights are stacked along a leading dimension H. A method is a
loss (see `train_heads`). Labels are never used.
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
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from workflow_scripts.lib.artifacts import replacing
from workflow_scripts.lib.errors import InputError

CHECKPOINT_SECONDS = 30
WEIGHT_DECAY = 1e-4
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
LAST_LAYER = ("prototypes", "scale")
"""Parameters of the weight-normed last layer, frozen in the first epoch."""


@dataclass
class Result:
    """A trained clustering.

    weights: of the best head, name -> float32 array (for TEMI and SCANv2 its teacher, see
    `log_probabilities`, without H). best_head: its index. history: arrays over epochs, `epoch` and
    `step` (at its end) int32 [E], `loss` (epoch mean) float32 [E, H], `used` (clusters that were
    some image's best in that epoch, for the teacher where there is one) int32 [E, H].
    """

    weights: dict
    best_head: int
    history: dict


@dataclass
class Training:
    """All that changes during training; what a checkpoint holds.

    tensors: part -> name -> tensor, changed in place. steps: parameter -> number of its updates.
    history: one dict epoch, step, loss [H], used [H] per finished epoch.
    """

    tensors: dict
    steps: dict
    generator: torch.Generator
    history: list


def default_device(device=None):
    """The given device; else the GPU if there is one, else the CPU."""
    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))


# ---- heads and their updates ----------------------------------------------------------------


def log_probabilities(heads, x, temperature):
    """Cluster log-probabilities [H, B, K] of embeddings x [B, d]: Linear - GELU - Linear -
    L2 norm - weight-normed Linear without bias - log-softmax(logits / temperature).

    heads: hidden_weight [H, d, hidden], hidden_bias [H, 1, hidden], bottleneck_weight
    [H, hidden, bottleneck], bottleneck_bias [H, 1, bottleneck], prototypes [H, K, bottleneck]
    (directions of the last layer), scale [H, K, 1] (their norms).
    """
    x = x.expand(len(heads["scale"]), -1, -1)
    x = F.gelu(torch.baddbmm(heads["hidden_bias"], x, heads["hidden_weight"]))
    x = torch.baddbmm(heads["bottleneck_bias"], x, heads["bottleneck_weight"])
    last_layer = heads["scale"] / temperature * F.normalize(heads["prototypes"], dim=-1)
    return F.log_softmax(torch.bmm(F.normalize(x, dim=-1), last_layer.mT), dim=-1)


def update_teacher(teacher, student, momentum):
    """EMA of the student's parameters (dicts as in `log_probabilities`), in place."""
    for name, parameter in teacher.items():
        parameter.lerp_(student[name].detach(), 1 - momentum)


def adamw_step(parameters, mean, variance, lr, steps, weight_decay=WEIGHT_DECAY):
    """One AdamW step on every parameter that has a gradient, in place; clears the gradients.

    mean, variance: moving moments of the gradients, shaped like the parameters; steps: name ->
    number of updates so far. No weight decay on biases. (Written out: the first use of
    torch.optim costs every job two seconds of imports.)
    """
    for name, parameter in parameters.items():
        gradient, parameter.grad = parameter.grad, None
        if gradient is None:
            continue
        steps[name] += 1
        mean[name].lerp_(gradient, 1 - BETA_1)
        variance[name].mul_(BETA_2).addcmul_(gradient, gradient, value=1 - BETA_2)
        root = (variance[name] / (1 - BETA_2 ** steps[name])).sqrt_().add_(EPSILON)
        with torch.no_grad():
            if not name.endswith("bias"):
                parameter.mul_(1 - lr * weight_decay)
            parameter.addcdiv_(mean[name], root, value=-lr / (1 - BETA_1 ** steps[name]))


def learning_rate(step, cfg):
    """base_lr * batch_size / 256 after a linear warm-up, then cosine decay to 0 (as in TEMI's
    public code, which ends at 1e-6)."""
    peak = cfg["base_lr"] * cfg["batch_size"] / 256
    warmup = cfg["warmup_steps"]
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (1 + math.cos(math.pi * (step - warmup) / (cfg["steps"] - warmup))) / 2


# ---- training and assignment ----------------------------------------------------------------


def train_heads(
    loss, embeddings, neighbours, k, cfg, seed, state_path=None, device=None, on_epoch=None
):
    """Train heads with a loss and return the one whose loss is lowest.

    loss: called in every step with (student, teacher, prior, cfg), where student and teacher are
        log-probabilities [H, 2B, K] of B images above their B neighbours, the teacher's without
        gradient, and prior [H, K] are running class probabilities that begin at 1 / K and that
        the loss updates in place; gives the loss of every head [H]. A checkpoint knows it by the
        module that defines it.
    embeddings: [N, d], float32 or float16, may be a memory map (cast batch by batch).
    neighbours: int32 [N, m], best first and without the image itself; the first
    cfg["neighbours"] are used. k: number of clusters of every head.
    cfg: steps (of the optimiser), warmup_steps, batch_size (pairs), base_lr, heads, hidden,
    bottleneck, temperature, teacher_momentum, neighbours, and what the loss needs.
    state_path: where an unfinished training is kept: written at the end of an epoch, at most
    every CHECKPOINT_SECONDS, and removed at the end. A call with the same loss, data, k, cfg and
    seed goes on from it and ends with the same bytes; any other state is ignored with a warning.
    on_epoch: called after every epoch with a dict epoch, step, loss [H], used [H].
    Returns a Result. Raises InputError on sizes that do not fit together.

    Our choices: the steps fall into equal epochs (to a step) of at most N // batch_size; a batch
    has at most N pairs; the best head has the lowest mean loss over the last epoch.
    """
    check_clusters(k, len(embeddings))
    _check_neighbours(len(embeddings), neighbours, cfg)
    neighbours = neighbours[:, : cfg["neighbours"]]
    device = default_device(device)
    training = _start(embeddings.shape[1], k, cfg, seed, device)
    run = fingerprint(loss.__module__, (embeddings, neighbours), k, cfg, seed, device)

    def train_epoch(epoch, first, last):
        return _train_epoch(training, loss, embeddings, neighbours, epoch, first, last, cfg)

    ends = epoch_ends(len(embeddings), cfg)
    history = run_epochs(training, train_epoch, ends, run, state_path, on_epoch)
    best = best_head(history)
    teacher = training.tensors["teacher"].items()
    return Result({name: value[best].cpu().numpy() for name, value in teacher}, best, history)


def assign(blocks, head_weights, temperature, device=None):
    """The most probable cluster of every row under one head.

    blocks: iterable of [b, d], float32 or float16, streamed. head_weights: Result.weights.
    Returns (cluster int32 [N], its probability float32 [N]).
    """
    device = default_device(device)
    head = {name: torch.from_numpy(v)[None].to(device) for name, v in head_weights.items()}
    return most_probable(
        log_probabilities(head, to_tensor(block, device), temperature)[0] for block in blocks
    )


def most_probable(blocks):
    """The best cluster (int32 [N]) and its probability (float32 [N]) of every row.

    blocks: iterable of tensors of log-probabilities [b, K], streamed.
    """
    clusters, probabilities = [np.empty(0, np.int32)], [np.empty(0, np.float32)]
    with torch.inference_mode():
        for block in blocks:
            best, cluster = block.max(dim=-1)
            clusters.append(cluster.cpu().numpy().astype(np.int32))
            probabilities.append(best.exp().cpu().numpy())
    return np.concatenate(clusters), np.concatenate(probabilities)


def _check_neighbours(n, neighbours, cfg):
    if len(neighbours) != n:
        raise InputError(
            f"{len(neighbours)} rows of neighbours for {n} images: compute them on these images"
        )
    if not 1 <= cfg["neighbours"] <= neighbours.shape[1]:
        raise InputError(
            f"`neighbours` is {cfg['neighbours']}, but {neighbours.shape[1]} per image were given"
        )


def _start(d, k, cfg, seed, device):
    """Heads from a truncated normal (0.02), biases 0, last layer's norms 1; teacher = student."""
    generator = torch.Generator().manual_seed(seed)
    heads, hidden, bottleneck = cfg["heads"], cfg["hidden"], cfg["bottleneck"]

    def weight(*shape):
        return torch.nn.init.trunc_normal_(torch.empty(shape), std=0.02, generator=generator)

    student = {
        "hidden_weight": weight(heads, d, hidden),
        "hidden_bias": torch.zeros(heads, 1, hidden),
        "bottleneck_weight": weight(heads, hidden, bottleneck),
        "bottleneck_bias": torch.zeros(heads, 1, bottleneck),
        "prototypes": weight(heads, k, bottleneck),
        "scale": torch.ones(heads, k, 1),
    }
    student = {name: value.to(device).requires_grad_() for name, value in student.items()}
    tensors = {
        "student": student,
        "teacher": {name: value.detach().clone() for name, value in student.items()},
        "mean": zeros_like(student),
        "variance": zeros_like(student),
        "loss": {"prior": torch.full((heads, k), 1 / k, device=device)},
    }
    return Training(tensors, dict.fromkeys(student, 0), generator, [])


def _train_epoch(training, loss, embeddings, neighbours, epoch, first, last, cfg):
    """Run the steps of one epoch over a fresh permutation; return its row of the history."""
    for name in LAST_LAYER:
        training.tensors["student"][name].requires_grad_(epoch > 0)
    generator, prior = training.generator, training.tensors["loss"]["prior"]
    log = EpochLog(prior)
    for step, rows in batches(len(embeddings), first, last, cfg["batch_size"], generator):
        column = torch.randint(neighbours.shape[1], (len(rows),), generator=generator).numpy()
        pairs = np.concatenate([rows, neighbours[rows, column]])
        x = to_tensor(embeddings[pairs], prior.device)
        log.add(*_train_step(training, loss, x, learning_rate(step, cfg), cfg))
    return log.row(epoch, first, last)


def _train_step(training, loss, x, lr, cfg):
    """One step on pairs x [2B, d], B images above their neighbours.

    Returns (loss [H], the teacher's clusters of the images [H, B]).
    """
    parts = training.tensors
    with torch.no_grad():
        teacher = log_probabilities(parts["teacher"], x, cfg["temperature"])
    student = log_probabilities(parts["student"], x, cfg["temperature"])
    losses = loss(student, teacher, parts["loss"]["prior"], cfg)
    losses.mean().backward()
    adamw_step(parts["student"], parts["mean"], parts["variance"], lr, training.steps)
    update_teacher(parts["teacher"], parts["student"], cfg["teacher_momentum"])
    return losses.detach(), teacher[:, : len(x) // 2].argmax(dim=-1)


# ---- what any training by epochs needs ------------------------------------------------------


def check_clusters(k, n):
    """Raise InputError unless n images can be put into k clusters, two or more."""
    if not 2 <= k <= n:
        raise InputError(f"cannot make {k} clusters of {n} images: set `clusters` from 2 to {n}")


def to_tensor(rows, device):
    """A float32 tensor of array rows, on the device; the rows are copied first."""
    return torch.from_numpy(np.array(rows)).to(device).float()


def zeros_like(tensors):
    """Zeros in the shapes of a dict of tensors, without gradient."""
    return {name: torch.zeros_like(value) for name, value in tensors.items()}


def epoch_ends(n, cfg):
    """The step after the last one of every epoch."""
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
        """One step's loss [H] and clusters [H, B]."""
        self.loss += loss
        self.used.scatter_(1, clusters, True)

    def row(self, epoch, first, last):
        """The epoch's row of the history."""
        return {
            "epoch": epoch,
            "step": last,
            "loss": (self.loss / (last - first)).cpu().numpy(),
            "used": self.used.sum(dim=1).to(torch.int32).cpu().numpy(),
        }


def run_epochs(training, train_epoch, ends, run, state_path=None, on_epoch=None):
    """Go on with a training, from its saved state if there is one of the same run, to its end.

    train_epoch(epoch, first step, step after the last) changes `training` in place and returns
    the epoch's row; ends: see `epoch_ends`; run: see `fingerprint`; state_path, on_epoch: see
    `train_heads`. Returns the history as in Result.
    """
    if state_path is not None and Path(state_path).exists():
        _load(state_path, run, training)
    saved = time.monotonic()
    for epoch in range(len(training.history), len(ends)):
        row = train_epoch(epoch, ends[epoch - 1] if epoch else 0, ends[epoch])
        training.history.append(row)
        if state_path is not None and time.monotonic() - saved >= CHECKPOINT_SECONDS:
            _save(state_path, run, training)
            saved = time.monotonic()
        if on_epoch is not None:
            on_epoch(row)
    if state_path is not None:
        Path(state_path).unlink(missing_ok=True)
    return _history_arrays(training.history)


def fingerprint(method, arrays, k, cfg, seed, device):
    """What a state must share with a run to continue it, as JSON: settings, shapes, and a digest
    of 64 evenly spaced rows of the data."""
    sample = np.linspace(0, len(arrays[0]) - 1, 64).astype(np.int64)
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array[sample]).tobytes())
    run = {
        "method": method,
        "cfg": dict(cfg),
        "k": k,
        "seed": seed,
        "device": device.type,
        "shapes": [list(array.shape) for array in arrays],
        "data": digest.hexdigest(),
    }
    return json.dumps(run, sort_keys=True)


def best_head(history):
    """The head with the lowest mean loss over the last epoch; a NaN never wins.

    Raises InputError if no head has a finite loss.
    """
    loss = history["loss"][-1]
    if not np.isfinite(loss).any():
        raise InputError(
            "the training diverged, no head has a finite loss: lower the learning rate, and look "
            "for NaN or infinite values in the embeddings"
        )
    return int(np.where(np.isfinite(loss), loss, np.inf).argmin())


def _history_arrays(rows):
    return {
        "epoch": np.array([row["epoch"] for row in rows], dtype=np.int32),
        "step": np.array([row["step"] for row in rows], dtype=np.int32),
        "loss": np.stack([row["loss"] for row in rows]),
        "used": np.stack([row["used"] for row in rows]),
    }


def _save(path, run, training):
    """Write the state as safetensors, in one step; the run's fingerprint is its metadata."""
    tensors = {"generator": training.generator.get_state()}
    for part, values in training.tensors.items():
        tensors |= {f"{part}/{name}": value.detach() for name, value in values.items()}
    for name, values in _history_arrays(training.history).items():
        tensors[f"history/{name}"] = torch.from_numpy(values)
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={"run": run, "steps": json.dumps(training.steps)})


def _load(path, run, training):
    """Take over a saved state, or warn and leave the training as it is if it is another run's."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            same_run = metadata.get("run") == run
            tensors = {name: file.get_tensor(name) for name in file.keys()} if same_run else {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        logging.warning("ignoring %s, training starts anew: not readable (%s)", path, error)
        return
    if not same_run:
        logging.warning("ignoring %s, training starts anew: other settings, seed or data", path)
        return
    training.generator.set_state(tensors["generator"])
    training.steps.update(json.loads(metadata["steps"]))
    with torch.no_grad():
        for part, values in training.tensors.items():
            for name, value in values.items():
                value.copy_(tensors[f"{part}/{name}"])
    columns = {
        name: tensors[f"history/{name}"].numpy() for name in ("epoch", "step", "loss", "used")
    }
    training.history += [
        {name: values[i] for name, values in columns.items()} for i in range(len(columns["epoch"]))
    ]
