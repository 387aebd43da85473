"""Image sets cut from one labelled image set by the sizes or the difficulty of its classes.

They ask the questions of "Scaling up deep clustering beyond ImageNet-1K" (arXiv 2406.01203). Its
abstract names the factors; where a docstring gives no source, the construction is our choice.

Labels [N] are class codes (integers, negative = unknown) or names (strings, None = unknown).
Selections are rows: sorted int64, so that `labels[rows]` and `embeddings[rows]` belong together.
Rows without a label are never selected. Labels build and score benchmarks, they never cluster.
"""

import numpy as np
import pandas as pd
from scipy.special import xlogy

from workflow_scripts.lib.errors import InputError

# Of ImageNet-LT (Liu et al., CVPR 2019), which samples "the Pareto distribution with power 6".
PARETO_POWER = 6


def class_codes(labels):
    """(classes [C] sorted, code int64 [N] of each row's class, -1 where the label is unknown)."""
    labels = np.asarray(labels)
    known = labels >= 0 if labels.dtype.kind in "iu" else ~pd.isna(labels)
    code = np.full(len(labels), -1, np.int64)
    code[known], classes = pd.factorize(labels[known], sort=True)
    return classes, code


def class_counts(labels):
    """(code int64 [N], images per class int64 [C]). Raises InputError if no label is known."""
    classes, code = class_codes(labels)
    if not len(classes):
        raise InputError("benchmarks need labels: no image of the set has one")
    return code, np.bincount(code[code >= 0], minlength=len(classes))


def draw_per_class(labels, sizes, seed):
    """Random rows of every class: sorted int64.

    sizes: images per class, int, or int [C] in the order of `class_codes`. Classes with fewer
    images give all. Of one seed, smaller draws are part of larger ones, and what is drawn from a
    class does not depend on the sizes of the others.
    """
    classes, code = class_codes(labels)
    shuffled = np.random.default_rng(seed).permutation(len(code))
    shuffled = shuffled[code[shuffled] >= 0]
    order = shuffled[np.argsort(code[shuffled], kind="stable")]
    counts = np.bincount(code[order], minlength=len(classes))
    rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    wanted = np.broadcast_to(sizes, len(classes))
    return np.sort(order[rank < wanted[code[order]]])


def class_balance(labels):
    """What a benchmark is like, from its labels (unknown ones left out), as a dict.

    n, classes; largest, smallest: images of a class; imbalance_ratio: largest / smallest;
    prior_entropy: entropy of the class shares, in nats; prior_entropy_normalised: divided by
    log(classes), 1 if all classes are equal in size (also for a single class).
    Raises InputError if no label is known.
    """
    counts = class_counts(labels)[1]
    share = counts / counts.sum()
    entropy = float(-xlogy(share, share).sum())
    return {
        "n": int(counts.sum()),
        "classes": len(counts),
        "largest": int(counts.max()),
        "smallest": int(counts.min()),
        "imbalance_ratio": float(counts.max() / counts.min()),
        "prior_entropy": entropy,
        "prior_entropy_normalised": entropy / np.log(len(counts)) if len(counts) > 1 else 1.0,
    }


# Imbalance


def imbalance_range(labels, half_width):
    """Rows of the classes of middling size: the wider the range, the greater the imbalance.

    half_width: w in percentiles, 0 <= w <= 50. A class is kept if its number of images lies
    between the percentiles 50 - w and 50 + w of all classes' numbers, ends included. The lower
    percentile is rounded down to a number that occurs, the upper one up. So classes of equal size
    are kept or left out together, ranges are nested, w = 0 keeps the median and w = 50 everything.
    Nothing is random.
    """
    if not 0 <= half_width <= 50:
        raise InputError(f"imbalance range: half_width must be from 0 to 50, not {half_width}")
    code, counts = class_counts(labels)
    low = np.percentile(counts, 50 - half_width, method="lower")
    high = np.percentile(counts, 50 + half_width, method="higher")
    return _rows_of(code, (low <= counts) & (counts <= high))


def equal_size(labels, rows, seed):
    """Control for imbalance: every class of `rows` cut at random to the size of the smallest.

    It has the same classes but fewer images. `same_shares` with as many images as this returns is
    the control for that: the same imbalance, the same number of images as here.
    """
    subset = np.asarray(labels)[rows]
    return np.asarray(rows)[draw_per_class(subset, class_counts(subset)[1].min(), seed)]


def same_shares(labels, rows, n, seed):
    """Control for scale: `rows` cut at random to n images, every class keeping its share.

    Shares are rounded by largest remainder, ties to the first class. Raises InputError if n is
    more than there are, or so small that a class would lose all its images.
    """
    subset = np.asarray(labels)[rows]
    counts = class_counts(subset)[1]
    exact = counts * n / counts.sum()
    sizes = np.floor(exact).astype(np.int64)
    sizes[np.argsort(sizes - exact, kind="stable")[: n - sizes.sum()]] += 1
    if n > counts.sum() or sizes.min() < 1:
        raise InputError(
            f"cannot draw {n} of {counts.sum()} images so that {len(counts)} classes keep their "
            f"shares and at least one image each (the smallest has {counts.min()})"
        )
    return np.asarray(rows)[draw_per_class(subset, sizes, seed)]


def long_tail(labels, ratio, shape="exponential", seed=0):
    """Rows of a long-tailed subset of a (roughly) balanced set, all classes kept.

    ratio: images of the largest class / of the smallest, >= 1. The classes, in a random order
    i = 0 .. C - 1, get floor(m size(i)) images. m is the size of the smallest given class, so that
    any order can be drawn and the sizes do not depend on the seed.
    shape: "exponential", size(i) = ratio^(-i / (C - 1)), as Cui et al. (CVPR 2019) make CIFAR-LT;
        "pareto", size(i) = x_i^-(p + 1), the density of a Pareto distribution of power p = 6 at
        evenly spaced x from 1 to ratio^(1 / (p + 1)): fewer large classes. The power is
        ImageNet-LT's, the formula our choice. `class_balance` tells the ratio after rounding.
    Raises InputError if the smallest class would have no image.
    """
    code, counts = class_counts(labels)
    x = np.linspace(0, 1, len(counts))
    if not ratio >= 1 or shape not in ("exponential", "pareto"):
        raise InputError(
            f"long tail: ratio must be at least 1 and shape exponential or pareto, not {ratio}, "
            f"{shape!r}"
        )
    if shape == "exponential":
        share = ratio**-x
    else:
        share = (1 + x * (ratio ** (1 / (PARETO_POWER + 1)) - 1)) ** -(PARETO_POWER + 1.0)
    # 1e-9: 100 / 10 images must not become 9 because of rounding errors.
    ordered = np.floor(counts.min() * share + 1e-9).astype(np.int64)
    if ordered[-1] < 1:
        raise InputError(
            f"long tail: with ratio {ratio} the smallest class has no image, as the largest has "
            f"{counts.min()}: set the ratio to at most {counts.min()}"
        )
    order_seed, draw_seed = np.random.SeedSequence(seed).spawn(2)
    sizes = np.empty_like(ordered)
    sizes[np.random.default_rng(order_seed).permutation(len(counts))] = ordered
    return draw_per_class(code, sizes, draw_seed)


# Difficulty


def select_by_difficulty(accuracy, counts, share, which, seed=0, min_count=1):
    """The easiest or hardest classes, or random ones: codes, sorted int64 [m].

    accuracy: float [C], held-out accuracy per class (`difficulty`), NaN where not known.
    counts: int [C], images per class. Classes of less than min_count, or without accuracy, are not
    candidates. share: of the candidates to take, 0 < share <= 1; m is rounded, at least 1.
    which: "easy" (highest accuracy, ties to the lower code), "hard" (the other end of the same
    order) or "random", by `seed`. Above a share of 1/2, easy and hard overlap.
    Accuracies measured on the images of the benchmark make easy classes look easier than new
    images would (selection), for all compared methods alike.
    """
    accuracy, counts = np.asarray(accuracy, np.float64), np.asarray(counts)
    candidates = np.flatnonzero((counts >= min_count) & ~np.isnan(accuracy))
    if not 0 < share <= 1 or which not in ("easy", "hard", "random") or not len(candidates):
        raise InputError(
            f"difficulty: share {share} of the classes {which!r} from {len(candidates)} candidates;"
            " share must be above 0 and at most 1, the choice easy, hard or random, and a class "
            "must have an accuracy and `min_count` images"
        )
    m = max(1, round(share * len(candidates)))
    if which == "random":
        return np.sort(np.random.default_rng(seed).choice(candidates, m, replace=False))
    order = candidates[np.argsort(-accuracy[candidates], kind="stable")]
    return np.sort(order[:m] if which == "easy" else order[-m:])


def matched_rows(labels, selections, seed):
    """Rows of several selections of classes, every class cut to one common number of images.

    selections: name -> class codes (`select_by_difficulty`). The common number is the smallest
    class of any selection, so that neither scale nor imbalance tells the benchmarks apart; raise
    `min_count` if it is too small. A class in two selections gives both the same images.
    Returns name -> rows.
    """
    code, counts = class_counts(labels)
    size = min(counts[classes].min() for classes in selections.values())
    return {
        name: draw_per_class(
            code, np.where(np.isin(np.arange(len(counts)), classes), size, 0), seed
        )
        for name, classes in selections.items()
    }


def _rows_of(code, kept):
    """Rows whose class is kept (bool [C]): sorted int64."""
    return np.flatnonzero((code >= 0) & kept[code])
