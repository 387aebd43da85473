"""Small clustering tasks, shared by the tests of all methods."""

import tempfile

import numpy as np
import pyarrow as pa
import torch

from workflow_scripts.lib.clustering import epochs
from workflow_scripts.lib.clustering.methods import Task
from workflow_scripts.lib.clustering.metrics import clustering_metrics
from workflow_scripts.lib.clustering.neighbours import nearest_neighbours
from workflow_scripts.lib.embeddings import Embeddings

STATES = tempfile.TemporaryDirectory(prefix="states-")  # of tasks that are given no place for one


def blobs(classes=5, per_class=40, d=16, spread=0.08, seed=0):
    """Unit-norm float32 rows around `classes` random directions, and their classes."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(classes, d))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    labels = np.repeat(np.arange(classes), per_class)
    rows = centres[labels] + rng.normal(0, spread, (len(labels), d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), labels


def joined_blobs(**options):
    """The rows of `blobs`, the 5 nearest neighbours of each, and the classes."""
    rows, labels = blobs(**options)
    return rows, nearest_neighbours(rows, 5), labels


def task_of(rows, k, cfg, neighbours=None, state_path=None, code="code@1"):
    """A task on these embeddings. Its state, if no place is given, is one that no other task has:
    on a busy machine even a short training may write one."""
    images = Embeddings([rows], pa.table({}), {})
    state_path = state_path or f"{tempfile.mkdtemp(dir=STATES.name)}/state"
    return Task(images, k, cfg, neighbours, str(state_path), code)


def random_tensors(*shape, count=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=generator) for _ in range(count)]


def random_heads(heads=3, d=7, hidden=6, bottleneck=5, k=4):
    shapes = {
        "hidden_weight": (heads, d, hidden),
        "hidden_bias": (heads, 1, hidden),
        "bottleneck_weight": (heads, hidden, bottleneck),
        "bottleneck_bias": (heads, 1, bottleneck),
        "prototypes": (heads, k, bottleneck),
        "scale": (heads, k, 1),
    }
    return {
        name: random_tensors(*shape, seed=i)[0] for i, (name, shape) in enumerate(shapes.items())
    }


def accuracy(labels, clusters):
    return clustering_metrics(labels, clusters)["acc"]


def by_epoch(found, column):
    """A column of a training history as [epochs, heads]."""
    heads = max(found.history["head"]) + 1
    return found.history[column].reshape(-1, heads)


def same_clustering(one, other):
    assert one.meta == other.meta
    for a, b in ((one.weights, other.weights), (one.history, other.history)):
        assert a.keys() == b.keys()
        for name in a:
            assert a[name].tobytes() == b[name].tobytes(), name


class Killed(Exception):
    pass


def kill_after(monkeypatch, epoch):
    """Save the state after every epoch, and end the training after this one."""

    def kill(row):
        if row["epoch"] == epoch:
            raise Killed

    monkeypatch.setattr(epochs, "CHECKPOINT_SECONDS", 0)
    monkeypatch.setattr(epochs, "log_epoch", kill)


def watch_epochs(monkeypatch):
    """The list that the numbers of the epochs of later trainings are appended to."""
    seen = []
    monkeypatch.setattr(epochs, "log_epoch", lambda row: seen.append(row["epoch"]))
    return seen
