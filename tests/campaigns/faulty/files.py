"""Files that are damaged, cut, or of another run: named, with what to do."""

import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
from campaign import TESTS
from inputs.configs import META
from inputs.outcomes import refused

from workflow_scripts.lib import artifacts
from workflow_scripts.lib.clustering.graph import read_neighbours
from workflow_scripts.lib.concepts.positives import check_centres
from workflow_scripts.lib.detection.bundle import write_detector
from workflow_scripts.lib.detection.stored import load_detector
from workflow_scripts.lib.embeddings import open_embeddings
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images.manifest import read_shard
from workflow_scripts.lib.tensors import read_tensors, write_tensors

FLIPS = 100  # bits, one at a time


def stored(folder, seed=0, shards=2):
    """Embeddings in shards: (arrays, indexes), as the workflow stores them."""
    rng, stems = np.random.default_rng(seed), []
    for shard in range(shards):
        stem = folder / f"results/embeddings/clip/images/photos/{shard:05d}"
        note = artifacts.write_array(f"{stem}.npy", rng.normal(size=(9, 8)).astype(np.float16))
        ids = [f"{shard}/{i}.png" for i in range(9)]
        artifacts.write_table(f"{stem}.parquet", {"image_id": ids}, {"array": note})
        stems.append(stem)
    return [f"{stem}.npy" for stem in stems], [f"{stem}.parquet" for stem in stems]


def flip(path, rng):
    """Flip a bit of a file. Returns its bytes before."""
    before = Path(path).read_bytes()
    changed = bytearray(before)
    changed[rng.integers(len(changed))] ^= 1 << rng.integers(8)
    Path(path).write_bytes(changed)
    return before


def flipped(path, read):
    """With any bit flipped a file is named, or `read()` gives what it gave before: of a blank."""
    before, rng = read(), np.random.default_rng(1)
    for _ in range(FLIPS):
        content = flip(path, rng)
        try:
            found = read()
        except InputError as error:
            assert str(path) in str(error) and "again" in str(error), error
        else:
            assert found == before
        Path(path).write_bytes(content)


def flipped_array(folder):
    arrays, indexes = stored(folder)
    flipped(arrays[1], lambda: open_embeddings(arrays, indexes).array().tobytes())


def weights(folder):
    """The path of a clustering's weights, and a function that reads their bytes."""
    path = folder / "results/clusters/clip/photos/kmeans/seed0.safetensors"
    centroids = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    write_tensors(path, {"centroids": centroids, "sizes": np.arange(4)})
    return path, lambda: {name: array.tobytes() for name, array in read_tensors(path).items()}


def flipped_weights(folder):
    flipped(*weights(folder))


def flipped_detector(folder, name):
    """A detector to take away: the file with this name is damaged; it scores the same images."""
    rows, path = np.eye(4, dtype=np.float32), folder / "detector.json"
    arrays = {"positives": rows[:2], "calibration.mcm": np.linspace(0, 1, 30, dtype=np.float32)}
    write_detector(path, folder / "detector.safetensors", META, arrays)
    flipped(folder / name, lambda: load_detector(folder).rank(["x", "y"], rows[:2]).to_json())


READ = """
import sys
from workflow_scripts.lib.artifacts import read_meta, read_table
from workflow_scripts.lib.errors import InputError
try:
    print(read_table(sys.argv[1]).to_pydict(), read_meta(sys.argv[1]))
except InputError as error:
    print("refused", error)
"""


def flipped_parquet(folder):
    """In a process of its own, since a damaged file could bring down the reader."""
    _, (path, _) = stored(folder)
    environment = os.environ | {"PYTHONPATH": str(TESTS.parent)}

    def read():
        done = subprocess.run([sys.executable, "-c", READ, path], env=environment, text=True,
                              capture_output=True, check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr[-500:]
        return done.stdout

    before, rng = read(), np.random.default_rng(1)
    for _ in range(FLIPS):
        content = flip(path, rng)
        after = read()
        named = after.startswith("refused") and path in after and "run again" in after
        assert after == before or named, after
        Path(path).write_bytes(content)


def cut_parquet(folder):
    _, (path, _) = stored(folder)
    content = Path(path).read_bytes()
    for size in [0, 3, 4, *range(8, len(content), len(content) // 16), len(content) - 1]:
        Path(path).write_bytes(content[:size])
        for read in (artifacts.read_table, artifacts.read_meta, artifacts.number_of_rows):
            refused(partial(read, path), path, "run again")
        refused(partial(read_shard, path, 0), path, "run again")


def cut_array(folder):
    arrays, indexes = stored(folder)
    content = Path(arrays[0]).read_bytes()
    for size in [0, 5, 64, 127, 128, len(content) - 1]:
        Path(arrays[0]).write_bytes(content[:size])
        refused(partial(open_embeddings, arrays, indexes), arrays[0], "run again")


def cut_weights(folder):
    path, read = weights(folder)
    content = path.read_bytes()
    for size in [0, 5, 8, 99, len(content) - 1]:
        path.write_bytes(content[:size])
        refused(read, path, "run again")


def swap(one, other):
    Path(one).rename(f"{one}.old")
    Path(other).rename(one)
    Path(f"{one}.old").rename(other)


def swapped(folder, kinds):
    files = stored(folder)
    for kind in kinds:
        swap(*files[kind])
    refused(partial(open_embeddings, *files), "00000", "run again")


def other_run(folder):
    """An array of another run, of the same shape and type."""
    arrays, indexes = stored(folder)
    others, _ = stored(folder / "other", seed=7)
    shutil.copy(others[0], arrays[0])
    refused(partial(open_embeddings, arrays, indexes), arrays[0], indexes[0], "run again")


def other_neighbours(folder):
    images = open_embeddings(*stored(folder))
    path, about = folder / "results/k3.npy", folder / "results/k3.json"
    note = artifacts.write_array(path, np.zeros((18, 3), np.int32))
    artifacts.write_text(about, json.dumps({"array": note, "embeddings": images.digest}))
    assert len(read_neighbours(path, about, images)) == 18
    others = open_embeddings(*stored(folder, seed=8))
    refused(partial(read_neighbours, path, about, others), path, "run again")
    artifacts.write_array(path, np.ones((18, 3), np.int32))
    refused(partial(read_neighbours, path, about, images), path, about, "run again")


def other_centres(folder):
    clusters, about = folder / "clusters.parquet", folder / "seed0.json"
    artifacts.write_table(clusters, {"cluster": [0, 1]})
    artifacts.write_text(about, json.dumps({"clusters": artifacts.crc32_of(clusters)}))
    check_centres("seed0.npy", about, clusters)
    artifacts.write_table(clusters, {"cluster": [1, 0]})
    refused(
        partial(check_centres, "seed0.npy", about, clusters), "seed0.npy", clusters, "run again"
    )


def late_file(folder):
    """A file that the network shows late, or empty at first, is named."""
    arrays, indexes = stored(folder)
    content = Path(indexes[0]).read_bytes()
    Path(indexes[0]).unlink()
    refused(partial(open_embeddings, arrays, indexes), indexes[0], "run again")
    Path(indexes[0]).write_bytes(content)
    Path(arrays[0]).unlink()
    refused(partial(open_embeddings, arrays, indexes), arrays[0], "run again")


def file_cases(short):
    """Name -> check, or check and number of tries."""
    found = {
        "bit flips in an array": (flipped_array, FLIPS),
        "bit flips in the weights of a clustering": (flipped_weights, FLIPS),
        "bit flips in a detector": (partial(flipped_detector, name="detector.json"), FLIPS),
        "bit flips in the arrays of a detector": (
            partial(flipped_detector, name="detector.safetensors"),
            FLIPS,
        ),
        "a cut Parquet file": cut_parquet,
        "a cut array": cut_array,
        "cut weights of a clustering": cut_weights,
        "two shards swapped": partial(swapped, kinds=(0, 1)),
        "the arrays of two shards swapped": partial(swapped, kinds=(0,)),
        "the indexes of two shards swapped": partial(swapped, kinds=(1,)),
        "an array of another run": other_run,
        "neighbours of other embeddings": other_neighbours,
        "centres of other clusters": other_centres,
        "a file that is there late": late_file,
    }
    if not short:
        found["bit flips in a Parquet file"] = (flipped_parquet, FLIPS)
    return found
