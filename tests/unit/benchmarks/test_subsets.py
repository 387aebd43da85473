from collections import Counter
from itertools import combinations, pairwise

import numpy as np
import pytest

from workflow_scripts.lib.benchmarks import subsets
from workflow_scripts.lib.errors import InputError


def labels_of(counts, seed=0):
    """Codes 0, 1, ... in random order with these numbers of images, and three unknown ones."""
    rows = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(seed).permutation(np.concatenate([rows, [-1] * 3]))


def sizes(labels, rows):
    assert rows.dtype == np.int64
    assert (np.diff(rows) > 0).all()
    return dict(sorted(Counter(np.asarray(labels)[rows].tolist()).items()))


def test_codes_of_names_and_of_integers():
    classes, code = subsets.class_codes(["b", None, "a", "b"])
    assert (list(classes), code.tolist()) == (["a", "b"], [1, -1, 0, 1])
    classes, code = subsets.class_codes(np.array([30, -1, 7, 30]))
    assert (classes.tolist(), code.tolist()) == ([7, 30], [1, -1, 0, 1])


def test_class_balance_by_hand():
    found = subsets.class_balance(["a", "a", "b", None, "a"])
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
    balanced = subsets.class_balance(labels_of([5, 5, 5]))
    assert balanced["prior_entropy_normalised"] == pytest.approx(1)
    assert subsets.class_balance([4, 4])["prior_entropy_normalised"] == 1


def test_draws_are_nested_and_do_not_depend_on_other_classes():
    labels = labels_of([10, 20, 30])
    small, large = (subsets.draw_per_class(labels, n, 1) for n in (4, 15))
    assert sizes(labels, small) == {0: 4, 1: 4, 2: 4}
    assert sizes(labels, large) == {0: 10, 1: 15, 2: 15}
    assert set(small) < set(large)
    mixed = subsets.draw_per_class(labels, [0, 4, 30], 1)
    assert sizes(labels, mixed) == {1: 4, 2: 30}
    assert set(mixed[labels[mixed] == 1]) == set(small[labels[small] == 1])
    assert small.tobytes() == subsets.draw_per_class(labels, 4, 1).tobytes()
    assert set(small) != set(subsets.draw_per_class(labels, 4, 2))


def test_draws_are_uniform():
    labels = np.array([0, 0, 0, 0, 0, 1, -1])
    drawn = [pair for s in range(2000) for pair in [subsets.draw_per_class(labels, [2, 0], s)]]
    pairs = Counter(tuple(pair.tolist()) for pair in drawn)
    assert pairs.keys() == set(combinations(range(5), 2))
    assert min(pairs.values()) > 140  # of 200 expected, standard deviation 13
    assert max(pairs.values()) < 260


def test_imbalance_range_by_hand():
    # The percentiles 30 and 70 of 1 .. 11 lie at ranks 3 and 7, counted from 0: sizes 4 and 8.
    labels = labels_of(range(1, 12))
    assert list(sizes(labels, subsets.imbalance_range(labels, 20))) == [3, 4, 5, 6, 7]
    # 25 and 75 lie at 2.5 and 7.5: rounded outwards to ranks 2 and 8.
    assert list(sizes(labels, subsets.imbalance_range(labels, 25))) == [2, 3, 4, 5, 6, 7, 8]
    assert list(sizes(labels, subsets.imbalance_range(labels, 0))) == [5]
    everything = subsets.imbalance_range(labels, 50)
    assert everything.tolist() == np.flatnonzero(labels >= 0).tolist()
    names = np.array([f"class {c}" if c >= 0 else None for c in labels], object)
    assert (
        subsets.imbalance_range(names, 20).tolist()
        == np.flatnonzero((labels >= 3) & (labels <= 7)).tolist()
    )


def test_classes_of_equal_size_share_their_fate_in_nested_ranges():
    labels = labels_of([9, 2, 5, 5, 5, 5, 7, 7, 3, 20])
    kept = [set(sizes(labels, subsets.imbalance_range(labels, w))) for w in (0, 5, 10, 20, 30, 40)]
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
    equal = subsets.equal_size(labels, rows, 0)
    assert sizes(labels, equal) == {1: 40, 2: 40, 3: 40}
    assert set(equal) <= set(rows)
    same = subsets.same_shares(labels, rows, len(equal), 0)
    assert sizes(labels, same) == {1: 24, 2: 36, 3: 60}
    assert set(same) <= set(rows)
    # 7 of 200 images: 1.4, 2.1 and 3.5; the largest remainder gets the one that is left.
    assert sizes(labels, subsets.same_shares(labels, rows, 7, 0)) == {1: 1, 2: 2, 3: 4}
    for n in (1, 201):
        with pytest.raises(InputError, match=f"cannot draw {n} of 200"):
            subsets.same_shares(labels, rows, n, 0)


def test_exponential_tail_by_hand():
    labels = labels_of([120, 100, 130, 100, 110])
    rows = subsets.long_tail(labels, ratio=16, seed=3)
    assert sorted(sizes(labels, rows).values()) == [6, 12, 25, 50, 100]
    assert subsets.class_balance(labels[rows])["classes"] == 5
    again = subsets.long_tail(labels, ratio=16, seed=3)
    assert rows.tobytes() == again.tobytes()
    orders = {tuple(sizes(labels, subsets.long_tail(labels, 16, seed=s))) for s in range(9)}
    largest = {
        max(sizes(labels, subsets.long_tail(labels, 16, seed=s)).items(), key=lambda i: i[1])[0]
        for s in range(20)
    }
    assert len(orders) == 1
    assert len(largest) > 2


def test_pareto_tail_by_hand():
    # x from 1 to 128^(1/7) = 2 in three steps, 1.5 in the middle: 1, 1.5^-7 and 2^-7.
    labels = labels_of([1280] * 3)
    rows = subsets.long_tail(labels, ratio=128, shape="pareto")
    assert sorted(sizes(labels, rows).values()) == [10, int(1280 / 1.5**7), 1280]


def test_ratio_one_keeps_a_balanced_set_and_one_class_stays():
    labels = labels_of([20, 20])
    for shape in ("exponential", "pareto"):
        assert len(subsets.long_tail(labels, 1, shape)) == 40
        assert len(subsets.long_tail(labels_of([9]), 5, shape)) == 9


@pytest.mark.parametrize("ratio", [3, 7, 10, 49, 100])
def test_the_smallest_class_is_not_lost_to_rounding(ratio):
    labels = labels_of([ratio * 3] * 4)
    assert subsets.class_balance(labels[subsets.long_tail(labels, ratio)])["smallest"] == 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda y: subsets.long_tail(y, 31), "ratio to at most 30"),
        (lambda y: subsets.long_tail(y, 0.5), "at least 1"),
        (lambda y: subsets.long_tail(y, 2, "zipf"), "exponential or pareto"),
        (lambda y: subsets.imbalance_range(y, 51), "from 0 to 50, not 51"),
        (lambda y: subsets.class_balance([None, None]), "no image of the set has one"),
        (lambda y: subsets.imbalance_range(np.array([-1]), 5), "no image of the set has one"),
    ],
)
def test_refuses_what_cannot_be_built(call, message):
    with pytest.raises(InputError, match=message):
        call(labels_of([30, 40]))


ACCURACY = [0.9, 0.1, 0.5, 0.5, np.nan, 0.7, 0.99, 0.3]
COUNTS = [50, 40, 30, 60, 70, 20, 3, 90]


def test_easy_and_hard_classes_by_hand():
    def chosen(which, share, seed=0):
        found = subsets.select_by_difficulty(ACCURACY, COUNTS, share, which, seed, min_count=10)
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
        subsets.select_by_difficulty(ACCURACY, COUNTS, share, which, min_count=min_count)


def test_matched_selections_have_equal_sizes_and_share_images():
    labels = labels_of(COUNTS)
    selections = {"easy": np.array([0, 2, 5]), "random": np.array([0, 3, 7])}
    found = subsets.matched_rows(labels, selections, 0)
    assert sizes(labels, found["easy"]) == {0: 20, 2: 20, 5: 20}
    assert sizes(labels, found["random"]) == {0: 20, 3: 20, 7: 20}
    shared = set(found["easy"]) & set(found["random"])
    assert shared == set(found["easy"][labels[found["easy"]] == 0])
