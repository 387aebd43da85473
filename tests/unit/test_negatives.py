import numpy as np
import pytest

from workflow_scripts.lib import negatives, similarity
from workflow_scripts.lib.errors import InputError


def unit(rng, n, d=6):
    x = rng.standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def linear_quantile(values, q):
    values = sorted(values)
    at = q * (len(values) - 1)
    low = int(at)
    high = min(low + 1, len(values) - 1)
    return values[low] + (at - low) * (values[high] - values[low])


def reference(texts, positives, pos, quantile, share, limit):
    """NegLabel's rule in loops: [(id, d)] by part of speech, lowest d first."""
    texts = texts.astype(float)
    chosen = []
    for tag in dict.fromkeys(pos):
        part = []
        for n in range(len(texts)):
            if pos[n] != tag or n in positives:
                continue
            cosines = [float(texts[n] @ texts[p]) for p in set(positives)]
            if limit is None or max(cosines) <= limit:
                part.append((linear_quantile(cosines, quantile), n))
        chosen += sorted(part)[: int(len(part) * share)]
    return [n for _, n in chosen], [d for d, _ in chosen]


@pytest.mark.parametrize("positives", [[3], [0, 1], [5, 2, 2, 40, 11, 60, 99, 7]])
@pytest.mark.parametrize("quantile", [0.0, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("limit", [None, 0.6])
def test_neglabel_matches_the_rule_in_loops(positives, quantile, limit):
    rng = np.random.default_rng(len(positives))
    texts = unit(rng, 100)
    pos = rng.choice(["noun", "adjective"], 100, p=[0.7, 0.3]).tolist()
    ids, d = negatives.neglabel(texts, positives, pos, quantile, 0.3, limit)
    expected_ids, expected_d = reference(texts, positives, pos, quantile, 0.3, limit)
    assert ids.tolist() == expected_ids
    np.testing.assert_allclose(d, expected_d, atol=1e-6)
    assert d.dtype == np.float32


def test_a_worked_example():
    # Positive: concept 0 = (1, 0), so d is the first coordinate. Nouns 1..4, adjectives 5..8.
    first = [1, 0.8, 0.6, 0, -0.6, 0.6, 0.8, 0, 1]
    texts = np.array([[c, np.sqrt(1 - c * c)] for c in first], np.float32)
    pos = ["noun"] * 5 + ["adjective"] * 4
    ids, d = negatives.neglabel(texts, [0], pos, share=0.5)
    assert ids.tolist() == [4, 3, 7, 5]
    np.testing.assert_allclose(d, [-0.6, 0, 0, 0.6], atol=1e-7)
    ids, _ = negatives.neglabel(texts, [0], pos, share=0.74)
    assert ids.tolist() == [4, 3, 7, 5]  # 2.96 concepts of each: rounded down
    ids, _ = negatives.neglabel(texts, [0], pos, share=1, limit=0.7)
    assert ids.tolist() == [4, 3, 2, 7, 5]


def test_ties_go_to_the_lower_id():
    texts = np.ones((9, 1), np.float32)
    ids, _ = negatives.neglabel(texts, [4], ["noun"] * 9, share=0.5)
    assert ids.tolist() == [0, 1, 2, 3]


def test_rest_is_everything_but_the_positives():
    texts = unit(np.random.default_rng(0), 20)
    ids, d = negatives.rest(texts, [7, 0, 7], ["noun"] * 20)
    assert ids.tolist() == [i for i in range(20) if i not in (0, 7)]
    expected = np.quantile(texts[ids].astype(float) @ texts[[0, 7]].T.astype(float), 0.95, axis=1)
    np.testing.assert_allclose(d, expected, atol=1e-6)
    near = (texts[ids] @ texts[[0, 7]].T).max(axis=1) > 0.3
    assert near.any()
    assert negatives.rest(texts, [0, 7], None, limit=0.3)[0].tolist() == ids[~near].tolist()


@pytest.mark.parametrize("method", sorted(negatives.METHODS))
def test_the_tiles_do_not_matter(method, monkeypatch):
    rng = np.random.default_rng(2)
    texts = rng.choice(np.array([-1, -0.5, 0.5, 1], np.float32), (80, 3))  # exact products
    arguments = (texts, [1, 5, 9], rng.choice(["noun", "adjective"], 80))
    whole = negatives.METHODS[method](*arguments)
    monkeypatch.setattr(similarity, "TILE", 10)
    parts = negatives.METHODS[method](*arguments)
    np.testing.assert_array_equal(whole[0], parts[0])
    np.testing.assert_array_equal(whole[1], parts[1])


@pytest.mark.parametrize("positives", [[], [-1], [20]])
@pytest.mark.parametrize("method", sorted(negatives.METHODS))
def test_refuses_bad_positives(method, positives):
    with pytest.raises(InputError, match="between 0 and 19"):
        negatives.METHODS[method](np.ones((20, 2), np.float32), positives, ["noun"] * 20)


def test_refuses_to_return_nothing():
    texts = np.ones((4, 1), np.float32)
    with pytest.raises(InputError, match="raise `share`"):
        negatives.neglabel(texts, [0], ["noun"] * 4, share=0.3)
    with pytest.raises(InputError, match="raise `limit`"):
        negatives.rest(texts, [0], ["noun"] * 4, limit=0.9)
    with pytest.raises(InputError, match="larger corpus"):
        negatives.rest(texts, [0, 1, 2, 3], ["noun"] * 4)
