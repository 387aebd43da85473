"""Clustering heads on frozen embeddings, taught by a moving average of themselves.

What TEMI and SCANv2 share: H student heads learn to give an image and one of its nearest
neighbours the same cluster; the teacher of each is an exponential moving average (EMA) of it. All
heads are trained at once: their weights are stacked along a leading dimension H. A method is a
loss (see `train_heads`). Labels are never used.
"""

import math
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F

from workflow_scripts.lib.clustering import epochs, gather, shared
from workflow_scripts.lib.clustering.methods import check_k
from workflow_scripts.lib.device import torch_device
from workflow_scripts.lib.errors import InputError

WEIGHT_DECAY = 1e-4
LAST_LAYER = ("prototypes", "scale")
"""Parameters of the weight-normed last layer, frozen in the first epoch."""


# ---- heads and their updates ----------------------------------------------------------------


def log_probabilities(heads, x, temperature):
    """Cluster log-probabilities [H, B, K] of embeddings x [B, d]: Linear - GELU - Linear -
    L2 norm - weight-normed Linear without bias - log-softmax(logits / temperature).

    heads: hidden_weight [H, d, hidden], hidden_bias [H, 1, hidden], bottleneck_weight
    [H, hidden, bottleneck], bottleneck_bias [H, 1, bottleneck], prototypes [H, K, bottleneck]
    (directions of the last layer), scale [H, K, 1] (their norms). In `epochs.products_in`
    bfloat16 the three products are; norms and the softmax stay float32.
    """
    x = x.expand(len(heads["scale"]), -1, -1)
    x = F.gelu(torch.baddbmm(heads["hidden_bias"], x, heads["hidden_weight"]))
    x = torch.baddbmm(heads["bottleneck_bias"], x, heads["bottleneck_weight"]).float()
    last_layer = heads["scale"] / temperature * F.normalize(heads["prototypes"], dim=-1)
    logits = torch.bmm(F.normalize(x, dim=-1), last_layer.mT).float()
    return F.log_softmax(logits, dim=-1)


def head_by_head(heads, x, temperature):
    """`log_probabilities`, on a CPU one head after the other: their tensors are then small enough
    for its cache and for memory that is used again."""
    if x.is_cuda:
        return log_probabilities(heads, x, temperature)
    parts = zip(*(value.split(1) for value in heads.values()), strict=True)
    single = (dict(zip(heads, part, strict=True)) for part in parts)
    return torch.cat([log_probabilities(head, x, temperature) for head in single])


def update_teacher(teacher, student, momentum):
    """EMA of the student's parameters (dicts as in `log_probabilities`), in place."""
    for name, parameter in teacher.items():
        parameter.lerp_(student[name].detach(), 1 - momentum)


def adamw(student):
    """AdamW on the parameters of all heads (a dict as in `log_probabilities`), without weight
    decay on biases. Every step sets the learning rate (see `learning_rate`)."""
    biases = [value for name, value in student.items() if name.endswith("bias")]
    others = [value for name, value in student.items() if not name.endswith("bias")]
    groups = [{"params": others}, {"params": biases, "weight_decay": 0}]
    return torch.optim.AdamW(groups, weight_decay=WEIGHT_DECAY, fused=others[0].is_cuda)


def adamw_step(optimiser, lr):
    """One step with this learning rate on every parameter that has a gradient; clears these."""
    for group in optimiser.param_groups:
        group["lr"] = lr
    optimiser.step()
    optimiser.zero_grad()


def learning_rate(step, cfg):
    """Linear warm-up to base_lr, then cosine to final_lr, both times batch_size / 256.

    Without final_lr the rate stays constant, as in TEMI's public commands (min_lr equal to lr).
    """
    scale, warmup = cfg["batch_size"] / 256, cfg["warmup_steps"]
    peak, final = cfg["base_lr"] * scale, cfg.get("final_lr", cfg["base_lr"]) * scale
    if step < warmup:
        return peak * (step + 1) / warmup
    way = (step - warmup) / (cfg["steps"] - warmup)
    return final + (peak - final) * (1 + math.cos(math.pi * way)) / 2


# ---- training -------------------------------------------------------------------------------


def train_heads(loss, task):
    """Train heads with a loss; the Clustering of the one whose loss is lowest, with the weights of
    its teacher (see `log_probabilities`, without H).

    loss: called in every step with (student, teacher, prior, part, cfg), where student and teacher
        are log-probabilities [H, 2B, K] of B images above their B neighbours, the teacher's without
        gradient, prior [H, K] are running class probabilities that begin at 1 / K and that the
        loss updates in place, and part is this process's share of the batch (`shared`); gives the
        loss of every head [H].
    task: a `Task` with neighbours, of which the first cfg["neighbours"] are used. Embeddings are
        cast batch by batch. task.cfg: steps (of the optimiser), warmup_steps, batch_size (pairs),
        base_lr, perhaps final_lr, standardise (see `standardisation`), heads, hidden, bottleneck,
        temperature, teacher_momentum, neighbours, precision, seed, and what the loss needs.
    Raises InputError on sizes that do not fit together.

    Our choices: a batch has at most N pairs; the best head has the lowest mean loss over the last
    epoch.
    """
    embeddings, cfg = task.images.joined(), task.cfg
    check_k(task.k, len(embeddings), least=2)
    _check_neighbours(len(embeddings), task.neighbours, cfg)
    neighbours = task.neighbours[:, : cfg["neighbours"]]
    shared.join(min(cfg["batch_size"], len(embeddings)))
    training = _start(task.images, task.k, cfg)
    features = gather.resident([embeddings], torch_device())

    def train_epoch(epoch, first, last):
        return _train_epoch(training, loss, features, neighbours, epoch, first, last, cfg)

    epochs.run_epochs(training, train_epoch, task, (embeddings, neighbours))
    found = epochs.best_clustering(training.tensors["teacher"], training.history)
    return replace(found, weights=folded(found.weights, training.tensors["standard"]))


def _check_neighbours(n, neighbours, cfg):
    if len(neighbours) != n:
        raise InputError(
            f"{len(neighbours)} rows of neighbours for {n} images: compute them on these images"
        )
    if not 1 <= cfg["neighbours"] <= neighbours.shape[1]:
        raise InputError(
            f"`neighbours` is {cfg['neighbours']}, but {neighbours.shape[1]} per image were given"
        )


def standardisation(images, wanted):
    """Mean and standard deviation of every dimension over all images: two tensors, float32 [d].

    images: `Embeddings`, read twice in blocks. A dimension that does not vary has deviation 1.
    Unless it is wanted, 0 and 1, which leave embeddings as they are.
    """
    if not wanted:
        return {"mean": torch.zeros(images.dim), "deviation": torch.ones(images.dim)}
    mean = sum(block.sum(axis=0, dtype=np.float64) for block in images.blocks()) / images.rows
    squares = sum(((block - mean) ** 2).sum(axis=0) for block in images.blocks())
    deviation = np.sqrt(squares / images.rows)
    deviation[deviation < 1e-6] = 1  # below the resolution of float16
    return {
        "mean": torch.from_numpy(mean).float(),
        "deviation": torch.from_numpy(deviation).float(),
    }


def folded(weights, standard):
    """A head's weights for embeddings as they are, of those for standardised ones: its first layer
    takes the mean off and divides by the deviation.

    weights: as in `log_probabilities`, arrays without H. standard: as `standardisation` gives it.
    """
    mean, deviation = (standard[name].double().cpu().numpy() for name in ("mean", "deviation"))
    first = weights["hidden_weight"] / deviation[:, None]
    bias = weights["hidden_bias"] - mean @ first
    layer = {"hidden_weight": first, "hidden_bias": bias}
    return weights | {name: value.astype(np.float32) for name, value in layer.items()}


def _start(images, k, cfg):
    """Untrained heads, as in TEMI's public code; teacher = student.

    A truncated normal (0.02) and biases 0, but for the last layer, which keeps the default of a
    linear layer: uniform within 1 / sqrt(bottleneck), so that its directions have a norm of .58 and
    turn as slowly as theirs under AdamW; its scales are 1.
    """
    generator = torch.Generator().manual_seed(cfg["seed"])
    device = torch_device()
    d, heads, hidden, bottleneck = images.dim, cfg["heads"], cfg["hidden"], cfg["bottleneck"]
    standard = standardisation(images, cfg["standardise"])

    def weight(*shape):
        return torch.nn.init.trunc_normal_(torch.empty(shape), std=0.02, generator=generator)

    student = {
        "hidden_weight": weight(heads, d, hidden),
        "hidden_bias": torch.zeros(heads, 1, hidden),
        "bottleneck_weight": weight(heads, hidden, bottleneck),
        "bottleneck_bias": torch.zeros(heads, 1, bottleneck),
        "prototypes": torch.empty(heads, k, bottleneck).uniform_(
            -(bottleneck**-0.5), bottleneck**-0.5, generator=generator
        ),
        "scale": torch.ones(heads, k, 1),
    }
    student = {name: value.to(device).requires_grad_() for name, value in student.items()}
    tensors = {
        "student": student,
        "teacher": {name: value.detach().clone() for name, value in student.items()},
        "loss": {"prior": torch.full((heads, k), 1 / k, device=device)},
        "standard": {name: value.to(device) for name, value in standard.items()},
    }
    return epochs.Training(tensors, {"student": adamw(student)}, generator, [])


def _train_epoch(training, loss, features, neighbours, epoch, first, last, cfg):
    """Run the steps of one epoch over a fresh permutation; return its row of the history.

    features: a list of the embeddings alone, as `gather.batches` takes them.
    """
    for name in LAST_LAYER:
        training.tensors["student"][name].requires_grad_(epoch > 0)
    generator, prior = training.generator, training.tensors["loss"]["prior"]
    mean, deviation = training.tensors["standard"].values()
    log = epochs.EpochLog(prior)
    pairs = _pairs(neighbours, first, last, cfg["batch_size"], generator)
    part = shared.share(min(cfg["batch_size"], len(neighbours)))
    dtype = epochs.product_type(cfg, prior.device)
    for step, (x,) in gather.batches(features, pairs, prior.device):
        x = ((x - mean) / deviation).to(dtype)
        log.add(*_train_step(training, loss, x, part, learning_rate(step, cfg), cfg))
    return log.row(epoch, first, last)


def _pairs(neighbours, first, last, size, generator):
    """Yield (step, rows int64 [2B]): B images, then a random neighbour of each.

    Of several processes each gets its part of the batch's pairs.
    """
    for step, rows in epochs.batches(len(neighbours), first, last, size, generator):
        column = torch.randint(neighbours.shape[1], (len(rows),), generator=generator).numpy()
        rows, column = shared.own(rows), shared.own(column)
        yield step, np.concatenate([rows, neighbours[rows, column]])


def _train_step(training, loss, x, part, lr, cfg):
    """One step on pairs x [2B, d], B images above their neighbours, of the dtype of products.

    part: this process's share of the batch. Returns (that part of the loss [H], the teacher's
    clusters of the images [H, B]).
    """
    parts = training.tensors
    with epochs.products_in(x.dtype, x.device):
        with torch.no_grad():
            teacher = head_by_head(parts["teacher"], x, cfg["temperature"])
        student = head_by_head(parts["student"], x, cfg["temperature"])
    losses = part * loss(student, teacher, parts["loss"]["prior"], part, cfg)
    losses.mean().backward()
    shared.sum_gradients(training.optimisers["student"])
    adamw_step(training.optimisers["student"], lr)
    update_teacher(parts["teacher"], parts["student"], cfg["teacher_momentum"])
    return losses.detach(), teacher[:, : len(x) // 2].argmax(dim=-1)


# ---- assignment -----------------------------------------------------------------------------


def assign(blocks, weights, cfg):
    """The most probable cluster of every image, and its probability (see `methods`)."""
    return epochs.most_probable(_of_one_head(block, weights, cfg) for block in blocks)


def scores(block, weights, cfg):
    """Log-probabilities of the clusters (see `methods`)."""
    return _of_one_head(block, weights, cfg).cpu().numpy()


def _of_one_head(block, weights, cfg):
    """Log-probabilities [b, K], a tensor, of embeddings [b, d] under one head's weights."""
    device = torch_device()
    head = {name: torch.from_numpy(value)[None].to(device) for name, value in weights.items()}
    return log_probabilities(head, gather.as_tensor(block, device), cfg["temperature"])[0]
