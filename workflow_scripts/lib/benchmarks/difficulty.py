"""How hard each class is to recognise in given embeddings, by two supervised classifiers.

These read labels: for choosing benchmarks and for evaluation only, never for clustering.
Both judge an image by others than itself and take the same number of images per class if asked
to, so that large classes do not look easy because they outvote small ones.
"""

import numpy as np
from scipy.sparse import csr_array

from workflow_scripts.lib.benchmarks.subsets import class_codes, draw_per_class
from workflow_scripts.lib.errors import InputError

BLOCK_ROWS = 8192


def knn_accuracy(embeddings, labels, k=10, per_class=None, seed=0):
    """Leave-one-out accuracy of a k-nearest-neighbour vote, per class: float64 [C].

    embeddings: unit-norm rows [N, d], float16 or wider, or a list of such arrays (the shards of a
        set, in order); may be memory maps. Only the rows used are copied, as float32.
    labels: codes or names [N], negative or None = unknown. C and its order: `class_codes`.
    per_class: draw at most this many rows of each class at random, by `seed`, and look for the
        neighbours among them; None takes all. The time grows with the square of the rows.
    A class with one row used has accuracy 0, as no neighbour can be of its class.
    Raises InputError if rows and labels differ in number or k is not below the rows used.
    """
    from workflow_scripts.lib.clustering.neighbours import nearest_neighbours

    arrays, classes, code = _checked(embeddings, labels)
    rows = draw_per_class(code, len(code) if per_class is None else per_class, seed)
    used = np.empty((len(rows), arrays[0].shape[1]), np.float32)
    for start, block in _blocks(arrays, rows):
        used[start : start + len(block)] = block
    return _per_class(code[rows], vote(nearest_neighbours(used, k), code[rows]), len(classes))


def vote(neighbours, code):
    """The most frequent class among each row's neighbours, int64 [n].

    neighbours: int [n, k], row numbers, nearest first (`neighbours.nearest_neighbours`).
    code: int64 [n], known for all rows. Ties go to the class whose nearest member is nearest.
    """
    found = np.empty(len(neighbours), np.int64)
    for start in range(0, len(neighbours), BLOCK_ROWS):
        near = code[neighbours[start : start + BLOCK_ROWS]]
        votes = (near[:, :, None] == near[:, None, :]).sum(axis=2)
        # argmax takes the first of equals, and the columns are ordered by distance.
        found[start : start + len(near)] = near[np.arange(len(near)), votes.argmax(axis=1)]
    return found


def linear_probe_accuracy(embeddings, labels, held_out=0.2, shrinkage=0.1, per_class=None, seed=0):
    """Accuracy of a linear classifier on held-out images, per class: float64 [C].

    The classifier is linear discriminant analysis with equal class priors: closed form, two
    streamed passes over the embeddings, memory C x d + d x d. Our choice instead of logistic
    regression, for 10,000 classes.
        score_c(x) = x . A m_c - m_c . A m_c / 2,  A = inverse of (1 - s) S + s trace(S)/d I
    m_c: mean of a class; S: mean over classes of the covariance within a class; s: shrinkage.
    embeddings, labels, per_class: as in `knn_accuracy`; the norm is free.
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
    arrays, classes, code = _checked(embeddings, labels)
    draw_seed, split_seed = np.random.SeedSequence(seed).spawn(2)
    rows = draw_per_class(code, len(code) if per_class is None else per_class, draw_seed)
    counts = np.bincount(code[rows], minlength=len(classes))
    usable = np.flatnonzero(counts > 1)
    if len(usable) < 2:
        raise InputError("linear probe: at least two classes need two labelled images each")
    rows = rows[counts[code[rows]] > 1]
    # Codes among the usable classes, without gaps.
    label = np.searchsorted(usable, code[rows])
    sizes = np.maximum(1, np.floor(held_out * counts[usable])).astype(np.int64)
    test = np.zeros(len(rows), bool)
    test[draw_per_class(label, sizes, split_seed)] = True
    means, covariance = _class_statistics(arrays, rows[~test], label[~test], len(usable))
    d = len(covariance)
    spread = (1 - shrinkage) * covariance
    spread[np.diag_indices(d)] += shrinkage * np.trace(covariance) / d
    weights = np.linalg.solve(spread, means.T)
    bias = -(means * weights.T).sum(axis=1) / 2
    predicted = np.empty(test.sum(), np.int64)
    for start, block in _blocks(arrays, rows[test], np.float64):
        predicted[start : start + len(block)] = (block @ weights + bias).argmax(axis=1)
    found = np.full(len(classes), np.nan)
    found[usable] = _per_class(label[test], predicted, len(usable))
    return found


def _class_statistics(arrays, rows, label, classes):
    """(means float64 [C, d], mean over classes of the covariance within a class [d, d])."""
    d = arrays[0].shape[1]
    weight = 1 / np.bincount(label, minlength=classes)
    means, second = np.zeros((classes, d)), np.zeros((d, d))
    for start, block in _blocks(arrays, rows, np.float64):
        of = label[start : start + len(block)]
        one_hot = csr_array((weight[of], of, np.arange(len(of) + 1)), shape=(len(of), classes))
        means += one_hot.T @ block
        second += block.T @ (block * weight[of, None])
    return means, (second - means.T @ means) / classes


def _per_class(label, predicted, classes):
    """Share of each class's rows that are right, float64 [C]; NaN for a class without rows."""
    counts = np.bincount(label, minlength=classes)
    right = np.bincount(label[label == predicted], minlength=classes)
    return np.divide(right, counts, out=np.full(classes, np.nan), where=counts > 0)


def _checked(embeddings, labels):
    arrays = embeddings if isinstance(embeddings, list) else [embeddings]
    classes, code = class_codes(labels)
    rows = sum(len(array) for array in arrays)
    if rows != len(code):
        raise InputError(f"difficulty: {rows} embeddings but {len(code)} labels")
    return arrays, classes, code


def _blocks(arrays, rows, dtype=np.float32):
    """Iterate over chosen rows (sorted) of the shards: (position of the first, block [b, d])."""
    first = 0
    for array in arrays:
        low, high = np.searchsorted(rows, (first, first + len(array)))
        for start in range(low, high, BLOCK_ROWS):
            chosen = rows[start : min(start + BLOCK_ROWS, high)] - first
            yield start, np.asarray(array[chosen], dtype=dtype)
        first += len(array)
