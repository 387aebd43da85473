"""Clustering benchmarks cut from one labelled image set: imbalance, granularity, difficulty.

They ask the questions of "Scaling up deep clustering beyond ImageNet-1K" (arXiv 2406.01203). Its
abstract names the factors; where a docstring gives no source, the construction is our choice.

Labels [N] are class codes (integers, negative = unknown) or names (strings, None = unknown).
Selections are rows: sorted int64, so that `labels[rows]` and `embeddings[rows]` belong together.
Rows without a label are never selected. Labels build and score benchmarks, they never cluster.
"""

from collections import Counter

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.special import xlogy

from workflow_scripts.lib.errors import InputError

# Of ImageNet-LT (Liu et al., CVPR 2019), which samples "the Pareto distribution with power 6".
PARETO_POWER = 6
# Steps between classes that share no ancestor.
NO_ANCESTOR = 127


def class_codes(labels):
    """(classes [C] sorted, code int64 [N] of each row's class, -1 where the label is unknown)."""
    labels = np.asarray(labels)
    known = labels >= 0 if labels.dtype.kind in "iu" else ~pd.isna(labels)
    code = np.full(len(labels), -1, np.int64)
    code[known], classes = pd.factorize(labels[known], sort=True)
    return classes, code


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


def describe(labels):
    """What a benchmark is like, from its labels (unknown ones left out), as a dict.

    n, classes; largest, smallest: images of a class; imbalance_ratio: largest / smallest;
    prior_entropy: entropy of the class shares, in nats; prior_entropy_normalised: divided by
    log(classes), 1 if all classes are equal in size (also for a single class).
    Raises InputError if no label is known.
    """
    counts = _counts(labels)[1]
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
    code, counts = _counts(labels)
    low = np.percentile(counts, 50 - half_width, method="lower")
    high = np.percentile(counts, 50 + half_width, method="higher")
    return _rows_of(code, (low <= counts) & (counts <= high))


def equal_size(labels, rows, seed):
    """Control for imbalance: every class of `rows` cut at random to the size of the smallest.

    It has the same classes but fewer images. `same_shares` with as many images as this returns is
    the control for that: the same imbalance, the same number of images as here.
    """
    subset = np.asarray(labels)[rows]
    return np.asarray(rows)[draw_per_class(subset, _counts(subset)[1].min(), seed)]


def same_shares(labels, rows, n, seed):
    """Control for scale: `rows` cut at random to n images, every class keeping its share.

    Shares are rounded by largest remainder, ties to the first class. Raises InputError if n is
    more than there are, or so small that a class would lose all its images.
    """
    subset = np.asarray(labels)[rows]
    counts = _counts(subset)[1]
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
        ImageNet-LT's, the formula our choice. `describe` tells the ratio after rounding.
    Raises InputError if the smallest class would have no image.
    """
    code, counts = _counts(labels)
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


# Granularity


def relabel(labels, new):
    """Labels object [N] after a cut: new[label], None where unknown. new: class -> new name."""
    classes, code = class_codes(labels)
    return np.array([*(new[name] for name in classes), None], object)[code]


def group_names(tree, node_of):
    """What to call the groups of a cut: {class: title of its node}.

    Of groups that would share a title (WordNet's first word of a node is not unique) each bears its
    node's id. node_of: class -> id of its node, by `cut_at_depth` or `cut_at_leaves`.
    """
    titles = {node: tree.title(node) for node in set(node_of.values())}
    groups = Counter(titles.values())
    return {
        name: titles[node] if groups[titles[node]] == 1 else node for name, node in node_of.items()
    }


def cut_at_depth(tree, names, depth):
    """Coarser labels for the same images: the ancestor at a depth of the tree.

    tree: a `trees.Tree`. names: distinct class labels, ids or names of nodes (`Tree.node`).
    depth: edges below the root, >= 0. Of several parents `Tree.lineage` takes one.
    Returns {name: id of the node}. A class at this depth or above it stays its own node. So every
    class is in exactly one group. Where classes are nested, a class above the cut stands beside
    the groups below it.
    """
    if depth < 0:
        raise InputError(f"granularity: depth must be at least 0, not {depth}")
    lineages = {name: tree.lineage(tree.node(name)) for name in names}
    return {name: lineage[: depth + 1][-1] for name, lineage in lineages.items()}


def cut_at_leaves(tree, names, leaves):
    """Coarser labels for the same images: at most `leaves` groups, usually about that many.

    Greedy: every class starts as its own group. The deepest node (ties: the least id) with two or
    more groups below it becomes one group, until at most `leaves` are left. One step can merge
    many siblings, so fewer may remain. Of several parents `Tree.lineage` takes one; a class with
    other classes below it counts as one of its own children until they are merged.
    Returns {name: id of the node}: a group bears the node that merged it, the lowest one above
    all of its classes, and each class of the set below this node is in the group.
    Raises InputError if separate roots leave more groups than asked for.
    """
    node_of = {name: tree.node(name) for name in names}
    group = {node: node for node in node_of.values()}
    below = {}
    for node in group:
        for above in tree.lineage(node):
            below.setdefault(above, []).append(node)
    groups = len(group)
    for node in sorted(below, key=lambda node: (-tree.depth(node), node)):
        if groups <= leaves:
            break
        merged = {group[each] for each in below[node]}
        if len(merged) > 1:
            group.update(dict.fromkeys(below[node], node))
            groups -= len(merged) - 1
    if groups > leaves:
        raise InputError(f"granularity: the tree's roots leave {groups} groups, not {leaves}")
    return {name: group[node] for name, node in node_of.items()}


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
    code, counts = _counts(labels)
    size = min(counts[classes].min() for classes in selections.values())
    return {
        name: draw_per_class(
            code, np.where(np.isin(np.arange(len(counts)), classes), size, 0), seed
        )
        for name, classes in selections.items()
    }


# Multiple classes


def valid_labels(tree, names):
    """Everything that is true of an image of a class: {name: {node: steps up}}.

    A class's own node has 0 steps, its ancestors the edges of the shortest way up, over every
    parent.
    """
    return {name: tree.steps_up(tree.node(name)) for name in names}


def common_ancestor_steps(valid):
    """Steps up from a class to the nearest of its valid labels that is valid for another, too.

    valid: `valid_labels` of C classes. Returns int8 [C, C] in its order: [true, predicted]; 0 for
    the class itself and for classes below it, NO_ANCESTOR for classes without a common ancestor.
    It is not symmetric: it counts what the true label loses when it is widened to cover both.
    """
    below = {}
    for i, up in enumerate(valid.values()):
        for node in up:
            below.setdefault(node, []).append(i)
    below = {node: np.array(rows) for node, rows in below.items()}
    steps = np.full((len(valid), len(valid)), NO_ANCESTOR, np.int8)
    for row, up in zip(steps, valid.values(), strict=True):
        for node in sorted(up, key=up.get, reverse=True):
            row[below[node]] = up[node]
    return steps


def majority_class(clusters, labels, k):
    """The most frequent class of every cluster, int64 [k]; ties to the lower code.

    clusters: int [N], each image's first prediction, < k. labels: int [N] codes, negative =
    unknown. Clusters without a labelled image get -1. Many clusters may share a class; for a
    one-to-one map use `clustering_metrics.best_map`.
    """
    clusters, labels = np.asarray(clusters), np.asarray(labels)
    known = labels >= 0
    ones = np.ones(known.sum(), np.int64)
    shape = (k, max(labels.max(initial=-1) + 1, 1))
    table = coo_array((ones, (clusters[known], labels[known])), shape=shape).tocsr()
    return np.where(table.sum(axis=1) > 0, table.argmax(axis=1), -1).astype(np.int64)


def topk_hit_rates(top_clusters, labels, class_of_cluster, steps, levels=(0, 1, 2, 3)):
    """Do an image's second, third, ... clusters mean something? Rates per rank, and by chance.

    top_clusters: int [N, m], the clusters of each image, most probable first.
    labels: int [N], codes 0 .. C - 1, negative = unknown (left out).
    class_of_cluster: int [K], the class that names each cluster, -1 = none (never a hit); by
        `majority_class` of the first predictions, or a one-to-one map.
    steps: int8 [C, C] of `common_ancestor_steps`. levels: numbers of steps.

    A prediction, read as the class of its cluster, is an "exact" hit if this is the label, and a
    hit at "level l" if the lowest common ancestor of both is at most l steps above the label: an
    ancestor up to there, or one of the classes below such an ancestor. Level 0 adds to the exact
    hits the classes below the label.
    Ranks from 2 count only images where the predicted class differs from the first rank's, else
    several clusters of one class would repeat the first hit.
    Chance: the rate expected for the same images if each drew its prediction from all images'
    predictions of this rank, the class of its own first prediction left out. So it knows how often
    each class is predicted, and nothing of the image. High levels are hit by nearly everything:
    only the difference from chance tells.

    Returns one dict per rank and kind of hit: rank (from 1), hit ("exact", "level 0", ...), n
    (images counted), rate, chance; NaN over no image.
    """
    labels = np.asarray(labels)
    known = labels >= 0
    label = labels[known]
    class_of = np.asarray(class_of_cluster)[np.asarray(top_clusters)[known]]
    first = class_of[:, 0]
    result = []
    for rank, predicted in enumerate(class_of.T, start=1):
        counted = (predicted != first) | (rank == 1)
        share = np.bincount(predicted + 1, minlength=len(steps) + 1) / max(len(label), 1)
        own, top, found = label[counted], first[counted], predicted[counted]
        excluded = share[top + 1] if rank > 1 else np.zeros(len(own))
        for hit, is_hit in _kinds_of_hits(steps, levels).items():
            by_chance = _expected_hits(share, is_hit)
            chance = (by_chance[own] - excluded * is_hit(own, top)) / (1 - excluded)
            result.append(
                {
                    "rank": rank,
                    "hit": hit,
                    "n": len(own),
                    "rate": float(is_hit(own, found).mean()) if len(own) else np.nan,
                    "chance": float(chance.mean()) if len(own) else np.nan,
                }
            )
    return result


def _kinds_of_hits(steps, levels):
    """Kind of hit -> function (labels, predicted classes or -1) -> bool array."""

    def within(level):
        return lambda label, predicted: (predicted >= 0) & (steps[label, predicted] <= level)

    exact = {"exact": lambda label, predicted: label == predicted}
    return exact | {f"level {level}": within(level) for level in levels}


def _expected_hits(share, is_hit):
    """Per true class, the share of hits among predictions of these shares (class -1 first)."""
    predicted = np.arange(-1, len(share) - 1)
    return np.array([share[is_hit(label, predicted)].sum() for label in range(len(share) - 1)])


def _counts(labels):
    """(code int64 [N], images per class int64 [C]). Raises InputError if no label is known."""
    classes, code = class_codes(labels)
    if not len(classes):
        raise InputError("benchmarks need labels: no image of the set has one")
    return code, np.bincount(code[code >= 0], minlength=len(classes))


def _rows_of(code, kept):
    """Rows whose class is kept (bool [C]): sorted int64."""
    return np.flatnonzero((code >= 0) & kept[code])
