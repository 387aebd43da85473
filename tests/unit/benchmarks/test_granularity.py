import numpy as np
import pytest
from trees_of_classes import CLASSES, TREE, random_tree

from workflow_scripts.lib.benchmarks import granularity
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.texts.trees import Tree


def test_cut_at_depth_by_hand():
    assert granularity.cut_at_depth(TREE, CLASSES, 1) == {
        "car": "car", "cat": "animal", "hawk": "animal", "puppy": "animal", "van": "car",
        "wolf": "animal",
    }  # fmt: skip
    # puppy's lineage goes over pet, the shorter way; car and hawk are above the cut or on it.
    assert granularity.cut_at_depth(TREE, CLASSES, 2) == {
        "car": "car", "cat": "mammal", "hawk": "hawk", "puppy": "pet", "van": "van",
        "wolf": "mammal",
    }  # fmt: skip
    assert set(granularity.cut_at_depth(TREE, CLASSES, 0).values()) == {"thing"}
    assert granularity.cut_at_depth(TREE, CLASSES, 9) == {name: name for name in CLASSES}
    with pytest.raises(InputError, match="depth"):
        granularity.cut_at_depth(TREE, CLASSES, -1)
    with pytest.raises(InputError, match="no node 'boat'"):
        granularity.cut_at_depth(TREE, ["boat"], 1)


def test_cut_at_leaves_by_hand():
    # Depths: mammal 2, animal 1, car 1, thing 0. Merged in this order.
    steps = {
        6: {name: name for name in CLASSES},
        5: {"cat": "mammal", "wolf": "mammal"},
        3: {"cat": "animal", "wolf": "animal", "puppy": "animal", "hawk": "animal"},
        2: {"van": "car"},
        1: dict.fromkeys(CLASSES, "thing"),
    }
    expected = {}
    for leaves, change in steps.items():
        expected = expected | change
        assert granularity.cut_at_leaves(TREE, CLASSES, leaves) == expected
        assert len(set(expected.values())) == leaves
    assert granularity.cut_at_leaves(TREE, CLASSES, 4) == granularity.cut_at_leaves(
        TREE, CLASSES, 3
    )
    with pytest.raises(InputError, match="leave 1 groups, not 0"):
        granularity.cut_at_leaves(TREE, CLASSES, 0)


@pytest.mark.parametrize("seed", range(6))
def test_groups_hold_all_classes_below_their_node(seed):
    rng = np.random.default_rng(seed)
    tree = random_tree(rng, 60)
    names = rng.choice(list(tree.parents), 25, replace=False).tolist()
    before = len(names)
    for leaves in range(25, 0, -1):
        group = granularity.cut_at_leaves(tree, names, leaves)
        groups = set(group.values())
        assert set(group) == set(names)
        assert len(groups) <= min(leaves, before)
        before = len(groups)
        for name, node in group.items():
            lineage = tree.lineage(name)
            assert node in lineage
            if node != name:  # a merged group: every class below its node is in it
                inside = {other for other in names if node in tree.lineage(other)}
                assert {other for other in names if group[other] == node} == inside
                # and no lower node is above all of them
                shared = set.intersection(*(set(tree.lineage(other)) for other in inside))
                assert max(shared, key=tree.depth) == node
            # No other group lies on the way up, except that of a class not merged yet.
            for other in groups & set(lineage) - {node}:
                assert group.get(other) == other
                assert [n for n in names if group[n] == other] == [other]


def test_groups_of_one_title_bear_their_ids():
    parents = {"n1": (), "n2": ("n1",), "n3": ("n1",), "n4": ("n1",)}
    titles = {"n1": "thing", "n2": "crane", "n3": "crane", "n4": "dog"}
    tree = Tree({}, parents, titles=titles)
    node_of = {"a": "n2", "b": "n3", "c": "n4", "d": "n4"}
    names = granularity.group_names(tree, node_of)
    assert names == {"a": "n2", "b": "n3", "c": "dog", "d": "dog"}
    assert [tree.node(name) for name in ("n2", "n3")] == ["n2", "n3"]


def test_relabel_keeps_unknown_labels():
    labels = ["wolf", None, "car", "cat"]
    new = granularity.relabel(labels, {"wolf": "mammal", "cat": "mammal", "car": "car"})
    assert new.tolist() == ["mammal", None, "car", "mammal"]
