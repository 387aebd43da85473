"""What a clustering method is: the module of this folder that the config's `method` names.

It offers three functions.

fit(task): a `Task` -> a `Clustering`. Raises InputError on sizes that do not fit together.
assign(blocks, weights, cfg): the cluster of every image. blocks: iterable of embeddings, float32
    [b, d], streamed; weights: those of a Clustering; cfg: that of its Task. Returns (cluster int32
    [N], value float32 [N]: how well the image fits it).
scores(block, weights, cfg): how well images fit every cluster, float32 [b, K] of embeddings
    float32 [b, d]; the highest score is that of the cluster that `assign` gives.
"""

from dataclasses import dataclass
from importlib import import_module

import numpy as np

from workflow_scripts.lib.embeddings import Embeddings
from workflow_scripts.lib.errors import InputError


@dataclass(frozen=True)
class Task:
    """What to cluster, and how.

    images: the embeddings of N images. k: number of clusters. cfg: the clustering's config block
    and `seed`. neighbours: int32 [N, m], row numbers of every image's nearest neighbours, best
    first and without the image itself; None for methods that do not use them. state_path: where a
    long training keeps its state, to go on from there after a kill. code: digest of the code that
    trains; a state of other code is not used. init: a file of first centroids, or None. members:
    files of the weights of other clusterings, for an ensemble. data: what the files of images and
    neighbours say of their contents, JSON-able; a state of other data is not used.
    """

    images: Embeddings
    k: int
    cfg: dict
    neighbours: np.ndarray | None
    state_path: str
    code: str
    init: str | None = None
    members: tuple = ()
    data: tuple = ()


@dataclass(frozen=True)
class Clustering:
    """A trained clustering.

    weights: name -> float32 array, what assigns images. meta: what to say of it beside its
    settings: `objective` (float), which selected it, and for some methods more. history: columns
    of the training, name -> list or array.
    """

    weights: dict
    meta: dict
    history: dict


def load_method(name):
    """The module of a method. Loaded by name, so that no job imports the other methods."""
    return import_module(f"workflow_scripts.lib.clustering.{name}")


def check_k(k, n, least=1):
    """Raise InputError unless n images can be put into k clusters, `least` or more."""
    if not least <= k <= n:
        raise InputError(f"cannot make {k} clusters of {n} images: set `k` from {least} to {n}")
