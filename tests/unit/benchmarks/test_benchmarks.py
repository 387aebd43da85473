from collections import Counter
from itertools import combinations, pairwise

import numpy as np
import pytest

from workflow_scripts.lib.benchmarks import subsets as benchmarks
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.texts.trees import Tree

# dog has two parents; pet is above it by the shorter way.
PARENTS = {
    "thing": [],
    "animal": ["thing"],
    "mammal": ["animal"],
    "canine": ["mammal"],
    "dog": ["canine", "pet"],
    "pet": ["animal"],
    "wolf": ["canine"],
    "puppy": ["dog"],
    "cat": ["mammal"],
    "hawk": ["animal"],
    "car": ["thing"],
    "van": ["car"],
}
TREE = Tree({name: (name,) for name in PARENTS}, PARENTS)
CLASSES = ["car", "cat", "hawk", "puppy", "van", "wolf"]


def labels_of(counts, seed=0):
    """Codes 0, 1, ... in random order with these numbers of images, and three unknown ones."""
    rows = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(seed).permutation(np.concatenate([rows, [-1] * 3]))


def sizes(labels, rows):
    assert rows.dtype == np.int64
    assert (np.diff(rows) > 0).all()
    return dict(sorted(Counter(np.asarray(labels)[rows].tolist()).items()))


def test_codes_of_names_and_of_integers():
    classes, code = benchmarks.class_codes(["b", None, "a", "b"])
    assert (list(classes), code.tolist()) == (["a", "b"], [1, -1, 0, 1])
    classes, code = benchmarks.class_codes(np.array([30, -1, 7, 30]))
    assert (classes.tolist(), code.tolist()) == ([7, 30], [1, -1, 0, 1])


def test_describe_by_hand():
    found = benchmarks.describe(["a", "a", "b", None, "a"])
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert found == {
        "n": 4,
        "classes": 2,
        "largest": 3,
        "smallest": 1,
        "imbalance_ratio": 3.0,
        "prior_entropy": pytest.approx(entropy),
        "prior_entropy_normalised": pytest.approx(entropy / np.log(2)),
    }
    balanced = benchmarks.describe(labels_of([5, 5, 5]))
    assert balanced["prior_entropy_normalised"] == pytest.approx(1)
    assert benchmarks.describe([4, 4])["prior_entropy_normalised"] == 1


def test_draws_are_nested_and_do_not_depend_on_other_classes():
    labels = labels_of([10, 20, 30])
    small, large = (benchmarks.draw_per_class(labels, n, 1) for n in (4, 15))
    assert sizes(labels, small) == {0: 4, 1: 4, 2: 4}
    assert sizes(labels, large) == {0: 10, 1: 15, 2: 15}
    assert set(small) < set(large)
    mixed = benchmarks.draw_per_class(labels, [0, 4, 30], 1)
    assert sizes(labels, mixed) == {1: 4, 2: 30}
    assert set(mixed[labels[mixed] == 1]) == set(small[labels[small] == 1])
    assert small.tobytes() == benchmarks.draw_per_class(labels, 4, 1).tobytes()
    assert set(small) != set(benchmarks.draw_per_class(labels, 4, 2))


def test_draws_are_uniform():
    labels = np.array([0, 0, 0, 0, 0, 1, -1])
    drawn = [pair for s in range(2000) for pair in [benchmarks.draw_per_class(labels, [2, 0], s)]]
    pairs = Counter(tuple(pair.tolist()) for pair in drawn)
    assert pairs.keys() == set(combinations(range(5), 2))
    assert min(pairs.values()) > 140  # of 200 expected, standard deviation 13
    assert max(pairs.values()) < 260


def test_imbalance_range_by_hand():
    # The percentiles 30 and 70 of 1 .. 11 lie at ranks 3 and 7, counted from 0: sizes 4 and 8.
    labels = labels_of(range(1, 12))
    assert list(sizes(labels, benchmarks.imbalance_range(labels, 20))) == [3, 4, 5, 6, 7]
    # 25 and 75 lie at 2.5 and 7.5: rounded outwards to ranks 2 and 8.
    assert list(sizes(labels, benchmarks.imbalance_range(labels, 25))) == [2, 3, 4, 5, 6, 7, 8]
    assert list(sizes(labels, benchmarks.imbalance_range(labels, 0))) == [5]
    everything = benchmarks.imbalance_range(labels, 50)
    assert everything.tolist() == np.flatnonzero(labels >= 0).tolist()
    names = np.array([f"class {c}" if c >= 0 else None for c in labels], object)
    assert (
        benchmarks.imbalance_range(names, 20).tolist()
        == np.flatnonzero((labels >= 3) & (labels <= 7)).tolist()
    )


def test_classes_of_equal_size_share_their_fate_in_nested_ranges():
    labels = labels_of([9, 2, 5, 5, 5, 5, 7, 7, 3, 20])
    kept = [
        set(sizes(labels, benchmarks.imbalance_range(labels, w))) for w in (0, 5, 10, 20, 30, 40)
    ]
    for narrow, wide in pairwise(kept):
        assert narrow <= wide
    for classes in kept:
        assert len(classes & {2, 3, 4, 5}) in (0, 4)
        assert len(classes & {6, 7}) in (0, 2)
    assert kept[0] == {2, 3, 4, 5}
    # Of the sizes in order, 30 % below and above the median: ranks 1.8 and 7.2, so 1 to 8.
    assert kept[4] == {0, 2, 3, 4, 5, 6, 7, 8}
    assert kept[5] == set(range(10))


def test_controls_of_an_imbalance_range():
    labels = labels_of([1, 40, 60, 100, 900])
    rows = np.flatnonzero((labels >= 1) & (labels <= 3))
    equal = benchmarks.equal_size(labels, rows, 0)
    assert sizes(labels, equal) == {1: 40, 2: 40, 3: 40}
    assert set(equal) <= set(rows)
    same = benchmarks.same_shares(labels, rows, len(equal), 0)
    assert sizes(labels, same) == {1: 24, 2: 36, 3: 60}
    assert set(same) <= set(rows)
    # 7 of 200 images: 1.4, 2.1 and 3.5; the largest remainder gets the one that is left.
    assert sizes(labels, benchmarks.same_shares(labels, rows, 7, 0)) == {1: 1, 2: 2, 3: 4}
    for n in (1, 201):
        with pytest.raises(InputError, match=f"cannot draw {n} of 200"):
            benchmarks.same_shares(labels, rows, n, 0)


def test_exponential_tail_by_hand():
    labels = labels_of([120, 100, 130, 100, 110])
    rows = benchmarks.long_tail(labels, ratio=16, seed=3)
    assert sorted(sizes(labels, rows).values()) == [6, 12, 25, 50, 100]
    assert benchmarks.describe(labels[rows])["classes"] == 5
    again = benchmarks.long_tail(labels, ratio=16, seed=3)
    assert rows.tobytes() == again.tobytes()
    orders = {tuple(sizes(labels, benchmarks.long_tail(labels, 16, seed=s))) for s in range(9)}
    largest = {
        max(sizes(labels, benchmarks.long_tail(labels, 16, seed=s)).items(), key=lambda i: i[1])[0]
        for s in range(20)
    }
    assert len(orders) == 1
    assert len(largest) > 2


def test_pareto_tail_by_hand():
    # x from 1 to 128^(1/7) = 2 in three steps, 1.5 in the middle: 1, 1.5^-7 and 2^-7.
    labels = labels_of([1280] * 3)
    rows = benchmarks.long_tail(labels, ratio=128, shape="pareto")
    assert sorted(sizes(labels, rows).values()) == [10, int(1280 / 1.5**7), 1280]


def test_ratio_one_keeps_a_balanced_set_and_one_class_stays():
    labels = labels_of([20, 20])
    for shape in ("exponential", "pareto"):
        assert len(benchmarks.long_tail(labels, 1, shape)) == 40
        assert len(benchmarks.long_tail(labels_of([9]), 5, shape)) == 9


@pytest.mark.parametrize("ratio", [3, 7, 10, 49, 100])
def test_the_smallest_class_is_not_lost_to_rounding(ratio):
    labels = labels_of([ratio * 3] * 4)
    assert benchmarks.describe(labels[benchmarks.long_tail(labels, ratio)])["smallest"] == 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda y: benchmarks.long_tail(y, 31), "ratio to at most 30"),
        (lambda y: benchmarks.long_tail(y, 0.5), "at least 1"),
        (lambda y: benchmarks.long_tail(y, 2, "zipf"), "exponential or pareto"),
        (lambda y: benchmarks.imbalance_range(y, 51), "from 0 to 50, not 51"),
        (lambda y: benchmarks.describe([None, None]), "no image of the set has one"),
        (lambda y: benchmarks.imbalance_range(np.array([-1]), 5), "no image of the set has one"),
    ],
)
def test_refuses_what_cannot_be_built(call, message):
    with pytest.raises(InputError, match=message):
        call(labels_of([30, 40]))


def test_cut_at_depth_by_hand():
    assert benchmarks.cut_at_depth(TREE, CLASSES, 1) == {
        "car": "car", "cat": "animal", "hawk": "animal", "puppy": "animal", "van": "car",
        "wolf": "animal",
    }  # fmt: skip
    # puppy's lineage goes over pet, the shorter way; car and hawk are above the cut or on it.
    assert benchmarks.cut_at_depth(TREE, CLASSES, 2) == {
        "car": "car", "cat": "mammal", "hawk": "hawk", "puppy": "pet", "van": "van",
        "wolf": "mammal",
    }  # fmt: skip
    assert set(benchmarks.cut_at_depth(TREE, CLASSES, 0).values()) == {"thing"}
    assert benchmarks.cut_at_depth(TREE, CLASSES, 9) == {name: name for name in CLASSES}
    with pytest.raises(InputError, match="depth"):
        benchmarks.cut_at_depth(TREE, CLASSES, -1)
    with pytest.raises(InputError, match="no node 'boat'"):
        benchmarks.cut_at_depth(TREE, ["boat"], 1)


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
        assert benchmarks.cut_at_leaves(TREE, CLASSES, leaves) == expected
        assert len(set(expected.values())) == leaves
    assert benchmarks.cut_at_leaves(TREE, CLASSES, 4) == benchmarks.cut_at_leaves(TREE, CLASSES, 3)
    with pytest.raises(InputError, match="leave 1 groups, not 0"):
        benchmarks.cut_at_leaves(TREE, CLASSES, 0)


def random_tree(rng, size):
    parents = {"0": []}
    for i in range(1, size):
        above = rng.choice(i, size=min(i, rng.integers(1, 3)), replace=False)
        parents[str(i)] = [str(p) for p in above]
    return Tree({node: (node,) for node in parents}, parents)


@pytest.mark.parametrize("seed", range(6))
def test_groups_hold_all_classes_below_their_node(seed):
    rng = np.random.default_rng(seed)
    tree = random_tree(rng, 60)
    names = rng.choice(list(tree.parents), 25, replace=False).tolist()
    before = len(names)
    for leaves in range(25, 0, -1):
        group = benchmarks.cut_at_leaves(tree, names, leaves)
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
    names = benchmarks.group_names(tree, node_of)
    assert names == {"a": "n2", "b": "n3", "c": "dog", "d": "dog"}
    assert [tree.node(name) for name in ("n2", "n3")] == ["n2", "n3"]


def test_relabel_keeps_unknown_labels():
    labels = ["wolf", None, "car", "cat"]
    new = benchmarks.relabel(labels, {"wolf": "mammal", "cat": "mammal", "car": "car"})
    assert new.tolist() == ["mammal", None, "car", "mammal"]


ACCURACY = [0.9, 0.1, 0.5, 0.5, np.nan, 0.7, 0.99, 0.3]
COUNTS = [50, 40, 30, 60, 70, 20, 3, 90]


def test_easy_and_hard_classes_by_hand():
    def chosen(which, share, seed=0):
        found = benchmarks.select_by_difficulty(ACCURACY, COUNTS, share, which, seed, min_count=10)
        return found.tolist()

    # Class 4 has no accuracy, class 6 too few images: 0, 5, 2, 3, 7, 1 from easy to hard.
    assert chosen("easy", 0.5) == [0, 2, 5]
    assert chosen("hard", 0.5) == [1, 3, 7]
    assert chosen("easy", 0.01) == [0]
    assert chosen("hard", 1) == chosen("easy", 1) == [0, 1, 2, 3, 5, 7]
    draws = [tuple(chosen("random", 0.5, seed)) for seed in range(50)]
    assert all(len(set(draw)) == 3 and set(draw) < {0, 1, 2, 3, 5, 7} for draw in draws)
    assert set().union(*draws) == {0, 1, 2, 3, 5, 7}
    assert chosen("random", 0.5, 4) == chosen("random", 0.5, 4)


@pytest.mark.parametrize(
    ("share", "which", "min_count"),
    [(0, "easy", 1), (1.1, "easy", 1), (1, "odd", 1), (1, "hard", 99)],
)
def test_refuses_impossible_selections(share, which, min_count):
    with pytest.raises(InputError, match="share must be above 0"):
        benchmarks.select_by_difficulty(ACCURACY, COUNTS, share, which, min_count=min_count)


def test_matched_selections_have_equal_sizes_and_share_images():
    labels = labels_of(COUNTS)
    selections = {"easy": np.array([0, 2, 5]), "random": np.array([0, 3, 7])}
    found = benchmarks.matched_rows(labels, selections, 0)
    assert sizes(labels, found["easy"]) == {0: 20, 2: 20, 5: 20}
    assert sizes(labels, found["random"]) == {0: 20, 3: 20, 7: 20}
    shared = set(found["easy"]) & set(found["random"])
    assert shared == set(found["easy"][labels[found["easy"]] == 0])


def test_valid_labels_by_hand():
    valid = benchmarks.valid_labels(TREE, ["puppy", "car"])
    assert valid["car"] == {"car": 0, "thing": 1}
    # dog 1, canine and pet 2, animal over pet 3, mammal over canine 3, thing 4
    assert valid["puppy"] == {
        "puppy": 0, "dog": 1, "canine": 2, "pet": 2, "animal": 3, "mammal": 3, "thing": 4,
    }  # fmt: skip


def test_common_ancestor_steps_by_hand():
    names = ["car", "cat", "van", "wolf", "canine"]
    steps = benchmarks.common_ancestor_steps(benchmarks.valid_labels(TREE, names))
    expected = [
        [0, 1, 0, 1, 1],  # car: van is a car; thing is above the others
        [3, 0, 3, 1, 1],  # cat: mammal, animal, thing
        [1, 2, 0, 2, 2],  # van: itself, car, thing
        [4, 2, 4, 0, 1],  # wolf: canine, mammal, animal, thing
        [3, 1, 3, 0, 0],  # canine: a wolf is one
    ]
    np.testing.assert_array_equal(steps, expected)
    apart = Tree({"a": ("a",), "b": ("b",)}, {"a": [], "b": []})
    far = benchmarks.common_ancestor_steps(benchmarks.valid_labels(apart, ["a", "b"]))
    np.testing.assert_array_equal(far, [[0, 127], [127, 0]])


@pytest.mark.parametrize("seed", range(3))
def test_common_ancestor_steps_match_a_slow_search(seed):
    rng = np.random.default_rng(seed)
    tree = random_tree(rng, 50)
    names = rng.choice(list(tree.parents), 20, replace=False).tolist()
    steps = benchmarks.common_ancestor_steps(benchmarks.valid_labels(tree, names))

    def slow(true, predicted):
        """Widen the true label, level by level, until it covers the prediction."""
        covered = {predicted} | tree.ancestors([predicted])
        level, n = {true}, 0
        while not level & covered:
            level, n = {p for node in level for p in tree.parents[node]}, n + 1
        return n

    assert steps.tolist() == [[slow(a, b) for b in names] for a in names]


def test_majority_class_by_hand():
    clusters = [0, 0, 0, 2, 2, 2, 3, 4]
    labels = [1, 1, 0, 2, 0, -1, -1, 5]
    # cluster 1 is empty, 3 has no labelled image, 2 is a tie
    assert benchmarks.majority_class(clusters, labels, 6).tolist() == [1, -1, 0, -1, 5, -1]
    assert benchmarks.majority_class([0, 1], [-1, -1], 2).tolist() == [-1, -1]


def test_topk_hit_rates_by_hand():
    names = ["car", "cat", "van", "wolf"]
    steps = benchmarks.common_ancestor_steps(benchmarks.valid_labels(TREE, names))
    class_of_cluster = np.array([0, 1, 2, 3, 1, -1])  # clusters 1 and 4 are both cats
    top = [[1, 4], [1, 3], [3, 1], [0, 5], [2, 0], [0, 2], [0, 1]]
    labels = [1, 1, 1, 0, 2, 3, -1]
    found = benchmarks.topk_hit_rates(top, labels, class_of_cluster, steps, levels=(0, 1, 4))
    rate = {(row["rank"], row["hit"]): row["rate"] for row in found}
    n = {row["rank"]: row["n"] for row in found}
    # First: cat, cat, wolf for a cat (1 step: mammal), car, van, car for a wolf (4 steps).
    assert n == {1: 6, 2: 5}
    assert rate[1, "exact"] == rate[1, "level 0"] == 4 / 6
    assert rate[1, "level 1"] == 5 / 6
    assert rate[1, "level 4"] == 1
    # Second: the first image's is a cat again, so left out; wolf for a cat (1), cat for a cat,
    # a nameless cluster, car for a van (1), van for a wolf (4).
    assert rate[2, "exact"] == rate[2, "level 0"] == 1 / 5
    assert rate[2, "level 1"] == 3 / 5
    assert rate[2, "level 4"] == 4 / 5


def test_chance_is_the_mean_of_predictions_drawn_anew():
    rng = np.random.default_rng(0)
    names = ["car", "cat", "van", "wolf"]
    steps = benchmarks.common_ancestor_steps(benchmarks.valid_labels(TREE, names))
    class_of_cluster = np.array([0, 1, 2, 3, 1, -1])
    labels = rng.integers(-1, 4, 60)
    top = rng.permuted(np.tile(np.arange(6), (60, 1)), axis=1)[:, :3]
    found = benchmarks.topk_hit_rates(top, labels, class_of_cluster, steps, levels=(1, 2))
    known = labels >= 0
    own, classes = labels[known], class_of_cluster[top[known]]
    for rank in (1, 2, 3):
        counted = np.flatnonzero((classes[:, rank - 1] != classes[:, 0]) | (rank == 1))
        by = {row["hit"]: row for row in found if row["rank"] == rank}
        assert by["exact"]["n"] == len(counted)
        expected = {"exact": [], "level 1": [], "level 2": []}
        for i in counted:
            pool = [c for c in classes[:, rank - 1] if rank == 1 or c != classes[i, 0]]
            expected["exact"].append(np.mean([c == own[i] for c in pool]))
            for level in (1, 2):
                hits = [c >= 0 and steps[own[i], c] <= level for c in pool]
                expected[f"level {level}"].append(np.mean(hits))
        for hit, values in expected.items():
            assert by[hit]["chance"] == pytest.approx(np.mean(values))


def test_only_predictions_that_depend_on_the_image_beat_chance():
    rng = np.random.default_rng(0)
    names = ["car", "cat", "van", "wolf"]
    steps = benchmarks.common_ancestor_steps(benchmarks.valid_labels(TREE, names))
    labels = rng.integers(0, 4, 20000)
    # The first prediction is right; the second is wolf for 60 %, else car, whatever the image.
    second = np.where(rng.random(20000) < 0.6, 3, 0)
    sibling = np.array([2, 3, 0, 1])[labels]
    for rank_two, gain in ((second, 0), (sibling, 0.5)):
        top = np.stack([labels, rank_two], axis=1)
        found = benchmarks.topk_hit_rates(top, labels, np.arange(4), steps, levels=(1, 2))
        exact, level_1, level_2 = found[3:]
        assert exact["rate"] == exact["chance"] == 0
        if gain == 0:
            assert level_1["rate"] == pytest.approx(level_1["chance"], abs=0.02)
            assert level_2["rate"] == pytest.approx(level_2["chance"], abs=0.02)
        else:
            assert level_2["rate"] == 1
            assert level_2["chance"] < 0.7


def test_no_countable_image_gives_nan():
    found = benchmarks.topk_hit_rates([[0, 0]], [0], np.array([0]), np.zeros((1, 1), np.int8))
    assert found[0]["rate"] == 1
    assert found[-1]["n"] == 0
    assert np.isnan(found[-1]["rate"])
