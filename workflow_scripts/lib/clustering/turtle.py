"""TURTLE: clusters that linear classifiers learn easily (Gadetsky, Jiang and Brbic, "Let Go of
Your Labels with Unsupervised Transfer", ICML 2024, arXiv 2406.07236).

Re-derived from a description of the paper; no code was copied, no number of the paper is claimed.
From the paper and its public code: a task encoder gives every image soft labels, the mean over the
representation spaces of a softmax of a weight-normed linear layer in each; in every space a linear
classifier takes a few steps (10) of Adam towards these labels; the task encoder is then moved, by
Adam too, to lower the classifiers' cross-entropy minus gamma (10) times the entropy of the mean
label, with the classifiers held fixed (a first-order hypergradient). So it seeks a balanced
labelling that linear classifiers fit with a large margin.

Ours: embeddings have unit norm, where the public code takes CLIP's as they are, with norms of about
10, so a temperature stands before the task encoder's softmax and the learning rates differ; the
task encoder has no bias; classifiers begin at zero, or with `warm_start` where they ended, Adam's
moments included; the entropy is that of the mean over spaces, not the sum over spaces; batches are
those of epochs; and several task encoders are trained at once, of which the one with the lowest
objective wins. Results after few steps do not rank it: the public default are 6,000, on batches of
10,000 images. Weights are stacked along a leading dimension H (see `lib.clustering.epochs`).
"""

import math

import torch
import torch.nn.functional as F

from workflow_scripts.lib.clustering import epochs, gather, shared
from workflow_scripts.lib.clustering.methods import check_k
from workflow_scripts.lib.device import torch_device
from workflow_scripts.lib.errors import InputError


def fit(task):
    """Train TURTLE on the images' embeddings, in one space or several (see `methods`)."""
    images = task.images.joined()
    return train_turtle(images.spaces if "spaces" in task.cfg else [images], task)


def train_turtle(spaces, task):
    """Train TURTLE's task encoders; the Clustering of the one with the lowest objective.

    spaces: list of embeddings [N, d_s] of the same images, one array per representation space (one
    is enough), unit norm; float32 or float16, may be memory maps (cast batch by batch).
    task: a `Task`; its cfg has steps (outer), inner_steps, batch_size (images), inner_lr,
    outer_lr, gamma, warm_start (bool), temperature, heads (task encoders), precision and seed.
    The weights are prototypes_s [K, d_s] and scale_s [K, 1] for space s = 0, 1, ...; the history's
    loss is the outer objective. Raises InputError on sizes that do not fit together.
    """
    n, cfg = len(spaces[0]), task.cfg
    if {len(space) for space in spaces} != {n}:
        raise InputError(
            f"representation spaces of {[len(space) for space in spaces]} images: "
            "give embeddings of the same images, in the same order"
        )
    check_k(task.k, n, least=2)
    size = min(cfg["batch_size"], n)
    shared.join(size)
    training = _start([space.shape[1] for space in spaces], task.k, cfg)
    like = training.tensors["task"]["scale_0"][..., 0]
    features = gather.resident(spaces, like.device)
    dtype = epochs.product_type(cfg, like.device)

    def train_epoch(epoch, first, last):
        log = epochs.EpochLog(like)
        drawn = epochs.batches(n, first, last, size, training.generator)
        numbered = ((step, shared.own(rows)) for step, rows in drawn)
        for _, views in gather.batches(features, numbered, like.device):
            views = [view.to(dtype) for view in views]
            log.add(*_train_step(training, views, shared.share(size), cfg))
        return log.row(epoch, first, last)

    epochs.run_epochs(training, train_epoch, task, spaces)
    return epochs.best_clustering(training.tensors["task"], training.history)


def assign(blocks, weights, cfg):
    """The most probable cluster of every image, and its probability (see `methods`)."""
    return epochs.most_probable(_of_one_encoder(block, weights, cfg) for block in blocks)


def scores(block, weights, cfg):
    """Log-probabilities of the clusters (see `methods`)."""
    return _of_one_encoder(block, weights, cfg).cpu().numpy()


def _of_one_encoder(block, weights, cfg):
    """Log-probabilities [b, K], a tensor, of embeddings [b, d] under one task encoder's weights.

    d: the sum over spaces; the embeddings of an image stand side by side.
    """
    device = torch_device()
    task = {name: torch.from_numpy(value)[None].to(device) for name, value in weights.items()}
    dims = [task[f"prototypes_{s}"].shape[-1] for s in range(len(task) // 2)]
    views = gather.as_tensor(block, device).split(dims, dim=-1)
    return task_log_probabilities(task, views, cfg["temperature"])[0]


def task_log_probabilities(task, views, temperature):
    """Logarithm of the mean over spaces of softmax(scale direction . x / temperature), [H, B, K].

    task: prototypes_s [H, K, d_s] (any length: directions), scale_s [H, K, 1]; views: a list of
    embeddings [B, d_s].
    """
    parts = []
    for s, x in enumerate(views):
        layer = task[f"scale_{s}"] / temperature * F.normalize(task[f"prototypes_{s}"], dim=-1)
        parts.append(F.log_softmax((x @ layer.mT).float(), dim=-1))
    return torch.logsumexp(torch.stack(parts), dim=0) - math.log(len(parts))


def fit_classifiers(classifiers, optimiser, views, labels, steps, part=1):
    """Steps of a linear softmax classifier per space on its mean cross-entropy, in place.

    classifiers: weight_s [H, K, d_s] and bias_s [H, K]; optimiser: theirs; views: a list of
    embeddings [B, d_s]; labels: probabilities [H, B, K]; part: the process's share of the batch.
    """
    for _ in range(steps):
        for s, x in enumerate(views):
            residual = classifier_log_probabilities(classifiers, s, x).exp() - labels
            classifiers[f"weight_{s}"].grad = part * (residual.mT @ x).float() / len(x)
            classifiers[f"bias_{s}"].grad = part * residual.mean(dim=1)
        shared.sum_gradients(optimiser)
        optimiser.step()


def classifier_log_probabilities(classifiers, s, x):
    """log-softmax(weight_s x + bias_s), [H, B, K]."""
    products = (x @ classifiers[f"weight_{s}"].mT).float()
    return F.log_softmax(products + classifiers[f"bias_{s}"].unsqueeze(1), dim=-1)


def turtle_objective(task, classifiers, gamma, part=1):
    """The outer objective of every task encoder, [H].

    task: log-probabilities [H, B, K]; classifiers: list over spaces of [H, B, K], without gradient;
    part: the process's share of the batch.
    sum over spaces of the mean cross-entropy - sum_c tau(c) log q(c), minus gamma times the
    entropy of the batch-mean tau, with tau = exp(task).
    """
    labels = task.exp()
    cross_entropy = -(labels * sum(classifiers)).sum(dim=-1).mean(dim=-1)
    mean = shared.whole_mean(labels.mean(dim=1), part)
    log_mean = mean.clamp_min(torch.finfo(mean.dtype).tiny).log()
    return cross_entropy + gamma * (mean * log_mean).sum(dim=-1)


def adam(parameters, lr):
    """Adam on the tensors of a dict, all heads at once."""
    values = list(parameters.values())
    return torch.optim.Adam(values, lr, fused=values[0].is_cuda)


def _start(dims, k, cfg):
    """Random directions with norm 1; classifiers at zero."""
    generator = torch.Generator().manual_seed(cfg["seed"])
    device = torch_device()
    shape = (cfg["heads"], k)
    task, classifiers = {}, {}
    for s, d in enumerate(dims):
        task[f"prototypes_{s}"] = F.normalize(torch.randn(*shape, d, generator=generator), dim=-1)
        task[f"scale_{s}"] = torch.ones(*shape, 1)
        classifiers[f"weight_{s}"] = torch.zeros(*shape, d, device=device)
        classifiers[f"bias_{s}"] = torch.zeros(shape, device=device)
    task = {name: value.to(device).requires_grad_() for name, value in task.items()}
    optimisers = {
        "task": adam(task, cfg["outer_lr"]),
        "classifiers": adam(classifiers, cfg["inner_lr"]),
    }
    return epochs.Training({"task": task, "classifiers": classifiers}, optimisers, generator, [])


def _train_step(training, views, part, cfg):
    """Fit the classifiers to the task encoder's labels, then move the task encoder.

    views: list of embeddings [B, d_s], of the dtype of products. part: the process's share of the
    batch. Returns (that part of the objective [H], the task encoder's clusters [H, B]).
    """
    classifiers = training.tensors["classifiers"]
    outer, inner = training.optimisers["task"], training.optimisers["classifiers"]
    if not cfg["warm_start"]:
        for value in classifiers.values():
            value.zero_()
        inner.state.clear()  # Adam's moments begin at zero again
    with epochs.products_in(views[0].dtype, views[0].device):
        task = task_log_probabilities(training.tensors["task"], views, cfg["temperature"])
        labels = task.detach().exp()
        fit_classifiers(classifiers, inner, views, labels, cfg["inner_steps"], part)
        fitted = [classifier_log_probabilities(classifiers, s, x) for s, x in enumerate(views)]
    objective = part * turtle_objective(task, fitted, cfg["gamma"], part)
    objective.sum().backward()
    shared.sum_gradients(outer)
    outer.step()
    outer.zero_grad()
    return objective.detach(), labels.argmax(dim=-1)
