"""TEMI: deep clustering on frozen embeddings (Adaloglou et al., BMVC 2023, arXiv 2303.17896).

H small student heads learn to give an image and one of its nearest neighbours the same cluster,
each taught by an exponential moving average (EMA) of itself. All heads are trained at once: their
weights are stacked along a leading dimension H. Labels are never used.
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
PARTS = ("student", "teacher", "mean", "variance")
"""Fields of `_Training` that hold one tensor per parameter."""


@dataclass
class TemiResult:
    """weights: the best head's teacher, name -> float32 array (see `log_probabilities`, without H).
    best_head: its index. history: arrays over epochs, `epoch` and `step` (at its end) int32 [E],
    `loss` (epoch mean) float32 [E, H], `used` (clusters that are some image's best for the
    teacher in that epoch) int32 [E, H]."""

    weights: dict
    best_head: int
    history: dict


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


def temi_loss(student_a, student_b, teacher_a, teacher_b, prior, beta):
    """TEMI's loss of every head, [H], averaged over the batch and both directions.

    student_*, teacher_*: log-probabilities [H, B, K] of the two images of each pair; prior: class
    probabilities [H, K]. With q = exp(log-probability), for one direction
    L_h = -w log sum_c (q_student(c|a) q_teacher(c|b))^beta / p(c), and the weight
    w = mean over heads of sum_c q_teacher(c|a) q_teacher(c|b) is shared by all heads.
    The teacher must carry no gradient.
    """
    weight = (teacher_a + teacher_b).exp().sum(dim=-1).mean(dim=0)
    log_prior = prior.clamp_min(torch.finfo(prior.dtype).tiny).log().unsqueeze(1)
    forward = torch.logsumexp(beta * (student_a + teacher_b) - log_prior, dim=-1)
    backward = torch.logsumexp(beta * (student_b + teacher_a) - log_prior, dim=-1)
    return -(weight * (forward + backward)).mean(dim=1) / 2


def update_prior(prior, teacher, momentum):
    """EMA of the batch-mean teacher probabilities, in place.

    prior [H, K]; teacher: log-probabilities [H, B, K] of both views.
    """
    prior.lerp_(teacher.exp().mean(dim=1), 1 - momentum)


def update_teacher(teacher, student, momentum):
    """EMA of the student's parameters (dicts as in `log_probabilities`), in place."""
    for name, parameter in teacher.items():
        parameter.lerp_(student[name].detach(), 1 - momentum)


def update_student(student, mean, variance, lr, steps):
    """One AdamW step on every parameter that has a gradient, in place; clears the gradients.

    mean, variance: moving moments of the gradients, shaped like the student; steps: name ->
    number of updates so far. No weight decay on biases. (Written out: the first use of
    torch.optim costs every job two seconds of imports.)
    """
    for name, parameter in student.items():
        gradient, parameter.grad = parameter.grad, None
        if gradient is None:
            continue
        steps[name] += 1
        mean[name].lerp_(gradient, 1 - BETA_1)
        variance[name].mul_(BETA_2).addcmul_(gradient, gradient, value=1 - BETA_2)
        root = (variance[name] / (1 - BETA_2 ** steps[name])).sqrt_().add_(EPSILON)
        with torch.no_grad():
            if not name.endswith("bias"):
                parameter.mul_(1 - lr * WEIGHT_DECAY)
            parameter.addcdiv_(mean[name], root, value=-lr / (1 - BETA_1 ** steps[name]))


def learning_rate(step, cfg):
    """base_lr * batch_size / 256 after a linear warm-up, then cosine decay to 0 (as in the
    authors' code, which ends at 1e-6)."""
    peak = cfg["base_lr"] * cfg["batch_size"] / 256
    warmup = cfg["warmup_steps"]
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (1 + math.cos(math.pi * (step - warmup) / (cfg["steps"] - warmup))) / 2


def train_temi(embeddings, neighbours, k, cfg, seed, state_path=None, device=None, on_epoch=None):
    """Train TEMI heads and return the one with the lowest training loss.

    embeddings: [N, d], float32 or float16, may be a memory map (cast batch by batch).
    neighbours: int32 [N, m], best first and without the image itself; the first
    cfg["neighbours"] are used. k: number of clusters of every head.
    cfg: steps (of the optimiser), warmup_steps, batch_size (pairs), base_lr, heads, hidden,
    bottleneck, beta, temperature, teacher_momentum, prior_momentum, neighbours.
    state_path: where an unfinished training is kept: written at the end of an epoch, at most
    every CHECKPOINT_SECONDS, and removed at the end. A call with the same data, k, cfg and seed
    goes on from it and ends with the same bytes; any other state is ignored with a warning.
    on_epoch: called after every epoch with a dict epoch, step, loss [H], used [H].

    Our choices: the steps fall into equal epochs (to a step) of at most N // batch_size; a batch
    has at most N pairs; the best head has the lowest mean loss over the last epoch.
    Raises InputError on sizes that do not fit together.
    """
    _check_sizes(embeddings, neighbours, k, cfg)
    neighbours = neighbours[:, : cfg["neighbours"]]
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    training = _start(embeddings.shape[1], k, cfg, seed, device)
    run = _fingerprint(embeddings, neighbours, k, cfg, seed, device)
    if state_path is not None and Path(state_path).exists():
        _load(state_path, run, training)

    ends = _epoch_ends(len(embeddings), cfg)
    saved = time.monotonic()
    for epoch in range(len(training.history), len(ends)):
        row = _train_epoch(training, embeddings, neighbours, epoch, ends, cfg)
        training.history.append(row)
        if state_path is not None and time.monotonic() - saved >= CHECKPOINT_SECONDS:
            _save(state_path, run, training)
            saved = time.monotonic()
        if on_epoch is not None:
            on_epoch(row)

    history = _history_arrays(training.history)
    best = int(history["loss"][-1].argmin())
    weights = {name: value[best].cpu().numpy() for name, value in training.teacher.items()}
    if state_path is not None:
        Path(state_path).unlink(missing_ok=True)
    return TemiResult(weights, best, history)


def assign(blocks, head_weights, temperature, device=None):
    """The most probable cluster of every row under one head.

    blocks: iterable of [b, d], float32 or float16, streamed. head_weights: TemiResult.weights.
    Returns (cluster int32 [N], its probability float32 [N]).
    """
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    head = {name: torch.from_numpy(v)[None].to(device) for name, v in head_weights.items()}
    clusters, probabilities = [np.empty(0, np.int32)], [np.empty(0, np.float32)]
    with torch.inference_mode():
        for block in blocks:
            x = torch.from_numpy(np.array(block)).to(device).float()
            best, cluster = log_probabilities(head, x, temperature)[0].max(dim=-1)
            clusters.append(cluster.cpu().numpy().astype(np.int32))
            probabilities.append(best.exp().cpu().numpy())
    return np.concatenate(clusters), np.concatenate(probabilities)


@dataclass
class _Training:
    """All that changes during training; what a checkpoint holds."""

    student: dict
    teacher: dict
    mean: dict
    variance: dict
    steps: dict
    prior: torch.Tensor
    generator: torch.Generator
    history: list


def _check_sizes(embeddings, neighbours, k, cfg):
    n = len(embeddings)
    if not 2 <= k <= n:
        raise InputError(f"cannot make {k} clusters of {n} images: set `clusters` from 2 to {n}")
    if len(neighbours) != n:
        raise InputError(
            f"{len(neighbours)} rows of neighbours for {n} images: compute them on these images"
        )
    if not 1 <= cfg["neighbours"] <= neighbours.shape[1]:
        raise InputError(
            f"`neighbours` is {cfg['neighbours']}, but {neighbours.shape[1]} per image were given"
        )


def _epoch_ends(n, cfg):
    """The step after the last one of every epoch."""
    longest = n // min(cfg["batch_size"], n)
    epochs = math.ceil(cfg["steps"] / longest)
    return [(epoch + 1) * cfg["steps"] // epochs for epoch in range(epochs)]


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
    return _Training(
        student=student,
        teacher={name: value.detach().clone() for name, value in student.items()},
        mean={name: torch.zeros_like(value) for name, value in student.items()},
        variance={name: torch.zeros_like(value) for name, value in student.items()},
        steps=dict.fromkeys(student, 0),
        prior=torch.full((heads, k), 1 / k, device=device),
        generator=generator,
        history=[],
    )


def _train_epoch(training, embeddings, neighbours, epoch, ends, cfg):
    """Run the steps of one epoch over a fresh permutation; return its row of the history."""
    for name in LAST_LAYER:
        training.student[name].requires_grad_(epoch > 0)
    n, generator = len(embeddings), training.generator
    order = torch.randperm(n, generator=generator).numpy()
    batch = min(cfg["batch_size"], n)
    first, last = ends[epoch - 1] if epoch else 0, ends[epoch]
    loss_sum = torch.zeros(len(training.prior), device=training.prior.device)
    used = torch.zeros_like(training.prior, dtype=torch.bool)
    for step in range(first, last):
        rows = order[(step - first) * batch :][:batch]
        column = torch.randint(neighbours.shape[1], (batch,), generator=generator).numpy()
        pairs = np.concatenate([rows, neighbours[rows, column]])
        x = torch.from_numpy(embeddings[pairs]).to(training.prior.device).float()
        loss, clusters = _train_step(training, x, learning_rate(step, cfg), cfg)
        loss_sum += loss
        used.scatter_(1, clusters, True)
    return {
        "epoch": epoch,
        "step": last,
        "loss": (loss_sum / (last - first)).cpu().numpy(),
        "used": used.sum(dim=1).to(torch.int32).cpu().numpy(),
    }


def _train_step(training, x, lr, cfg):
    """One step on pairs x [2B, d], view a above view b.

    Returns (loss [H], the teacher's clusters of view a [H, B]).
    """
    student, teacher = training.student, training.teacher
    with torch.no_grad():
        log_teacher = log_probabilities(teacher, x, cfg["temperature"])
        update_prior(training.prior, log_teacher, cfg["prior_momentum"])
    log_student = log_probabilities(student, x, cfg["temperature"])
    student_a, student_b = log_student.chunk(2, dim=1)
    teacher_a, teacher_b = log_teacher.chunk(2, dim=1)
    loss = temi_loss(student_a, student_b, teacher_a, teacher_b, training.prior, cfg["beta"])
    loss.mean().backward()
    update_student(student, training.mean, training.variance, lr, training.steps)
    update_teacher(teacher, student, cfg["teacher_momentum"])
    return loss.detach(), teacher_a.argmax(dim=-1)


def _history_arrays(rows):
    return {
        "epoch": np.array([row["epoch"] for row in rows], dtype=np.int32),
        "step": np.array([row["step"] for row in rows], dtype=np.int32),
        "loss": np.stack([row["loss"] for row in rows]),
        "used": np.stack([row["used"] for row in rows]),
    }


def _fingerprint(embeddings, neighbours, k, cfg, seed, device):
    """What a state must share with a run to continue it: settings, shapes, and a digest of 64
    evenly spaced rows of the data."""
    sample = np.linspace(0, len(embeddings) - 1, 64).astype(np.int64)
    digest = hashlib.sha256()
    for array in (embeddings, neighbours):
        digest.update(np.ascontiguousarray(array[sample]).tobytes())
    return {
        "cfg": dict(cfg),
        "k": k,
        "seed": seed,
        "device": device.type,
        "embeddings": list(embeddings.shape),
        "neighbours": list(neighbours.shape),
        "data": digest.hexdigest(),
    }


def _save(path, run, training):
    """Write the state as safetensors, in one step; the run's fingerprint is its metadata."""
    tensors = {"prior": training.prior, "generator": training.generator.get_state()}
    for part in PARTS:
        for name, value in getattr(training, part).items():
            tensors[f"{part}/{name}"] = value.detach()
    for name, values in _history_arrays(training.history).items():
        tensors[f"history/{name}"] = torch.from_numpy(values)
    metadata = {"run": json.dumps(run, sort_keys=True), "steps": json.dumps(training.steps)}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata=metadata)


def _load(path, run, training):
    """Take over a saved state, or warn and leave the training as it is if it is another run's."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            same_run = metadata.get("run") == json.dumps(run, sort_keys=True)
            tensors = {name: file.get_tensor(name) for name in file.keys()} if same_run else {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        logging.warning("ignoring %s, starting TEMI anew: not readable (%s)", path, error)
        return
    if not same_run:
        logging.warning("ignoring %s, starting TEMI anew: other settings, seed or data", path)
        return
    training.prior.copy_(tensors["prior"])
    training.generator.set_state(tensors["generator"])
    training.steps.update(json.loads(metadata["steps"]))
    with torch.no_grad():
        for part in PARTS:
            for name, value in getattr(training, part).items():
                value.copy_(tensors[f"{part}/{name}"])
    columns = {
        name: tensors[f"history/{name}"].numpy() for name in ("epoch", "step", "loss", "used")
    }
    training.history += [
        {name: values[i] for name, values in columns.items()} for i in range(len(columns["epoch"]))
    ]
