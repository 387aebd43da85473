"""How hard each class is to recognise in given embeddings, by two supervised classifiers.

These read labels: for choosing benchmarks and for evaluation only, never for clustering.
Both judge an image by others than itself and take the same number of images per class if asked
to, so that large classes do not look easy because they outvote small ones.
"""

import numpy as np

from workflow_scripts.lib.benchmarks.subsets import class_counts, draw_per_class
from workflow_scripts.lib.concepts.similarity import split_rows
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.groups import group_sums, scatter_within


def knn_accuracy(images, labels, k=10, per_class=None, seed=0):
    """Leave-one-out accuracy of a k-nearest-neighbour vote, per class: float64 [C].

    images: `Embeddings` of N images, unit norm.
    labels: codes or names [N], negative or None = unknown. C and its order: `class_codes`.
    per_class: draw at most this many rows of each class at random, by `seed`, and look for the
        neighbours among them; None takes all. The time grows with the square of the rows.
    A class with one row used has accuracy 0, as no neighbour can be of its class.
    Raises InputError if images and labels differ in number or k is not below the rows used.
    """
    from workflow_scripts.lib.clustering.neighbours import nearest_neighbours
    from workflow_scripts.lib.embeddings import Chosen

    code, counts = _checked(images, labels)
    rows = draw_per_class(code, len(code) if per_class is None else per_class, seed)
    if k >= len(rows):
        raise InputError(
            f"difficulty: {len(rows)} labelled images are too few to vote with {k} neighbours; "
            "derive from a larger image set"
        )
    found = vote(nearest_neighbours(Chosen(images.joined(), rows), k), code[rows])
    return _accuracy_per_class(code[rows], found, len(counts))


def vote(neighbours, code):
    """The most frequent class among each row's neighbours, int64 [n].

    neighbours: int [n, k], row numbers, nearest first (`neighbours.nearest_neighbours`).
    code: int64 [n], known for all rows. Ties go to the class whose nearest member is nearest.
    """
    found = []
    for part in split_rows([neighbours], neighbours.shape[1] ** 2):
        near = code[part]
        votes = (near[:, :, None] == near[:, None, :]).sum(axis=2)
        # argmax takes the first of equals, and the columns are ordered by distance.
        found.append(near[np.arange(len(near)), votes.argmax(axis=1)])
    return np.concatenate(found)


def linear_probe_accuracy(images, labels, held_out=0.2, shrinkage=0.1, per_class=None, seed=0):
    """Accuracy of a linear classifier on held-out images, per class: float64 [C].

    The classifier is linear discriminant analysis with equal class priors: closed form,
    three streamed passes over the embeddings, memory C x d + d x d. Our choice instead of logistic
    regression, for 10,000 classes.
        score_c(x) = x . A m_c - m_c . A m_c / 2,  A = inverse of (1 - s) S + s trace(S)/d I
    m_c: mean of a class; S: mean over classes of the covariance within a class; s: shrinkage.
    images, labels, per_class: as in `knn_accuracy`; the norm is free.
    held_out: share of each class's rows, drawn at random by `seed`, that is tested and not used
        for training; rounded down, at least one. A class with a single row has accuracy NaN, and
        is not among those that the others are told from.
    Raises InputError if held_out or shrinkage is not within (0, 1), or fewer than 2 classes have 2
    rows.
    """
    if not 0 < held_out < 1 or not 0 < shrinkage < 1:
        raise InputError(
            f"linear probe: held_out {held_out} and shrinkage {shrinkage} must be between 0 and 1"
        )
    code, counts = _checked(images, labels)
    draw_seed, split_seed = np.random.SeedSequence(seed).spawn(2)
    rows = draw_per_class(code, len(code) if per_class is None else per_class, draw_seed)
    drawn = np.bincount(code[rows], minlength=len(counts))
    usable = np.flatnonzero(drawn > 1)
    if len(usable) < 2:
        raise InputError("linear probe: at least two classes need two labelled images each")
    rows = rows[drawn[code[rows]] > 1]
    # Codes among the usable classes, without gaps.
    label = np.searchsorted(usable, code[rows])
    sizes = np.maximum(1, np.floor(held_out * drawn[usable])).astype(np.int64)
    test = np.zeros(len(rows), bool)
    test[draw_per_class(label, sizes, split_seed)] = True
    weights, bias = _discriminants(images, rows[~test], label[~test], shrinkage)
    scores = (block @ weights + bias for block in _exact_blocks(images, rows[test]))
    predicted = np.concatenate([score.argmax(axis=1) for score in scores])
    found = np.full(len(counts), np.nan)
    found[usable] = _accuracy_per_class(label[test], predicted, len(usable))
    return found


def _discriminants(images, rows, label, shrinkage):
    """(weights float64 [d, C], bias [C]): the scores that `linear_probe_accuracy` defines."""
    counts = np.bincount(label)
    means = group_sums(_exact_blocks(images, rows), label, len(counts)) / counts[:, None]
    shares = 1 / (len(counts) * counts)
    spread = scatter_within(_exact_blocks(images, rows), label, means, shares)
    d = len(spread)
    ridge = shrinkage * np.trace(spread) / d
    weights = np.linalg.solve((1 - shrinkage) * spread + ridge * np.eye(d), means.T)
    return weights, -(means * weights.T).sum(axis=1) / 2


def _exact_blocks(images, rows):
    return (block.astype(np.float64) for block in images.blocks(rows=rows))


def _accuracy_per_class(label, predicted, classes):
    """Share of each class's rows that are right, float64 [C]; NaN for a class without rows."""
    counts = np.bincount(label, minlength=classes)
    right = np.bincount(label[label == predicted], minlength=classes)
    return np.divide(right, counts, out=np.full(classes, np.nan), where=counts > 0)


def _checked(images, labels):
    """(code int64 [N], images per class int64 [C]) of the labels."""
    if images.rows != len(labels):
        raise InputError(f"difficulty: {images.rows} embeddings but {len(labels)} labels")
    return class_counts(labels)
