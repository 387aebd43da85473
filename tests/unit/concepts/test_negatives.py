import numpy as np
import pytest

from workflow_scripts.lib.concepts import negatives, similarity
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.texts.trees import Tree


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
    """NegLabel's rule in loops: [(row, d)] by part of speech, lowest d first."""
    texts, positives = texts.astype(float), positives.astype(float)
    chosen = []
    for tag in dict.fromkeys(pos):
        part = []
        for n in range(len(texts)):
            cosines = [float(texts[n] @ p) for p in positives]
            if pos[n] == tag and (limit is None or max(cosines) <= limit):
                part.append((linear_quantile(cosines, quantile), n))
        chosen += sorted(part)[: int(len(part) * share)]
    return [n for _, n in chosen], [d for d, _ in chosen]


@pytest.mark.parametrize("n_positives", [1, 2, 8, 150])
@pytest.mark.parametrize("quantile", [0.0, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("limit", [None, 0.9])
def test_neglabel_matches_the_rule_in_loops(n_positives, quantile, limit):
    rng = np.random.default_rng(n_positives)
    texts, positives = unit(rng, 100), unit(rng, n_positives)
    texts[50:60] = positives[0]  # as near as can be
    pos = rng.choice(["noun", "adjective"], 100, p=[0.7, 0.3]).tolist()
    ids, d = negatives.neglabel(texts, positives, pos, quantile, 0.3, limit)
    expected_ids, expected_d = reference(texts, positives, pos, quantile, 0.3, limit)
    assert ids.tolist() == expected_ids
    np.testing.assert_allclose(d, expected_d, atol=1e-6)
    assert d.dtype == np.float32


def test_a_worked_example():
    # The positive is (1, 0), so d is the first coordinate. Nouns 0..3, adjectives 4..7.
    first = [0.8, 0.6, 0, -0.6, 0.6, 0.8, 0, 1]
    texts = np.array([[c, np.sqrt(1 - c * c)] for c in first], np.float32)
    positives = np.array([[1, 0]], np.float32)
    pos = ["noun"] * 4 + ["adjective"] * 4
    ids, d = negatives.neglabel(texts, positives, pos, share=0.5)
    assert ids.tolist() == [3, 2, 6, 4]
    np.testing.assert_allclose(d, [-0.6, 0, 0, 0.6], atol=1e-7)
    ids, _ = negatives.neglabel(texts, positives, pos, share=0.74)
    assert ids.tolist() == [3, 2, 6, 4]  # 2.96 concepts of each: rounded down
    ids, _ = negatives.neglabel(texts, positives, pos, share=1, limit=0.7)
    assert ids.tolist() == [3, 2, 1, 6, 4]


def test_ties_go_to_the_earlier_candidate():
    texts = np.ones((8, 1), np.float32)
    ids, _ = negatives.neglabel(texts, texts[:1], ["noun"] * 8, share=0.5)
    assert ids.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("quantile", [0.5, 1.0])
def test_distance_to_images_is_the_rule_with_images_for_positives(quantile, monkeypatch):
    rng = np.random.default_rng(3)
    texts, positives, images = unit(rng, 60), unit(rng, 4), unit(rng, 90)
    pos = rng.choice(["noun", "adjective"], 60).tolist()
    expected, d = reference(texts, images, pos, quantile, 0.3, None)
    monkeypatch.setattr(similarity, "TILE", 500)
    ids, found = negatives.neglabel(texts, positives, pos, quantile, 0.3, None, images)
    assert ids.tolist() == expected
    np.testing.assert_allclose(found, d, atol=1e-6)
    ids, _ = negatives.neglabel(texts, positives, pos, quantile, 1, 0.5, images)
    assert set(ids) == set(np.flatnonzero((texts @ positives.T).max(axis=1) <= 0.5))


def test_rest_is_all_candidates():
    rng = np.random.default_rng(0)
    texts, positives = unit(rng, 20), unit(rng, 2)
    ids, d = negatives.rest(texts, positives, ["noun"] * 20)
    assert ids.tolist() == list(range(20))
    expected = np.quantile(texts.astype(float) @ positives.T.astype(float), 0.99, axis=1)
    np.testing.assert_allclose(d, expected, atol=1e-6)
    near = (texts @ positives.T).max(axis=1) > 0.3
    assert 0 < near.sum() < 20
    ids, d = negatives.rest(texts, positives, None, limit=0.3)
    assert ids.tolist() == np.flatnonzero(~near).tolist()
    np.testing.assert_allclose(d, expected[~near], atol=1e-6)


@pytest.mark.parametrize("method", sorted(negatives.METHODS))
def test_the_tiles_do_not_matter(method, monkeypatch):
    rng = np.random.default_rng(2)
    texts = rng.choice(np.array([-1, -0.5, 0.5, 1], np.float32), (80, 3))  # exact products
    arguments = (texts, texts[[1, 5, 9]], rng.choice(["noun", "adjective"], 80))
    whole = negatives.METHODS[method](*arguments)
    monkeypatch.setattr(similarity, "TILE", 10)
    parts = negatives.METHODS[method](*arguments)
    np.testing.assert_array_equal(whole[0], parts[0])
    np.testing.assert_array_equal(whole[1], parts[1])


@pytest.mark.parametrize("method", sorted(negatives.METHODS))
def test_refuses_bad_positives(method):
    texts = np.ones((20, 2), np.float32)
    with pytest.raises(InputError, match="mine at least one"):
        negatives.METHODS[method](texts, texts[:0], ["noun"] * 20)
    with pytest.raises(InputError, match="2 dimensions, the positives 3"):
        negatives.METHODS[method](texts, np.ones((1, 3), np.float32), ["noun"] * 20)


def test_refuses_to_return_nothing():
    texts = np.ones((3, 1), np.float32)
    with pytest.raises(InputError, match="raise `share`"):
        negatives.neglabel(texts, texts, ["noun"] * 3, share=0.3)
    with pytest.raises(InputError, match="raise `limit`"):
        negatives.rest(texts, texts, ["noun"] * 3, limit=0.9)
    for method in negatives.METHODS.values():
        with pytest.raises(InputError, match="larger corpus"):
            method(texts[:0], texts, [])


def test_candidates_are_no_positives_and_each_once():
    names = ["dog", "cat", "red", "cat", "red", "tree", "furry creature"]
    pos = ["noun", "noun", "adjective", "adjective", "noun", "noun", "conjugated"]
    assert negatives.candidates(names, pos, ["dog", "unicorn"]).tolist() == [1, 2, 5, 6]
    assert negatives.candidates(names, pos, []).tolist() == [0, 1, 2, 5, 6]
    parts = ["noun", "conjugated"]  # "red" stays out of them as an adjective, but not as a noun
    assert negatives.candidates(names, pos, [], parts).tolist() == [0, 1, 4, 5, 6]
    assert negatives.candidates(names, pos, names).tolist() == []


# thing > animal > dog > puppy; thing > tool > crane (machine); animal > crane (bird);
# dog has an instance, rex, and a person is called crane as well.
NOUNS = Tree(
    names={
        "thing": ("n1",), "animal": ("n2",), "beast": ("n2",), "dog": ("n3",), "puppy": ("n4",),
        "tool": ("n5",), "crane": ("n8", "n6", "n7"), "rex": ("n9",), "hammer": ("n10",),
        "stephen crane": ("n8",),
    },
    parents={
        "n1": [], "n2": ["n1"], "n3": ["n2"], "n4": ["n3"], "n5": ["n1"], "n6": ["n5"],
        "n7": ["n2"], "n8": ["n1"], "n9": ["n3"], "n10": ["n5"],
    },
    instances=frozenset({"n8", "n9"}),
    files={f"n{i}": "noun.animal" for i in (2, 3, 4, 7, 9)}
    | {f"n{i}": "noun.artifact" for i in (5, 6, 10)}
    | {"n1": "noun.Tops", "n8": "noun.person"},
)  # fmt: skip
ADJECTIVES = Tree({"canine": ("a1",), "tool": ("a2",)}, {}, files={"a1": "adj.pert"})
TREES = {"noun": NOUNS, "adjective": ADJECTIVES}
WORDS = [*NOUNS.names, "unknown", "canine", "furry creature"]
PARTS = ["noun"] * 11 + ["adjective", "conjugated"]


def dropped(*filters, positives=()):
    kept = negatives.candidates(WORDS, PARTS, positives, filters=filters)
    return set(WORDS) - {WORDS[i] for i in kept} - set(positives)


def test_filter_of_relatives():
    # All senses of crane: the tool, the bird and the person, and what is above them.
    crane = negatives.unrelated(TREES, ["crane"])
    above_crane = {"thing", "tool", "animal", "beast", "stephen crane"}
    assert dropped(crane, positives=["crane"]) == above_crane
    animal = negatives.unrelated(TREES, ["animal"])
    assert dropped(animal, positives=["animal"]) == {
        "thing", "beast", "dog", "puppy", "rex", "crane",
    }  # fmt: skip
    assert dropped(negatives.unrelated(TREES, ["puppy"]), positives=["puppy"]) == {
        "dog", "animal", "beast", "thing",
    }  # fmt: skip
    assert dropped(negatives.unrelated(TREES, ["unknown"])) == set()


def test_filter_of_proper_nouns():
    assert dropped(negatives.common(TREES)) == {"rex", "stephen crane"}


def test_filter_of_lexicographer_files():
    assert dropped(negatives.outside(TREES, ["noun.person"])) == {"stephen crane"}
    assert dropped(negatives.outside(TREES, ["noun.artifact", "adj.pert"])) == {
        "tool", "hammer", "canine",
    }  # fmt: skip
    assert dropped(negatives.outside({"noun": NOUNS}, ["adj.pert"])) == set()


def test_filters_compose():
    both = negatives.common(TREES), negatives.outside(TREES, ["noun.artifact"])
    assert dropped(*both) == {"rex", "stephen crane", "tool", "hammer"}
