"""Lloyd's algorithm of our own: passes, precision, empty clusters, streams, states, processes."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clustering_cases import blobs, task_of
from safetensors.numpy import load_file

from workflow_scripts.cluster import main
from workflow_scripts.lib import device, distributed
from workflow_scripts.lib.artifacts import read_meta, read_table, write_array, write_table
from workflow_scripts.lib.clustering import assignment, faiss, kmeans, rows, unfinished
from workflow_scripts.lib.clustering.lloyd import moved, one_pass
from workflow_scripts.lib.embeddings import Embeddings, UnitRows
from workflow_scripts.lib.errors import InputError

CFG = {"seed": 0, "spherical": True, "restarts": 3, "iterations": 12, "init": "kmeans++"}
CFG |= {"sample": 0, "precision": "float32"}


def fit(sample, k, file=None, **cfg):
    return kmeans.fit(replace(task_of(sample, k, CFG | cfg), init=file))


def clip_like(n=3000, d=64, seed=0):
    """Unit rows around 40 directions that share most of their length, as CLIP's do."""
    rng = np.random.default_rng(seed)
    found = 4 * rng.normal(size=d) + rng.normal(size=(40, d))[rng.integers(0, 40, n)]
    found += 0.7 * rng.normal(size=(n, d))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("spherical", [True, False])
def test_a_pass_is_that_of_a_slow_reference(spherical, monkeypatch):
    monkeypatch.setattr(rows, "BLOCK_ROWS", 70)
    sample = clip_like(400)
    centroids = sample[:300:20] * (1 if spherical else 1.3)
    sums, counts, objective = one_pass(sample, centroids, spherical, "float32")
    expected, numbers, values = np.zeros(sums.shape), np.zeros(len(centroids), int), []
    for row in sample.astype(np.float64):
        distances = ((row - centroids.astype(np.float64)) ** 2).sum(axis=1)
        cosines = centroids.astype(np.float64) @ row
        own = cosines.argmax() if spherical else distances.argmin()
        expected[own] += row
        numbers[own] += 1
        values.append(cosines[own] if spherical else distances[own])
    np.testing.assert_array_equal(counts, numbers)
    np.testing.assert_allclose(sums, expected, atol=1e-5)
    assert objective == pytest.approx(np.mean(values), rel=1e-5)


@pytest.mark.parametrize("spherical", [True, False])
def test_finds_what_faiss_finds_from_the_same_start(spherical):
    sample = clip_like()
    cfg = {"spherical": spherical, "iterations": 40, "restarts": 2}
    own, other = fit(sample, 40, **cfg), faiss.fit(task_of(sample, 40, CFG | cfg))
    one, two = (found.weights["centroids"] for found in (own, other))
    np.testing.assert_allclose(one, two, atol=1e-5)
    assert own.meta["objective"] == pytest.approx(other.meta["objective"], abs=1e-6)


# --- precision -------------------------------------------------------------------------------


@pytest.mark.parametrize("spherical", [True, False])
def test_bfloat16_tells_the_centroids_of_like_rows_apart(spherical):
    sample = clip_like()
    centroids = sample[::60]
    exact, fast = (
        assignment.assigner(centroids, spherical, precision)(sample)
        for precision in ("float32", "bfloat16")
    )
    assert (exact != fast).mean() < 0.02  # without their mean subtracted, a tenth
    lost = (sample * (centroids[exact] - centroids[fast])).sum(axis=1)
    assert 0 <= lost.max() < 0.01


@pytest.mark.parametrize("spherical", [True, False])
def test_bfloat16_reaches_the_objective_of_float32(spherical):
    sample = clip_like()
    exact, fast = (
        fit(sample, 40, spherical=spherical, precision=precision)
        for precision in ("float32", "bfloat16")
    )
    assert [f.meta["precision"] for f in (exact, fast)] == ["float32", "bfloat16"]
    assert fast.meta["objective"] == pytest.approx(exact.meta["objective"], rel=0.01)
    _, values = kmeans.assign([sample], fast.weights, {"spherical": spherical})
    assert fast.meta["objective"] == pytest.approx(values.mean(dtype=np.float64), rel=1e-6)


@pytest.mark.parametrize("spherical", [True, False])
def test_numpy_and_torch_assign_alike_whatever_the_tile(spherical, monkeypatch):
    sample = clip_like()
    centroids = sample[::60].copy()
    centroids[7] = centroids[3]  # the first of equal ones
    expected = assignment.assigner(centroids, spherical)(sample)
    assert 3 in expected
    assert 7 not in expected
    for least, tile in ((1, 100 * len(centroids)), (1000, 5000)):  # parts of rows; of both
        monkeypatch.setattr(assignment, "LEAST_ROWS", least)
        monkeypatch.setattr(assignment, "TILE", tile)
        for by in (assignment._by_numpy, assignment._by_torch):
            monkeypatch.setattr(assignment, "_by_numpy", by)
            np.testing.assert_array_equal(
                assignment.assigner(centroids, spherical)(sample), expected
            )


def test_auto_is_what_the_hardware_has(monkeypatch):
    for has, expected in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(device, "has_bfloat16", lambda _, has=has: has)
        assert device.resolved("auto") == expected
        assert device.resolved("float32") == "float32"


# --- starts and empty clusters ---------------------------------------------------------------


def test_an_empty_cluster_gets_half_of_another():
    sums = np.array([[6.0, 9.0], [0.0, 0.0], [1.0, 1.0]])
    counts = np.array([3, 0, 1])  # so that only the first cluster can be split
    rng = np.random.default_rng(0)
    found = moved(sums, counts, np.zeros((3, 2)), False, 0.5, rng)
    np.testing.assert_allclose(found, [[1, 4.5], [3, 1.5], [1, 1]])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("spherical", [True, False])
def test_no_cluster_stays_empty(spherical, precision, tmp_path):
    sample = clip_like()
    write_array(tmp_path / "init.npy", sample[[*range(0, 600, 20), *[0] * 10]])
    cfg = {"spherical": spherical, "precision": precision, "iterations": 30}
    found = fit(sample, 40, tmp_path / "init.npy", **cfg)
    clusters, _ = kmeans.assign([sample], found.weights, {"spherical": spherical})
    assert len(np.unique(clusters)) == 40


def test_own_centroids_are_where_the_one_start_begins(tmp_path):
    sample, _ = blobs()
    start = sample[[0, 50, 90, 130, 170]]
    write_array(tmp_path / "init.npy", start.astype(np.float16) * 2)
    found = fit(sample, 5, tmp_path / "init.npy", spherical=True)
    first = np.mean([(start @ row).max() for row in sample])
    assert found.history["objective"][0] == pytest.approx(first, abs=1e-3)
    assert set(found.history["restart"]) == {0}


@pytest.mark.parametrize("array, message", [
    (np.zeros((4, 16), np.float32), r"shape \(4, 16\) and type float32; give 5 centroids"),
    (np.zeros((5, 8), np.float32), "of 16 dimensions"),
    (np.zeros((5, 16), np.int64), "type int64"),
    (np.full((5, 16), np.nan, np.float32), "holds NaN"),
])  # fmt: skip
def test_own_centroids_must_fit(array, message, tmp_path):
    write_array(tmp_path / "init.npy", array)
    with pytest.raises(InputError, match=message):
        fit(blobs()[0], 5, tmp_path / "init.npy")


@pytest.mark.parametrize("init", ["random", "kmeans++"])
def test_embeddings_that_are_not_finite(init):
    sample = blobs()[0]
    sample[7] = np.nan
    with pytest.raises(InputError, match="hold NaN or infinite values"):
        fit(sample, 5, init=init)


# --- streams and states ----------------------------------------------------------------------


class Watched:
    """An array-like that notes how many rows are read at a time."""

    def __init__(self, array, seen):
        self.array, self.shape, self.seen = array, array.shape, seen

    def __len__(self):
        return len(self.array)

    def __getitem__(self, numbers):
        found = self.array[numbers]
        self.seen.append(len(found))
        return found


@pytest.mark.parametrize("sample", [0, 900])
def test_rows_are_streamed_from_shards_with_the_same_bytes(sample, tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "BLOCK_ROWS", 256)
    stored = clip_like(1200).astype(np.float16)
    np.save(tmp_path / "e.npy", stored)
    mapped, seen = np.load(tmp_path / "e.npy", mmap_mode="r"), []
    shards = [UnitRows(Watched(mapped[a:b], seen)) for a, b in ((0, 100), (100, 700), (700, 1200))]
    cfg = CFG | {"init": "random", "restarts": 1, "sample": sample}
    task = task_of(UnitRows(stored)[:], 20, cfg)
    whole = kmeans.fit(task)
    monkeypatch.setattr(rows, "KEPT", 0)
    images = Embeddings(shards, task.images.index, {})
    streamed = kmeans.fit(replace(task, images=images))
    assert streamed.weights["centroids"].tobytes() == whole.weights["centroids"].tobytes()
    assert streamed.history == whole.history
    assert max(seen) <= 256


class Killed(Exception):
    pass


@pytest.mark.parametrize("saves", [2, 15])  # in the first restart, and in the second
def test_a_killed_run_goes_on_with_the_same_bytes(saves, tmp_path, monkeypatch, caplog):
    sample = clip_like(800)
    whole = fit(sample, 20)
    monkeypatch.setattr(unfinished, "CHECKPOINT_SECONDS", 0)
    state = tmp_path / "state"
    task = task_of(sample, 20, CFG, state_path=state)
    save, done = unfinished.Unfinished.save, []

    def save_or_die(self, *arguments):
        save(self, *arguments)
        done.append(1)
        if len(done) == saves:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(unfinished.Unfinished, "save", save_or_die)
        with pytest.raises(Killed):
            kmeans.fit(task)
    assert state.exists()
    resumed, passes = kmeans.fit(task), len(whole.history["objective"])
    assert resumed.weights["centroids"].tobytes() == whole.weights["centroids"].tobytes()
    assert (resumed.meta, resumed.history) == (whole.meta, whole.history)
    assert passes > saves
    assert not state.exists()
    assert not caplog.records or "anew" not in caplog.text


def test_a_state_of_another_run_is_not_used(tmp_path, monkeypatch, caplog):
    sample = clip_like(800)
    write_array(tmp_path / "init.npy", sample[:20])
    monkeypatch.setattr(unfinished, "CHECKPOINT_SECONDS", 0)
    task = task_of(sample, 20, CFG, state_path=tmp_path / "state")
    own = str(tmp_path / "init.npy")
    others = ({"code": "code@2"}, {"init": own}, {"k": 19}, {"data": ("other files",)})
    for other in (replace(task, **change) for change in others):
        with monkeypatch.context() as patched:
            patched.setattr(unfinished.Unfinished, "remove", lambda self: None)
            kmeans.fit(task)
        caplog.clear()
        found = kmeans.fit(other)
        assert "k-means starts anew: other code, settings, seed or data" in caplog.text
        assert (
            found.history
            == kmeans.fit(replace(other, state_path=str(tmp_path / "another"))).history
        )
    (tmp_path / "state").write_bytes(b"no state")
    kmeans.fit(task)
    assert "is not a readable" in caplog.text


def test_a_state_without_a_place_is_not_left_in_the_working_folder(tmp_path, monkeypatch):
    """As on a machine so busy that half a minute passes before a training of a test ends."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(unfinished, "CHECKPOINT_SECONDS", 0)
    fit(clip_like(200), 5)
    assert not list(tmp_path.iterdir())


# --- several processes -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "init"),
    [
        ("kmeans", "kmeans++"),
        pytest.param("hierarchical", "kmeans++", marks=pytest.mark.slow),
        pytest.param("kmeans", "two_level", marks=pytest.mark.slow),
    ],
)
def test_two_processes_find_what_one_finds(method, init, tmp_path):
    """To 1e-6 in the centroids: only the order of the sums over blocks differs."""
    sample = clip_like(20_000, d=16)
    write_array(tmp_path / "e.npy", sample.astype(np.float16))
    columns = {"image_id": [str(i) for i in range(len(sample))]}
    write_table(tmp_path / "e.parquet", columns | {"label": [""] * len(sample)})
    cfg = CFG | {"method": method, "init": init, "k": 30, "fine": 60, "weighted": False}
    arguments = {"embeddings": [str(tmp_path / "e.npy")], "index": [str(tmp_path / "e.parquet")]}
    arguments |= {"inputs": {}, "cfg": cfg, "code": "code@1", "wildcards": {"seed": "0"}}
    ends = ("clusters", "model", "history", "cost")
    one, two = ({end: f"{tmp_path}/{number}/{end}" for end in ends} for number in (1, 2))
    main(outputs=one, **arguments)
    with (tmp_path / "log").open("w") as log, pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "stderr", log)
        module, path = "workflow_scripts.cluster", tmp_path / "job"
        distributed.launch(module, arguments | {"outputs": two}, path, 2, 2)
    first, second = (load_file(paths["model"])["centroids"] for paths in (one, two))
    np.testing.assert_allclose(first, second, atol=1e-6)
    first, second = (read_table(paths["clusters"]) for paths in (one, two))
    assert first["cluster"].equals(second["cluster"])
    np.testing.assert_allclose(first["value"], second["value"], atol=1e-6)
    metas = [read_meta(paths["clusters"]) for paths in (one, two)]
    objectives = [meta.pop("objective") for meta in metas]
    assert objectives[0] == pytest.approx(objectives[1], rel=1e-9)
    assert metas[0] == metas[1]
    assert json.loads(Path(two["cost"]).read_text())["seconds"] > 0
