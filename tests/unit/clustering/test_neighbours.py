import numpy as np
import pytest

from workflow_scripts.lib.clustering import neighbours
from workflow_scripts.lib.clustering.neighbours import nearest_neighbours
from workflow_scripts.lib.errors import InputError


def unit_rows(n, d, seed=0):
    rows = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def brute_force(embeddings, k):
    cosine = embeddings.astype(np.float64) @ embeddings.T.astype(np.float64)
    np.fill_diagonal(cosine, -np.inf)
    return np.argsort(-cosine, axis=1)[:, :k]


@pytest.mark.parametrize("query_rows", [7, 8192])
def test_equals_brute_force_for_any_block_size(monkeypatch, query_rows):
    monkeypatch.setattr(neighbours, "QUERY_ROWS", query_rows)
    embeddings = unit_rows(300, 16)
    found = nearest_neighbours(embeddings, 12)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, brute_force(embeddings, 12))


def test_a_row_is_excluded_by_index_among_its_duplicates():
    # 6 copies of one row and k = 3: a copy's own row need not be among the k + 1 best.
    embeddings = unit_rows(40, 8)
    copies = [3, 10, 11, 20, 30, 39]
    embeddings[copies] = embeddings[3]
    found = nearest_neighbours(embeddings, 3)
    assert not (found == np.arange(40)[:, None]).any()
    assert np.isin(found[copies], copies).all()
    assert all(len(set(row)) == 3 for row in found.tolist())


def test_same_input_same_bytes():
    embeddings = np.repeat(unit_rows(50, 8), 4, axis=0)
    first, second = nearest_neighbours(embeddings, 6), nearest_neighbours(embeddings, 6)
    assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("k", [0, 5, 6])
def test_k_must_lie_between_1_and_the_other_rows(k):
    with pytest.raises(InputError, match="`neighbours` between 1 and 4"):
        nearest_neighbours(unit_rows(5, 4), k)
