import numpy as np
import pytest

from workflow_scripts.lib.concepts import similarity
from workflow_scripts.lib.concepts.similarity import top_concepts, top_of_rows
from workflow_scripts.lib.errors import InputError


def unit(rng, n, d=16):
    x = rng.standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def exact_rows(rng, n, d=4):
    """Rows of halves and wholes: their products are exact in float32, so ties are real ties."""
    return rng.choice(np.array([-1, -0.5, 0, 0.5, 1], np.float32), (n, d))


def reference(images, texts, m):
    """Sort every row by (cosine descending, id ascending)."""
    ids, cosines = [], []
    for image in images:
        row = [float(np.dot(image, text)) for text in texts]
        best = sorted(range(len(texts)), key=lambda j: (-row[j], j))[:m]
        ids.append(best)
        cosines.append([row[j] for j in best])
    return np.array(ids), np.array(cosines)


def test_a_worked_example():
    texts = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    ids, cosines = top_concepts([np.array([[1, 0], [0, 1]], np.float32)], texts, 2)
    assert ids.tolist() == [[0, 2], [1, 2]]
    np.testing.assert_allclose(cosines, [[1, 0.6], [1, 0.8]], atol=1e-7)
    assert ids.dtype == np.int32
    assert cosines.dtype == np.float32


@pytest.mark.parametrize("v", [1, 7, 64, 65, 130, 500])
def test_matches_a_full_sort_with_ties(v):
    rng = np.random.default_rng(v)
    images, texts = exact_rows(rng, 40), exact_rows(rng, v)
    for m in {1, min(5, v), v // 2 + 1, v}:
        ids, cosines = top_concepts([images[:11], images[11:]], texts, m)
        expected_ids, expected_cosines = reference(images, texts, m)
        np.testing.assert_array_equal(ids, expected_ids)
        np.testing.assert_array_equal(cosines, expected_cosines)


def test_matches_a_full_sort_on_unit_vectors():
    rng = np.random.default_rng(0)
    images, texts = unit(rng, 30), unit(rng, 700)
    ids, cosines = top_concepts([images], texts, 9)
    expected_ids, expected_cosines = reference(images, texts, 9)
    np.testing.assert_array_equal(ids, expected_ids)
    np.testing.assert_allclose(cosines, expected_cosines, atol=1e-6)


def test_all_concepts_equal_keeps_the_lowest_ids():
    ids, _ = top_concepts([np.ones((3, 2), np.float32)], np.ones((200, 2), np.float32), 4)
    assert ids.tolist() == [[0, 1, 2, 3]] * 3


def test_the_blocks_do_not_matter(monkeypatch):
    rng = np.random.default_rng(1)
    images, texts = exact_rows(rng, 50), exact_rows(rng, 90)
    whole = top_concepts([images], texts, 6)
    monkeypatch.setattr(similarity, "TILE", 300)
    for size in (1, 7, 50):
        parts = [images[i : i + size] for i in range(0, 50, size)]
        for a, b in zip(whole, top_concepts(iter(parts), texts, 6), strict=True):
            np.testing.assert_array_equal(a, b)


def test_tiles_are_bounded(monkeypatch):
    monkeypatch.setattr(similarity, "TILE", 90)
    texts = {"wide": np.ones((30, 2), np.float32), "narrow": np.ones((3, 2), np.float32)}
    blocks = [np.ones((7, 2), np.float32), np.ones((0, 2), np.float32), np.ones((2, 2), np.float32)]
    assert [len(part) for part in similarity.split_rows(blocks, 30)] == [3, 3, 1, 2]
    assert [len(part) for part in similarity.split_rows(blocks, 1000)] == [1] * 9
    assert [len(part) for part in similarity.tiles(blocks, texts)] == [3, 3, 1, 2]


def test_no_images():
    ids, cosines = top_concepts([], np.ones((4, 2), np.float32), 3)
    assert ids.shape == cosines.shape == (0, 3)


@pytest.mark.parametrize("m", [0, 5])
def test_refuses_an_impossible_m(m):
    with pytest.raises(InputError, match="between 1 and 4"):
        top_concepts([np.ones((1, 2), np.float32)], np.ones((4, 2), np.float32), m)


def test_refuses_other_dimensions():
    with pytest.raises(InputError, match="3 dimensions, the concepts 2"):
        top_concepts([np.ones((1, 3), np.float32)], np.ones((4, 2), np.float32), 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["images", "texts"])
def test_refuses_values_that_are_not_finite(bad, where):
    images, texts = np.ones((3, 2), np.float32), np.ones((70, 2), np.float32)
    (images if where == "images" else texts)[-1, 0] = bad
    with pytest.raises(InputError, match="NaN or infinite"):
        top_concepts([images], texts, 5)


@pytest.mark.parametrize(("n", "k"), [(1, 1), (5, 5), (63, 5), (64, 1), (700, 5), (700, 40)])
def test_top_is_a_stable_sort(n, k):
    rng = np.random.default_rng(n)
    sims = rng.integers(-4, 5, (30, n)).astype(np.float32)  # many ties
    for stored in (sims, np.asfortranarray(sims)):
        ids, cosines = top_of_rows(stored, k)
        expected = np.argsort(-sims, axis=1, kind="stable")[:, :k]
        np.testing.assert_array_equal(ids, expected)
        np.testing.assert_array_equal(cosines, np.take_along_axis(sims, expected, axis=1))
