"""Coarser labels for the same images: a tree of the classes is cut, by depth or number of groups.

Granularity is a factor of "Scaling up deep clustering beyond ImageNet-1K" (arXiv 2406.01203); the
cuts are our choice.
"""

from collections import Counter

import numpy as np

from workflow_scripts.lib.benchmarks.subsets import class_codes
from workflow_scripts.lib.errors import InputError


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
