"""What an image's second and third cluster mean: another valid label, or a coarser one?

An image shows more than its one label says: every ancestor in a tree is true of it as well, and a
prediction may be right at some level. The question is that of "Scaling up deep clustering beyond
ImageNet-1K" (arXiv 2406.01203); the measures are our choice.
"""

import numpy as np
from scipy.sparse import coo_array

# Steps between classes that share no ancestor.
NO_ANCESTOR = 127


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
