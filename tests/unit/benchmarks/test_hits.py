import numpy as np
import pytest
from trees_of_classes import TREE, random_tree

from workflow_scripts.lib.benchmarks import hits
from workflow_scripts.lib.texts.trees import Tree


def test_valid_labels_by_hand():
    valid = hits.valid_labels(TREE, ["puppy", "car"])
    assert valid["car"] == {"car": 0, "thing": 1}
    # dog 1, canine and pet 2, animal over pet 3, mammal over canine 3, thing 4
    assert valid["puppy"] == {
        "puppy": 0, "dog": 1, "canine": 2, "pet": 2, "animal": 3, "mammal": 3, "thing": 4,
    }  # fmt: skip


def test_common_ancestor_steps_by_hand():
    names = ["car", "cat", "van", "wolf", "canine"]
    steps = hits.common_ancestor_steps(hits.valid_labels(TREE, names))
    expected = [
        [0, 1, 0, 1, 1],  # car: van is a car; thing is above the others
        [3, 0, 3, 1, 1],  # cat: mammal, animal, thing
        [1, 2, 0, 2, 2],  # van: itself, car, thing
        [4, 2, 4, 0, 1],  # wolf: canine, mammal, animal, thing
        [3, 1, 3, 0, 0],  # canine: a wolf is one
    ]
    np.testing.assert_array_equal(steps, expected)
    apart = Tree({"a": ("a",), "b": ("b",)}, {"a": [], "b": []})
    far = hits.common_ancestor_steps(hits.valid_labels(apart, ["a", "b"]))
    np.testing.assert_array_equal(far, [[0, 127], [127, 0]])


@pytest.mark.parametrize("seed", range(3))
def test_common_ancestor_steps_match_a_slow_search(seed):
    rng = np.random.default_rng(seed)
    tree = random_tree(rng, 50)
    names = rng.choice(list(tree.parents), 20, replace=False).tolist()
    steps = hits.common_ancestor_steps(hits.valid_labels(tree, names))

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
    assert hits.majority_class(clusters, labels, 6).tolist() == [1, -1, 0, -1, 5, -1]
    assert hits.majority_class([0, 1], [-1, -1], 2).tolist() == [-1, -1]


def test_topk_hit_rates_by_hand():
    names = ["car", "cat", "van", "wolf"]
    steps = hits.common_ancestor_steps(hits.valid_labels(TREE, names))
    class_of_cluster = np.array([0, 1, 2, 3, 1, -1])  # clusters 1 and 4 are both cats
    top = [[1, 4], [1, 3], [3, 1], [0, 5], [2, 0], [0, 2], [0, 1]]
    labels = [1, 1, 1, 0, 2, 3, -1]
    found = hits.topk_hit_rates(top, labels, class_of_cluster, steps, levels=(0, 1, 4))
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
    steps = hits.common_ancestor_steps(hits.valid_labels(TREE, names))
    class_of_cluster = np.array([0, 1, 2, 3, 1, -1])
    labels = rng.integers(-1, 4, 60)
    top = rng.permuted(np.tile(np.arange(6), (60, 1)), axis=1)[:, :3]
    found = hits.topk_hit_rates(top, labels, class_of_cluster, steps, levels=(1, 2))
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
                within = [c >= 0 and steps[own[i], c] <= level for c in pool]
                expected[f"level {level}"].append(np.mean(within))
        for hit, values in expected.items():
            assert by[hit]["chance"] == pytest.approx(np.mean(values))


def test_only_predictions_that_depend_on_the_image_beat_chance():
    rng = np.random.default_rng(0)
    names = ["car", "cat", "van", "wolf"]
    steps = hits.common_ancestor_steps(hits.valid_labels(TREE, names))
    labels = rng.integers(0, 4, 20000)
    # The first prediction is right; the second is wolf for 60 %, else car, whatever the image.
    second = np.where(rng.random(20000) < 0.6, 3, 0)
    sibling = np.array([2, 3, 0, 1])[labels]
    for rank_two, gain in ((second, 0), (sibling, 0.5)):
        top = np.stack([labels, rank_two], axis=1)
        found = hits.topk_hit_rates(top, labels, np.arange(4), steps, levels=(1, 2))
        exact, level_1, level_2 = found[3:]
        assert exact["rate"] == exact["chance"] == 0
        if gain == 0:
            assert level_1["rate"] == pytest.approx(level_1["chance"], abs=0.02)
            assert level_2["rate"] == pytest.approx(level_2["chance"], abs=0.02)
        else:
            assert level_2["rate"] == 1
            assert level_2["chance"] < 0.7


def test_no_countable_image_gives_nan():
    found = hits.topk_hit_rates([[0, 0]], [0], np.array([0]), np.zeros((1, 1), np.int8))
    assert found[0]["rate"] == 1
    assert found[-1]["n"] == 0
    assert np.isnan(found[-1]["rate"])
