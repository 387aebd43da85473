"""First centroids by k-means in the parts of a coarse k-means."""

import sys
from pathlib import Path

import clustering_cases as cases
import numpy as np
import pytest
from clustering_cases import blobs, task_of
from faiss.contrib.clustering import two_level_clustering

from workflow_scripts.lib import distributed
from workflow_scripts.lib.clustering import kmeans, lloyd
from workflow_scripts.lib.clustering import two_level as module
from workflow_scripts.lib.clustering.centroids import mean_objective, unit_norm
from workflow_scripts.lib.clustering.two_level import proportional, two_level

CFG = {"seed": 0, "spherical": True, "restarts": 1, "iterations": 5, "sample": 0,
       "precision": "float32", "init": "two_level"}  # fmt: skip


@pytest.mark.parametrize(
    ("total", "sizes", "shares"),
    [
        (10, [50, 30, 20], [5, 3, 2]),
        (10, [55, 27, 18], [5, 3, 2]),  # 5.5, 2.7, 1.8: the largest remainders are .8 and .7
        (4, [97, 1, 1, 1], [1, 1, 1, 1]),
        (5, [96, 2, 0, 2], [3, 1, 0, 1]),
        (6, [3, 2, 1], [3, 2, 1]),
    ],
)
def test_shares_go_by_size(total, sizes, shares):
    assert proportional(total, np.array(sizes)).tolist() == shares


def test_shares_are_within_their_bounds():
    rng = np.random.default_rng(0)
    for _ in range(200):
        sizes = rng.integers(0, 40, 12) * rng.integers(0, 2, 12) + np.eye(12, dtype=int)[0]
        total = rng.integers((sizes > 0).sum(), sizes.sum() + 1)
        shares = proportional(total, sizes)
        assert shares.sum() == total
        assert (shares <= sizes).all() and ((shares > 0) == (sizes > 0)).all()


def many(n=6000, d=16, k=400):
    rng = np.random.default_rng(3)
    centres = unit_norm(rng.normal(size=(k, d)))
    return unit_norm(centres[rng.integers(0, k, n)] + 0.1 * rng.normal(size=(n, d))).astype("f4")


@pytest.mark.parametrize("spherical", [True, False])
def test_centroids_are_as_good_as_those_of_faiss(spherical):
    images, k = many(), 400
    found = two_level(images, k, CFG | {"spherical": spherical}, seed=0)
    other, _ = two_level_clustering(images, 20, k, min_points_per_centroid=1)
    sign = 1 if spherical else -1
    other = unit_norm(other) if spherical else other
    ours, theirs = (sign * mean_objective(images, c, spherical) for c in (found, other))
    assert found.shape == (k, 16) and found.dtype == np.float32
    assert ours > theirs - 0.005 * abs(theirs)


def test_streamed_parts_give_the_same_bytes(monkeypatch):
    images = many()
    expected = two_level(images, 100, CFG, seed=0)
    monkeypatch.setattr("workflow_scripts.lib.clustering.two_level.KEPT", 0)
    np.testing.assert_array_equal(two_level(images, 100, CFG, seed=0), expected)


def test_kmeans_goes_on_from_them():
    images, labels = blobs()
    found = kmeans.fit(task_of(images, 5, CFG))
    clusters, _ = kmeans.assign([images], found.weights, CFG)
    assert cases.accuracy(labels, clusters) == 1
    images = many()
    start = mean_objective(images, two_level(images, 400, CFG, found_seed(0)), spherical=True)
    history = kmeans.fit(task_of(images, 400, CFG)).history["objective"]
    assert history[0] == pytest.approx(start, abs=1e-6) and history[-1] > start


def found_seed(seed):
    """The seed of the first restart."""
    return int(np.random.SeedSequence(seed).generate_state(1)[0])


def test_as_many_clusters_as_images():
    images = many(n=30)
    found = two_level(images, 30, CFG, seed=0)
    assert sorted(map(tuple, found.round(4))) == sorted(map(tuple, images.round(4)))


def main(folder):
    """What each of two processes does, of which the second rounds otherwise, as on another kind of
    processor: a row goes to another part, and centroids differ in their last bits."""
    if distributed.rank():
        nearest, moved = module.nearest, lloyd.moved

        def other_nearest(*arguments):
            part_of, values = nearest(*arguments)
            part_of[0] = (part_of[0] + 1) % (part_of.max() + 1)
            return part_of, values

        module.nearest = other_nearest
        lloyd.moved = lambda *arguments: np.nextafter(moved(*arguments), np.float32(2))
    np.save(f"{folder}/{distributed.rank()}.npy", two_level(many(1200, k=40), 40, CFG, seed=0))


def test_processes_that_round_otherwise_stay_together(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    with (tmp_path / "log").open("w") as log, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", log)
        arguments = {"folder": str(tmp_path)}
        distributed.launch("test_two_level", arguments, tmp_path / "job", 2, 2)
    first, second = (np.load(tmp_path / f"{rank}.npy") for rank in (0, 1))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first, two_level(many(1200, k=40), 40, CFG, seed=0), atol=1e-6)
