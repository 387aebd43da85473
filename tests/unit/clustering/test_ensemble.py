"""Ensembles of clusterings: the best partition by its definition, in loops over pairs."""

import itertools

import numpy as np
import pyarrow as pa
import pytest
from clustering_cases import accuracy, blobs

from workflow_scripts.lib.clustering import ensemble, kmeans
from workflow_scripts.lib.clustering.methods import Task
from workflow_scripts.lib.clustering.spaces import SideBySide
from workflow_scripts.lib.embeddings import Embeddings
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.tensors import write_tensors

KMEANS = {
    "precision": "float32",
    "method": "kmeans",
    "init": "random",
    "iterations": 3,
    "sample": 0,
    "restarts": 1,
}
KMEANS |= {"spherical": True}
CFG = {"seed": 0, "restarts": 30, "iterations": 50}


def co_association(votes):
    """The share of the members that put two images together, [N][N]."""
    return [[sum(a == b for a, b in zip(x, y, strict=True)) / len(x) for y in votes] for x in votes]


def mean_together(pairs, clusters):
    """The mean over images of their mean co-association with the images of their cluster."""
    means = []
    for i, own in enumerate(clusters):
        inside = [pairs[i][j] for j, other in enumerate(clusters) if other == own]
        means.append(sum(inside) / len(inside))
    return sum(means) / len(means)


def votes_of(rows, centroids):
    """The nearest centroid of every row."""
    return np.array([max(range(len(centroids)), key=lambda c: row @ centroids[c]) for row in rows])


@pytest.mark.parametrize("k", [2, 3])
def test_no_partition_has_a_larger_mean_co_association(k):
    votes = np.random.default_rng(k).integers(0, [2, 3, 4, 2], (8, 4))
    pairs = co_association(votes.tolist())
    partitions = [p for p in itertools.product(range(k), repeat=8) if len(set(p)) == k]
    best = max(mean_together(pairs, partition) for partition in partitions)
    centroids, objective, _ = ensemble.consensus(votes, [2, 3, 4, 2], k, CFG)
    assert objective == pytest.approx(best)
    assert centroids.shape == (k, 11)


def members(folder, spaces, numbers, k=5):
    """(config, files) of k-means members: one for each space number and seed."""
    files, blocks = [], []
    for seed, number in enumerate(numbers):
        cfg, place = KMEANS | {"seed": seed}, folder / f"{seed}.safetensors"
        images = Embeddings([spaces[number]], pa.table({}), {})
        task = Task(images, k, cfg, None, str(folder / "state"), "")
        write_tensors(place, kmeans.fit(task).weights)
        files.append(place)
        blocks.append({"cfg": cfg, "spaces": [number]})
    return {"members": blocks} | CFG, files


@pytest.fixture
def spaces():
    """Images of 5 classes in two spaces, and their classes."""
    one, labels = blobs(spread=0.25)
    return [one, blobs(d=24, spread=0.25, seed=1)[0]], labels


def fit(spaces, k, cfg, files):
    array = SideBySide(spaces) if len(spaces) > 1 else spaces[0]
    images = Embeddings([array], pa.table({}), {})
    return ensemble.fit(Task(images, k, cfg, None, "", "", members=tuple(files)))


def test_members_of_two_spaces(spaces, tmp_path):
    spaces, labels = spaces
    cfg, files = members(tmp_path, spaces, [0, 0, 1, 1])
    found = fit(spaces, 5, cfg, files)
    images = np.concatenate(spaces, axis=1)
    clusters, value = ensemble.assign([images[:70], images[70:]], found.weights, cfg)
    votes = [
        votes_of(spaces[s], found.weights[f"{i}.centroids"]) for i, s in enumerate([0, 0, 1, 1])
    ]
    pairs = np.array(co_association(np.stack(votes, axis=1).tolist()))
    expected = [pairs[i, clusters == own].mean() for i, own in enumerate(clusters)]
    np.testing.assert_allclose(value, expected, atol=1e-6)
    assert found.meta["objective"] == pytest.approx(mean_together(pairs, clusters.tolist()))
    assert clusters.dtype == np.int32 and value.dtype == np.float32
    alone = [accuracy(labels, own) for own in votes]
    assert accuracy(labels, clusters) > np.mean(alone) + 0.05
    scores = ensemble.scores(images, found.weights, cfg)
    np.testing.assert_array_equal(scores.argmax(axis=1), clusters)
    again = fit(spaces, 5, cfg, files)
    assert all(
        again.weights[name].tobytes() == found.weights[name].tobytes() for name in again.weights
    )


def test_members_that_are_equal_keep_their_clusters(spaces, tmp_path):
    (rows, _), _ = spaces
    cfg, files = members(tmp_path, [rows], [0])
    twice = cfg | {"members": cfg["members"] * 2}
    found = fit([rows], 5, twice, files * 2)
    clusters, value = ensemble.assign([rows], found.weights, twice)
    own = votes_of(rows, found.weights["0.centroids"])
    assert accuracy(own, clusters) == 1
    np.testing.assert_allclose(value, 1, atol=1e-6)
    assert found.meta["objective"] == pytest.approx(1)


def test_the_start_of_many_images_is_chosen_among_some(monkeypatch):
    monkeypatch.setattr(ensemble, "START_ROWS", 20)
    own = np.repeat(np.arange(4), 50)
    centroids, objective, _ = ensemble.consensus(np.stack([own, own], 1), [4, 4], 4, CFG)
    assert objective == pytest.approx(1)
    assert sorted(centroids.argmax(axis=1)) == [0, 1, 2, 3]


def test_more_clusters_than_images(spaces, tmp_path):
    (rows, _), _ = spaces
    cfg, files = members(tmp_path, [rows], [0])
    with pytest.raises(InputError, match="cannot make 201 clusters of 200 images"):
        fit([rows], 201, cfg, files)
