"""k-means beside faiss and other libraries: CPU seconds to the same objective, in one table.

Rows are generated: unit norm, a common mean and a spectrum that falls as a power, as embeddings of
CLIP have them. All begin at the same random rows (SuperKmeans and fastkmeans at random rows of
their own) and do the same number of iterations; ours scores its result with one pass more. Ours
reads float16 from a file, the others have float32 in memory. The objective is the mean cosine to
the nearest centroid, of all computed alike, in float32. Runs are interleaved, and the least of the
rounds counts. No test looks at these numbers. Without options, TABLES are made one after the other.

    OMP_NUM_THREADS=1 .venv/bin/python tests/benchmarks/kmeans.py --rows 100000 --clusters 1000
"""

import argparse
import gc
import importlib.metadata
import sys
import tempfile
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import sklearn.cluster

sys.path.insert(0, str(Path(__file__).parents[2]))

from machine import processor, used

from workflow_scripts.lib.clustering import kmeans
from workflow_scripts.lib.clustering.centroids import mean_objective, unit_norm
from workflow_scripts.lib.clustering.methods import Task
from workflow_scripts.lib.embeddings import Embeddings, UnitRows, write_rows

BLOCK = 10_000


def clip_like(n, d, seed=0):
    """Yield blocks of generated unit rows, float32 [BLOCK, d]."""
    rng = np.random.default_rng(seed)
    mean = rng.normal(size=d)
    scale = np.arange(1, d + 1) ** -0.5
    scale *= 0.55 * np.linalg.norm(mean) / np.linalg.norm(scale)
    topics = rng.normal(size=(5000, d)) * scale
    for start in range(0, n, BLOCK):
        rows = min(BLOCK, n - start)
        found = mean + topics[rng.integers(0, len(topics), rows)]
        found += 0.7 * rng.normal(size=(rows, d)) * scale
        yield unit_norm(found.astype(np.float32))


def ours(precision):
    def run(images, rows, init, cfg):
        cfg = cfg | {"precision": precision}
        task = Task(images, len(np.load(init)), cfg, None, f"{init}.state", "", init)
        return kmeans.fit(task).weights["centroids"]

    return run


def from_two_levels(images, rows, init, cfg):
    cfg = cfg | {"precision": "bfloat16", "init": "two_level"}
    task = Task(images, len(np.load(init)), cfg, None, f"{init}.state", "")
    return kmeans.fit(task).weights["centroids"]


def faiss_kmeans(images, rows, init, cfg):
    init = np.load(init)
    return _by_faiss(faiss.Kmeans, rows, len(init), cfg, init_centroids=init)


def faiss_super_kmeans(images, rows, init, cfg):
    return _by_faiss(faiss.SuperKmeans, rows, len(np.load(init)), cfg)


def _by_faiss(kind, rows, k, cfg, **start):
    options = {"min_points_per_centroid": 1, "max_points_per_centroid": len(rows)}
    model = kind(rows.shape[1], k, niter=cfg["iterations"], spherical=True, **options)
    model.train(rows, **start)
    return model.centroids


def super_kmeans(images, rows, init, cfg):
    from superkmeans import SuperKMeans

    whole = {"hierarchical": False, "sampling_fraction": 1.0, "max_points_per_cluster": len(rows)}
    model = SuperKMeans(
        len(np.load(init)), rows.shape[1], iters=cfg["iterations"], n_threads=1, angular=True,
        early_termination=False, **whole,
    )  # fmt: skip
    return model.train(rows)


def fast_kmeans(images, rows, init, cfg):
    from fastkmeans import FastKMeans

    model = FastKMeans(rows.shape[1], len(np.load(init)), niter=cfg["iterations"], gpu=False)
    model.train(rows)
    return model.centroids


def scikit_learn(images, rows, init, cfg):
    init = np.load(init)
    model = sklearn.cluster.KMeans(len(init), init=init, n_init=1, max_iter=cfg["iterations"])
    return model.fit(rows).cluster_centers_


PEERS = {  # name -> (function, package)
    "faiss": (faiss_kmeans, "faiss"),
    "ours, bfloat16": (ours("bfloat16"), "torch"),
    "ours, float32": (ours("float32"), "numpy"),
    "faiss SuperKmeans": (faiss_super_kmeans, "faiss"),
    "SuperKMeans": (super_kmeans, "superkmeans"),
    "fastkmeans (Euclidean)": (fast_kmeans, "fastkmeans"),
    "scikit-learn (Euclidean)": (scikit_learn, "scikit-learn"),
    "ours, bfloat16, from two levels": (from_two_levels, "torch"),
}
FAISS_AND_OURS = ("--rounds", "1", "--peers", "faiss", "ours, bfloat16")
MANY = ("--rows", "250000", "--dimensions", "64", "--clusters", "101000", "--iterations", "2")
TABLES = (
    (),
    ("--rows", "1000000", *FAISS_AND_OURS),
    ("--clusters", "10000", *FAISS_AND_OURS, "SuperKMeans", "fastkmeans (Euclidean)"),
    (*MANY, *FAISS_AND_OURS, "ours, bfloat16, from two levels"),
)


def version(package):
    """Name and version of a package; None if it is not installed."""
    if package == "faiss":
        return f"faiss {faiss.__version__}"
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return None


def benchmark(options, folder):
    rows = np.concatenate(list(clip_like(options.rows, options.dimensions)))
    write_rows(folder / "rows.npy", [rows], rows.shape)
    stored = UnitRows(np.load(folder / "rows.npy", mmap_mode="r"))
    images = Embeddings([stored], pa.table({}), {})
    chosen = np.random.default_rng(1).choice(len(rows), options.clusters, replace=False)
    np.save(folder / "init.npy", rows[np.sort(chosen)])
    cfg = {"seed": 0, "spherical": True, "restarts": 1, "iterations": options.iterations}
    cfg |= {"sample": 0, "init": "init.npy"}
    seconds, objectives = {}, {}
    for _ in range(options.rounds):
        for name in options.peers:
            run = PEERS[name][0]
            gc.collect()
            before = used()
            found = run(images, rows, str(folder / "init.npy"), cfg)
            seconds[name] = min(used() - before, seconds.get(name, np.inf))
            centroids = unit_norm(np.asarray(found, np.float32))
            objectives[name] = mean_objective(rows, centroids, spherical=True)
    return seconds, objectives


def print_table(options):
    versions = {name: version(PEERS[name][1]) for name in options.peers}
    options.peers = [name for name in options.peers if versions[name]]
    with tempfile.TemporaryDirectory() as folder:
        seconds, objectives = benchmark(options, Path(folder))
    print(f"{options.rows:,} x {options.dimensions}, {options.clusters:,} clusters,")
    print(f"{options.iterations} iterations, least of {options.rounds} rounds; {processor()}\n")
    print("| k-means | CPU s | of faiss's | mean cosine | version |")
    print("| --- | ---: | ---: | ---: | --- |")
    for name, spent in seconds.items():
        ratio = f"{spent / seconds['faiss']:.2f}" if "faiss" in seconds else ""
        print(f"| {name} | {spent:.1f} | {ratio} | {objectives[name]:.5f} | {versions[name]} |")
    print(flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--clusters", type=int, default=1000)
    parser.add_argument("--dimensions", type=int, default=512)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=[*PEERS][:-1])
    for table in [sys.argv[1:]] if sys.argv[1:] else TABLES:
        print_table(parser.parse_args(table))


if __name__ == "__main__":
    main()
