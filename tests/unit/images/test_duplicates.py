"""Duplicates against pairs found by hand and against the full matrix of cosines."""

import itertools

import numpy as np
import pyarrow as pa
import pytest

from workflow_scripts.lib.clustering.neighbours import nearest_neighbours
from workflow_scripts.lib.embeddings import IMAGE_INDEX, Embeddings
from workflow_scripts.lib.images import duplicates as module
from workflow_scripts.lib.images.duplicates import duplicates, nearest_rows

OWN = ("train", "test", "noise", "blur")  # the order of the sets


def images(hashes, rows=None, ids=None, shards=2):
    """Embeddings of images with these hashes (None: unknown), in shards; by default all the same
    vector."""
    n = len(hashes)
    rows = np.ones((n, 4), np.float32) / 2 if rows is None else rows
    ids = ids or [f"{i}.png" for i in range(n)]
    index = pa.table([ids, [None] * n, list(hashes)], schema=IMAGE_INDEX)
    parts = [pa.Table.from_batches(index.slice(start, 2).to_batches(), IMAGE_INDEX)
             for start in range(0, n, 2)]  # fmt: skip
    arrays = np.array_split(rows.astype(np.float16), shards)
    return Embeddings(arrays, pa.concat_tables(parts or [index]), {})


def found(sets, shown=None, *args):
    """Rows of `duplicates` without the cosine."""
    shown = shown or {name: name for name in sets}
    frame = duplicates(sets, shown, *args)
    assert list(frame) == ["kind", "image_set", "image_id", "other_set", "other_id", "cosine"]
    return list(frame.drop(columns="cosine").itertuples(index=False, name=None))


def test_exact_copies_within_a_set_and_across_sets():
    sets = {
        "train": images("abab a".replace(" ", "c")),
        "test": images("xaxd"),
        "noise": images("xeab"),
    }
    assert found(sets) == [
        ("exact", "train", "2.png", "train", "0.png"),
        ("exact", "train", "3.png", "train", "1.png"),
        ("exact", "train", "5.png", "train", "0.png"),
        ("exact", "test", "1.png", "train", "0.png"),
        ("exact", "test", "2.png", "test", "0.png"),
        ("exact", "noise", "0.png", "test", "0.png"),
        ("exact", "noise", "2.png", "train", "0.png"),
        ("exact", "noise", "2.png", "test", "1.png"),
        ("exact", "noise", "3.png", "train", "1.png"),
    ]  # fmt: skip


def test_exact_copies_are_those_of_every_pair_of_images():
    rng = np.random.default_rng(0)
    sets = {name: images([str(h) for h in rng.integers(40, size=30)]) for name in OWN}
    every = [(name, i, h) for name, s in sets.items()
             for i, h in enumerate(s.index["sha256"].to_pylist())]  # fmt: skip
    first = {}
    for name, i, h in every:
        first.setdefault((h, name), i)
    expected = {
        ("exact", name, f"{i}.png", other, f"{first[h, other]}.png")
        for name, i, h in every
        for other in OWN[: OWN.index(name) + 1]
        if (h, other) in first and (other, first[h, other]) != (name, i)
    }
    pairs = found(sets)
    assert set(pairs) == expected
    assert len(pairs) == len(expected)


def test_a_group_of_copies_grows_with_its_images_not_their_square():
    pairs = found({"train": images(["same"] * 3000)})
    assert len(pairs) == 2999
    assert {pair[4] for pair in pairs} == {"0.png"}


def test_images_without_a_hash_have_only_near_duplicates():
    rows = np.eye(4, dtype=np.float32)
    sets = {"train": images([None] * 4, rows), "test": images([None] * 2, rows[[2, 1]])}
    assert found(sets) == []
    assert found(sets, None, 0.99) == [
        ("near", "test", "0.png", "train", "2.png"),
        ("near", "test", "1.png", "train", "1.png"),
    ]


def test_a_shifted_copy_is_no_duplicate_of_its_original_but_of_others():
    shown = {"train": "train", "test": "test", "noise": "noise", "blur": "test"}
    sets = {
        "train": images("ab"),
        "test": images("cd"),
        "noise": images("dx"),
        "blur": images("cb"),
    }
    assert found(sets, shown) == [
        ("exact", "noise", "0.png", "test", "1.png"),
        ("exact", "blur", "1.png", "train", "1.png"),
    ]
    sets["blur"] = images("dc", ids=["0.png", "7.png"])  # equal files, other ids
    assert found(sets, shown)[1:] == [
        ("exact", "blur", "0.png", "test", "1.png"),
        ("exact", "blur", "0.png", "noise", "0.png"),
        ("exact", "blur", "7.png", "test", "0.png"),
    ]


def test_test_images_of_the_training_set_are_not_compared_with_themselves():
    rows = np.eye(4, dtype=np.float32)
    sets = {"train": images("abc", rows[:3]), "test": images("abb", rows[[0, 1, 1]])}
    pairs = found(sets, {"train": "photos", "test": "photos"}, 0.9)
    assert pairs == [
        ("exact", "test", "2.png", "train", "1.png"),
        ("exact", "test", "2.png", "test", "1.png"),
    ]


def unit(rng, n, d=16):
    """Unit rows around few centres, so that many pairs are close; float16, as they are stored."""
    rows = np.eye(d)[rng.integers(5, size=n)] + rng.normal(size=(n, d)) * 0.05
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


@pytest.mark.parametrize("block", [7, 1000])
def test_near_duplicates_are_those_of_the_full_matrix(monkeypatch, block):
    monkeypatch.setattr(module, "BLOCK", block)
    rng = np.random.default_rng(1)
    parts = {"train": unit(rng, 60), "test": unit(rng, 31), "noise": unit(rng, 20)}
    own = {name: [f"{name}{i}" for i in range(len(rows))] for name, rows in parts.items()}
    own["test"][4] = "train8"  # an exact copy is not near as well
    sets = {name: images(own[name], rows) for name, rows in parts.items()}
    exact = {name: rows.astype(np.float64) for name, rows in parts.items()}
    graph = nearest_neighbours(sets["train"].array(), 59)
    pairs = found(sets, None, 0.95, graph)
    expected = {("exact", "test", "4.png", "train", "8.png")}
    cosines = exact["train"] @ exact["train"].T
    for i, j in itertools.combinations(range(60), 2):
        if cosines[i, j] >= 0.95:
            expected.add(("near", "train", f"{j}.png", "train", f"{i}.png"))
    for name, other in (("test", "train"), ("test", "test"), ("noise", "train"), ("noise", "test"),
                        ("noise", "noise")):  # fmt: skip
        for i, row in enumerate(exact[name]):
            if (name, i, other) == ("test", 4, "train"):
                continue
            cosines = [row @ rest for rest in (exact[other][:i] if name == other else exact[other])]
            if cosines and max(cosines) >= 0.95:
                nearest = int(np.argmax(cosines))
                expected.add(("near", name, f"{i}.png", other, f"{nearest}.png"))
    assert len(expected) > 200 and len({pair[1::2] for pair in expected}) == 6
    assert set(pairs) == expected
    assert len(pairs) == len(expected)
    rows, best = nearest_rows(sets["test"], sets["train"])
    matrix = exact["test"] @ exact["train"].T
    assert np.allclose(best, matrix.max(axis=1), atol=1e-6)
    assert (rows == matrix.argmax(axis=1)).all()


@pytest.mark.parametrize("block", [3, 1000])
def test_near_duplicates_of_sets_that_show_the_same_images(monkeypatch, block):
    """An image is not its own duplicate, under the same id in another set, but others are."""
    monkeypatch.setattr(module, "BLOCK", block)
    rng = np.random.default_rng(4)
    rows = {"train": unit(rng, 9), "test": unit(rng, 25)}
    rows["blur"] = rows["test"][::-1]
    ids = {"train": None, "test": [f"{i}.png" for i in range(25)]}
    ids["blur"] = ids["test"][::-1]
    sets = {name: images([None] * len(rows[name]), rows[name], ids[name]) for name in rows}
    pairs = found(sets, {"train": "train", "test": "test", "blur": "test"}, 0.95)
    expected = set()
    for i, name in enumerate(ids["blur"]):
        cosines = rows["test"].astype(float) @ rows["blur"][i].astype(float)
        cosines[ids["test"].index(name)] = -1
        if cosines.max() >= 0.95:
            expected.add(("near", "blur", name, "test", ids["test"][cosines.argmax()]))
    assert {pair for pair in pairs if pair[1] == "blur" and pair[3] == "test"} == expected
    assert len(expected) > 10
    assert not any(pair[2] == pair[4] for pair in pairs if pair[3] != "train")


def test_a_group_of_near_copies_grows_with_its_images_not_their_square():
    rows = np.ones((300, 4), np.float32) / 2
    sets = {"train": images([None], rows[:1]), "test": images([None] * 300, rows)}
    pairs = found(sets, None, 0.99)
    assert [pair[3] for pair in pairs] == ["train"] * 300 + ["test"] * 299
    assert {pair[4] for pair in pairs} == {"0.png"}


def test_a_short_graph_gives_the_pairs_of_its_edges():
    rng = np.random.default_rng(2)
    rows = unit(rng, 40)
    train = images([None] * 40, rows)
    graph = nearest_neighbours(train.array(), 3)
    edges = {(max(i, int(j)), min(i, int(j))) for i in range(40) for j in graph[i]
             if rows[i].astype(float) @ rows[j].astype(float) >= 0.95}  # fmt: skip
    expected = [("near", "train", f"{i}.png", "train", f"{j}.png") for i, j in sorted(edges)]
    assert found({"train": train}, None, 0.95, graph) == expected
    assert expected


def test_the_cosine_is_stored_and_at_most_1():
    rows = np.array([[1, 0], [0.6, 0.8], [1, 0]], np.float32)
    frame = duplicates(
        {"train": images("abc", rows, shards=1), "test": images("ad", rows[:2] * [1, 1.01])},
        {"train": "train", "test": "test"},
        0.9,
    )
    assert frame["kind"].tolist() == ["exact", "near"]
    assert frame["cosine"].tolist() == [1, 1]
    assert frame["cosine"].dtype == np.float32
