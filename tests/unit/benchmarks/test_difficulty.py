import numpy as np
import pyarrow as pa
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import KNeighborsClassifier

from workflow_scripts.lib.benchmarks import difficulty
from workflow_scripts.lib.benchmarks.subsets import draw_per_class
from workflow_scripts.lib.concepts import similarity
from workflow_scripts.lib.embeddings import Embeddings
from workflow_scripts.lib.errors import InputError


def blobs(counts, d=8, noise=0.5, seed=0):
    """Unit rows around one random direction per class, classes mixed; two rows without label."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.concatenate([np.repeat(np.arange(len(counts)), counts), [-1, -1]]))
    rows = rng.normal(size=(len(counts), d))[labels] / np.sqrt(d)
    rows += noise * rng.normal(size=rows.shape)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), labels


def stored(*arrays):
    """Embeddings of images without ids."""
    return Embeddings(arrays, pa.table({"image_id": [""] * sum(map(len, arrays))}), {})


def test_knn_equals_scikit_learn_with_each_row_left_out():
    embeddings, labels = blobs([40, 30, 20, 60])
    known = np.flatnonzero(labels >= 0)
    x, y = embeddings[known], labels[known]
    predicted = []
    for i in range(len(x)):
        # k = 1, where there are no ties
        model = KNeighborsClassifier(1, metric="cosine", algorithm="brute")
        predicted.append(model.fit(np.delete(x, i, 0), np.delete(y, i)).predict(x[i : i + 1])[0])
    expected = [np.mean(np.array(predicted)[y == c] == c) for c in range(4)]
    np.testing.assert_allclose(difficulty.knn_accuracy(stored(embeddings), labels, k=1), expected)
    assert 0.3 < np.mean(expected) < 0.99


@pytest.mark.parametrize("block", [3, 8192])
def test_vote_takes_the_nearer_of_equally_frequent_classes(monkeypatch, block):
    monkeypatch.setattr(similarity, "TILE", block * 4**2)
    code = np.array([0, 1, 2, 1, 0])
    neighbours = np.array([[1, 0, 3, 4], [4, 1, 0, 3], [2, 0, 4, 3], [2, 1, 0, 2], [0, 1, 2, 3]])
    # 1010 -> 1 is nearer; 0101 -> 0; 2001 -> 0 twice; 2102 -> 2; 0121 -> 1 twice
    assert difficulty.vote(neighbours, code).tolist() == [1, 0, 0, 2, 1]


def test_shards_and_half_precision_give_the_same(tmp_path):
    embeddings, labels = blobs([50, 40, 30])
    half = embeddings.astype(np.float16)
    parts = []
    for i, part in enumerate(np.array_split(half, [7, 30, 41, 95])):
        np.save(tmp_path / f"{i}.npy", part)
        parts.append(np.load(tmp_path / f"{i}.npy", mmap_mode="r"))
    exact = half.astype(np.float32)
    for probe in (difficulty.knn_accuracy, difficulty.linear_probe_accuracy):
        whole = probe(stored(exact), labels, per_class=25, seed=2)
        np.testing.assert_array_equal(probe(stored(*parts), labels, per_class=25, seed=2), whole)


def test_per_class_limits_the_rows_that_vote():
    # 3 rows of class 1 among 200 of class 0, all over the place: only equal numbers let 1 win.
    rng = np.random.default_rng(0)
    near = rng.normal([1, 0], 0.2, (3, 2))
    wide = rng.normal([1, 0], 0.2, (200, 2))
    embeddings = np.concatenate([near, wide]).astype(np.float32)
    images = stored(embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True))
    labels = np.array([1] * 3 + [0] * 200)
    assert difficulty.knn_accuracy(images, labels, k=5)[1] == 0
    draws = [difficulty.knn_accuracy(images, labels, k=2, per_class=3, seed=s)[1] for s in range(9)]
    assert np.mean(draws) > 0.2


@pytest.mark.parametrize("shrinkage", [0.1, 0.6])
def test_linear_probe_equals_scikit_learns_lda(shrinkage):
    embeddings, labels = blobs([60, 40, 100, 24], noise=0.35)
    names = np.array(["a", "b", "c", "d", None], object)[labels]
    found = difficulty.linear_probe_accuracy(stored(embeddings), names, 0.25, shrinkage, seed=5)
    rows = np.flatnonzero(labels >= 0)
    split_seed = np.random.SeedSequence(5).spawn(2)[1]
    test = np.zeros(len(labels), bool)
    test[rows[draw_per_class(labels[rows], [15, 10, 25, 6], split_seed)]] = True
    train = (labels >= 0) & ~test
    model = LinearDiscriminantAnalysis("lsqr", shrinkage=shrinkage, priors=np.full(4, 0.25))
    model.fit(embeddings[train].astype(np.float64), labels[train])
    predicted = model.predict(embeddings[test].astype(np.float64))
    expected = [np.mean(predicted[labels[test] == c] == c) for c in range(4)]
    np.testing.assert_allclose(found, expected)
    assert 0.5 < np.mean(expected) < 1


def test_easy_classes_score_higher_than_hard_ones_and_lone_rows_have_no_score():
    embeddings, labels = blobs([80, 80, 80, 1], noise=0.05)
    rng = np.random.default_rng(0)
    swap = np.isin(labels, [1, 2])
    labels[swap] = rng.integers(1, 3, swap.sum())  # 1 and 2 are told apart by nothing
    linear = difficulty.linear_probe_accuracy(stored(embeddings), labels)
    near = difficulty.knn_accuracy(stored(embeddings), labels)
    for accuracy in (linear, near):
        assert accuracy[0] == 1
        assert max(accuracy[1:3]) < 0.9
    assert np.isnan(linear[3])
    assert near[3] == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y: difficulty.knn_accuracy(x, y[1:]), "22 embeddings but 21 labels"),
        (
            lambda x, y: difficulty.knn_accuracy(x, y, k=20),
            "20 labelled images are too few to vote with 20",
        ),
        (lambda x, y: difficulty.linear_probe_accuracy(x, y, 0), "between 0 and 1"),
        (lambda x, y: difficulty.linear_probe_accuracy(x, y * 0), "at least two classes"),
        (lambda x, y: difficulty.knn_accuracy(x, [None] * 22), "no image of the set has one"),
        (lambda x, y: difficulty.linear_probe_accuracy(x, [None] * 22), "no image of the set"),
    ],
)
def test_refuses_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        embeddings, labels = blobs([10, 10])
        call(stored(embeddings), labels)
