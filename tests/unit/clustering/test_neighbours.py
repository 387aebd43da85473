import json

import numpy as np
import pytest

from workflow_scripts.find_neighbours import find_neighbours
from workflow_scripts.lib.artifacts import write_array, write_table
from workflow_scripts.lib.clustering import neighbours
from workflow_scripts.lib.clustering.neighbours import nearest_neighbours, neighbours_in_cells
from workflow_scripts.lib.errors import InputError


def unit_rows(n, d, seed=0):
    rows = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def brute_force(embeddings, k):
    cosine = embeddings.astype(np.float64) @ embeddings.T.astype(np.float64)
    np.fill_diagonal(cosine, -np.inf)
    return np.argsort(-cosine, axis=1)[:, :k]


@pytest.mark.parametrize("block_rows", [7, 65536])
def test_equals_brute_force_for_any_block_size(monkeypatch, block_rows):
    monkeypatch.setattr(neighbours, "BLOCK_ROWS", block_rows)
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


@pytest.mark.parametrize("k", [3, 25])
def test_all_cells_give_the_exact_neighbours(k):
    embeddings = unit_rows(300, 16)
    found, recall = neighbours_in_cells(embeddings, k, probes=300)
    assert (found.dtype, recall) == (np.int32, 1)
    np.testing.assert_array_equal(found, brute_force(embeddings, k))


def test_the_recall_of_some_cells_is_told():
    embeddings, k = unit_rows(900, 8), 5
    expected = brute_force(embeddings, k)
    recalls = []
    for probes in (1, 10, 40):
        found, recall = neighbours_in_cells(embeddings, k, probes)
        assert not (found == np.arange(900)[:, None]).any()
        hits = [len(set(a) & set(b)) for a, b in zip(found, expected, strict=True)]
        assert recall == pytest.approx(sum(hits) / (900 * k))
        recalls.append(recall)
    assert recalls == sorted(set(recalls))
    assert recalls[0] < 0.7 < recalls[-1] < 1


def test_cells_of_few_rows_are_searched_until_there_are_enough():
    embeddings = unit_rows(60, 8)
    found, _ = neighbours_in_cells(embeddings, 50, probes=1)
    assert all(len(set(row)) == 50 for row in found.tolist())
    assert not (found == np.arange(60)[:, None]).any()


def test_above_the_limit_the_graph_is_approximate_and_says_so(tmp_path, caplog):
    write_array(tmp_path / "e.npy", unit_rows(400, 8).astype(np.float16))
    write_table(tmp_path / "e.parquet", {"image_id": [str(i) for i in range(400)]})
    for limit, exact in ((400, True), (399, False)):
        cfg, outputs = (
            {"k": 5, "exact": limit, "probes": 3},
            (tmp_path / "k.npy", tmp_path / "k.json"),
        )
        find_neighbours([tmp_path / "e.npy"], [tmp_path / "e.parquet"], cfg, *outputs)
        told = json.loads(outputs[1].read_text())
        assert told["exact"] is exact
        assert (told["recall"] == 1) is exact
        assert ("approximate, recall 0." in caplog.text) is not exact
        assert np.load(outputs[0]).shape == (400, 5)


def test_same_input_same_bytes():
    embeddings = np.repeat(unit_rows(50, 8), 4, axis=0)
    first, second = nearest_neighbours(embeddings, 6), nearest_neighbours(embeddings, 6)
    assert first.tobytes() == second.tobytes()
    first, second = (neighbours_in_cells(embeddings, 6, 5) for _ in range(2))
    assert first[0].tobytes() == second[0].tobytes()


@pytest.mark.parametrize("k", [0, 5, 6])
def test_k_must_lie_between_1_and_the_other_rows(k):
    with pytest.raises(InputError, match="`neighbours` between 1 and 4"):
        nearest_neighbours(unit_rows(5, 4), k)
