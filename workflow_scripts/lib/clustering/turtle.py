"""TURTLE: clusters that linear classifiers learn easily (Gadetsky, Jiang and Brbic, "Let Go of
Your Labels with Unsupervised Transfer", ICML 2024, arXiv 2406.07236).

Re-derived from a description of the paper; no code was copied, no number of the paper is claimed.
From the paper: a task encoder gives every image soft labels, the mean over the representation
spaces of a softmax of a weight-normed linear layer in each; in every space a linear classifier
takes a few gradient steps (10) towards these labels; the task encoder is then moved to lower the
classifiers' cross-entropy minus gamma (10) times the entropy of the mean label, with the
classifiers held fixed (a first-order hypergradient). So it seeks a balanced labelling that
linear classifiers fit with a large margin.

Ours: Adam with a constant learning rate in both loops (plain gradient descent in the inner one was
far slower or unstable); classifiers with a bias; `warm_start` keeps their weights and Adam's
moments from one outer step to the next, else both begin at zero; inner and outer steps use one
batch; a temperature of the task encoder's softmax; and several task encoders at once, of which the
one with the lowest objective wins. Weights are stacked along a leading dimension H as in
`lib.clustering.heads`.
"""

import math

import torch
import torch.nn.functional as F

from workflow_scripts.lib.clustering import heads
from workflow_scripts.lib.errors import InputError


def train_turtle(spaces, k, cfg, seed, state_path=None, device=None, on_epoch=None):
    """Train TURTLE's task encoders and return the one with the lowest objective.

    spaces: list of embeddings [N, d_s] of the same images, one array per representation space (one
    is enough), unit norm; float32 or float16, may be memory maps (cast batch by batch).
    k: number of clusters.
    cfg: steps (outer), inner_steps, batch_size (images), inner_lr, outer_lr, gamma, warm_start
    (bool), temperature, heads (task encoders).
    state_path, on_epoch: see `heads.train_heads`.
    Returns a `heads.Result`: weights are those of the task encoder, prototypes_s [K, d_s] and
    scale_s [K, 1] for space s = 0, 1, ...; the history's loss is the outer objective.
    Raises InputError on sizes that do not fit together.
    """
    n = len(spaces[0])
    if {len(space) for space in spaces} != {n}:
        raise InputError(
            f"representation spaces of {[len(space) for space in spaces]} images: "
            "give embeddings of the same images, in the same order"
        )
    heads.check_clusters(k, n)
    device = heads.default_device(device)
    training = _start([space.shape[1] for space in spaces], k, cfg, seed, device)
    run = heads.fingerprint(__name__, spaces, k, cfg, seed, device)

    def train_epoch(epoch, first, last):
        log = heads.EpochLog(training.tensors["task"]["scale_0"][..., 0])
        for _, rows in heads.batches(n, first, last, cfg["batch_size"], training.generator):
            views = [heads.to_tensor(space[rows], device) for space in spaces]
            log.add(*_train_step(training, views, cfg))
        return log.row(epoch, first, last)

    ends = heads.epoch_ends(n, cfg)
    history = heads.run_epochs(training, train_epoch, ends, run, state_path, on_epoch)
    best = heads.best_head(history)
    task = training.tensors["task"].items()
    weights = {name: value[best].detach().cpu().numpy() for name, value in task}
    return heads.Result(weights, best, history)


def assign(blocks, weights, temperature, device=None):
    """The most probable cluster of every image under one task encoder.

    blocks: iterable of tuples with one array [b, d_s] per space, float32 or float16, streamed; of
    one space for example `zip(blocks)`. weights: Result.weights.
    Returns (cluster int32 [N], its probability float32 [N]).
    """
    device = heads.default_device(device)
    task = {name: torch.from_numpy(v)[None].to(device) for name, v in weights.items()}
    return heads.most_probable(
        task_log_probabilities(task, [heads.to_tensor(v, device) for v in views], temperature)[0]
        for views in blocks
    )


def task_log_probabilities(task, views, temperature):
    """Logarithm of the mean over spaces of softmax(scale direction . x / temperature), [H, B, K].

    task: prototypes_s [H, K, d_s] (any length: directions), scale_s [H, K, 1]; views: a list of
    embeddings [B, d_s].
    """
    parts = []
    for s, x in enumerate(views):
        layer = task[f"scale_{s}"] / temperature * F.normalize(task[f"prototypes_{s}"], dim=-1)
        parts.append(F.log_softmax(x @ layer.mT, dim=-1))
    return torch.logsumexp(torch.stack(parts), dim=0) - math.log(len(parts))


def fit_classifiers(classifiers, mean, variance, counts, views, labels, lr, steps):
    """Adam steps of a linear softmax classifier per space on its mean cross-entropy, in place.

    classifiers: weight_s [H, K, d_s] and bias_s [H, K]; mean, variance: Adam's moments, of the same
    shapes; counts: name -> number of updates so far; views: a list of embeddings [B, d_s]; labels:
    probabilities [H, B, K].
    """
    for _ in range(steps):
        for s, x in enumerate(views):
            residual = classifier_log_probabilities(classifiers, s, x).exp() - labels
            classifiers[f"weight_{s}"].grad = residual.mT @ x / len(x)
            classifiers[f"bias_{s}"].grad = residual.mean(dim=1)
        heads.adamw_step(classifiers, mean, variance, lr, counts, weight_decay=0)


def classifier_log_probabilities(classifiers, s, x):
    """log-softmax(weight_s x + bias_s), [H, B, K]."""
    bias = classifiers[f"bias_{s}"].unsqueeze(1)
    return F.log_softmax(x @ classifiers[f"weight_{s}"].mT + bias, dim=-1)


def turtle_objective(task, classifiers, gamma):
    """The outer objective of every task encoder, [H].

    task: log-probabilities [H, B, K]; classifiers: list over spaces of [H, B, K], without gradient.
    sum over spaces of the mean cross-entropy - sum_c tau(c) log q(c), minus gamma times the
    entropy of the batch-mean tau, with tau = exp(task).
    """
    labels = task.exp()
    cross_entropy = -(labels * sum(classifiers)).sum(dim=-1).mean(dim=-1)
    mean = labels.mean(dim=1)
    log_mean = mean.clamp_min(torch.finfo(mean.dtype).tiny).log()
    return cross_entropy + gamma * (mean * log_mean).sum(dim=-1)


def _start(dims, k, cfg, seed, device):
    """Random directions with norm 1; classifiers at zero."""
    generator = torch.Generator().manual_seed(seed)
    shape = (cfg["heads"], k)
    task, classifiers = {}, {}
    for s, d in enumerate(dims):
        task[f"prototypes_{s}"] = F.normalize(torch.randn(*shape, d, generator=generator), dim=-1)
        task[f"scale_{s}"] = torch.ones(*shape, 1)
        classifiers[f"weight_{s}"] = torch.zeros(*shape, d, device=device)
        classifiers[f"bias_{s}"] = torch.zeros(shape, device=device)
    task = {name: value.to(device).requires_grad_() for name, value in task.items()}
    tensors = {
        "task": task,
        "task_mean": heads.zeros_like(task),
        "task_variance": heads.zeros_like(task),
        "classifiers": classifiers,
        "mean": heads.zeros_like(classifiers),
        "variance": heads.zeros_like(classifiers),
    }
    return heads.Training(tensors, dict.fromkeys([*task, *classifiers], 0), generator, [])


def _train_step(training, views, cfg):
    """Fit the classifiers to the task encoder's labels, then move the task encoder.

    Returns (objective [H], the task encoder's clusters [H, B]).
    """
    parts, counts = training.tensors, training.steps
    inner = [parts[name] for name in ("classifiers", "mean", "variance")]
    if not cfg["warm_start"]:
        for tensors in inner:
            for value in tensors.values():
                value.zero_()
        counts.update(dict.fromkeys(parts["classifiers"], 0))
    task = task_log_probabilities(parts["task"], views, cfg["temperature"])
    labels = task.detach().exp()
    fit_classifiers(*inner, counts, views, labels, cfg["inner_lr"], cfg["inner_steps"])
    fitted = [classifier_log_probabilities(parts["classifiers"], s, x) for s, x in enumerate(views)]
    objective = turtle_objective(task, fitted, cfg["gamma"])
    objective.sum().backward()
    outer = [parts[name] for name in ("task", "task_mean", "task_variance")]
    heads.adamw_step(*outer, cfg["outer_lr"], counts, weight_decay=0)
    return objective.detach(), labels.argmax(dim=-1)
