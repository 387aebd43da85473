"""Memory, CPU time and disk of stages as images grow, and what that makes of a million and more.

    OMP_NUM_THREADS=1 .venv/bin/python tests/benchmarks/sizes.py

Every stage runs on generated float16 embeddings of 512 dimensions, or on small image files, at two
sizes, in a process of its own. Of memory the peak of what is the process's alone counts (anonymous
and shared memory, not the pages of mapped files, which the system takes back); of the disk the
files that the stage writes. The slope between the sizes is what an image costs; sizes beyond are
extrapolated from it. No test looks at these numbers.
"""

import argparse
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2]))

from machine import processor, used

D, K, WORDS, NEIGHBOURS = 512, 1000, 20_000, 25
BLOCK = 10_000
TINYCLIP = Path(__file__).parents[2] / "config/demo/tinyclip"
EXTRAPOLATED = {"1 M": 1_000_000, "11 M": 11_000_000, "1 B": 1_000_000_000}
KMEANS = {
    "method": "kmeans", "spherical": True, "iterations": 1, "sample": 0, "init": "random",
    "restarts": 1, "precision": "auto",
}  # fmt: skip
TEMI = {
    "method": "temi", "steps": 20, "warmup_steps": 5, "batch_size": 1024, "base_lr": 1e-4,
    "standardise": False, "heads": 4, "hidden": 512, "bottleneck": 256, "temperature": 0.1,
    "teacher_momentum": 0.996, "neighbours": NEIGHBOURS, "beta": 0.6, "prior_momentum": 0.9,
    "precision": "auto",
}  # fmt: skip


def make(folder, n):
    """Write embeddings of n images in two shards, of words, and a graph of random neighbours."""
    from workflow_scripts.lib.artifacts import write_array, write_table, write_text
    from workflow_scripts.lib.embeddings import IMAGE_INDEX, write_rows

    rng = np.random.default_rng(0)
    centres = rng.standard_normal((K, D), dtype=np.float32)
    meta = {"encoder": {"model": "generated", "dim": D}}

    def blocks(rows):
        for start in range(0, rows, BLOCK):
            size = min(BLOCK, rows - start)
            noise = rng.standard_normal((size, D), dtype=np.float32)
            yield centres[rng.integers(0, K, size)] + 1.5 * noise

    for shard, rows in enumerate((n // 2, n - n // 2)):
        write_rows(folder / f"{shard:05d}.npy", blocks(rows), (rows, D))
        ids = [f"n01440764/n01440764_{shard}_{i}.JPEG" for i in range(rows)]
        columns = [pa.array(ids), pa.array(["n01440764"] * rows), pa.array([f"{0:064x}"] * rows)]
        index = pa.table(columns, schema=IMAGE_INDEX)
        write_table(folder / f"{shard:05d}.parquet", index, meta)
    write_array(folder / "words.npy", centres[rng.integers(0, K, WORDS)].astype(np.float16))
    write_table(folder / "words.parquet", {"concept": [str(i) for i in range(WORDS)]}, meta)
    graph = rng.integers(0, n, (n, NEIGHBOURS), dtype=np.int32)
    note = write_array(folder / "graph.npy", graph)
    write_text(folder / "graph.json", json.dumps({"array": note}))


def make_archive(folder, n):
    """Write a tar file with n images of a few pixels, no two alike."""
    with tarfile.open(folder / "images.tar", "w") as archive:
        for i in range(n):
            content = io.BytesIO()
            Image.fromarray(np.array([[i & 255, i >> 8 & 255, i >> 16]], np.uint8)).save(
                content, "PNG"
            )
            member = tarfile.TarInfo(f"n01440764/n01440764_{i}.png")
            member.size = content.tell()
            content.seek(0)
            archive.addfile(member, content)


class Stages:
    """What is measured, a method per stage: its name in words, and what its time goes into."""

    def __init__(self, folder, stage):
        self.folder, self.out = folder, folder / stage  # the stage writes into `out`
        self.listed = folder / "list_images"
        self.embeddings = sorted(map(str, folder.glob("0*.npy")))
        self.index = [str(Path(path).with_suffix(".parquet")) for path in self.embeddings]

    def images(self):
        from workflow_scripts.lib.embeddings import open_embeddings

        return open_embeddings(self.embeddings, self.index)

    def list_images(self):
        """Listing small images in a tar file | headers, hashing"""
        from workflow_scripts.list_images import list_images

        tables = [self.out / f"{name}.parquet" for name in ("manifest", "locators", "lost")]
        state = {"listing": "first", "shards": ["first"]}
        cfg = {"kind": "tar", "labels": "subfolder", "options": {}, "shards": 1, "state": state}
        record, cfg = self.listed / "hashes.parquet", cfg | {"maximum_quarantine": 0}
        list_images(self.folder / "images.tar", *tables, cfg, record)

    def list_again(self):
        """Listing them again, unchanged | headers"""
        self.list_images()

    def embed_images(self):
        """Embedding a shard, by the demo's encoder | decoding, encoder"""
        from workflow_scripts.embed_images import embed_images

        cfg = {"method": "open_clip", "checkpoint": str(TINYCLIP), "device": "cpu"}
        tables = [self.listed / f"{name}.parquet" for name in ("manifest", "locators")]
        source, cfg = self.folder / "images.tar", cfg | {"batch_size": 64}
        embed_images(tables[0], {0: "one"}, source, tables[1], [], cfg, self.out / "shard.npy")

    def read_ids(self):
        """Opening embeddings and their ids | checksums"""
        return self.images().ids

    def match_concepts(self):
        """Best 5 of 20,000 words | images times words"""
        from workflow_scripts.match_concepts import match_concepts

        words = (self.folder / "words.npy", self.folder / "words.parquet")
        match_concepts(self.embeddings, self.index, *words, 5, self.out / "similarity.parquet")

    def cluster_kmeans(self):
        """k-means of 1,000 clusters, one iteration and the assignment | images times clusters"""
        self._cluster(KMEANS, {})

    def cluster_temi(self):
        """TEMI of 1,000 clusters, 20 steps and the assignment | assignment"""
        files = {"neighbours": "graph.npy", "about_neighbours": "graph.json"}
        self._cluster(TEMI, {name: self.folder / file for name, file in files.items()})

    def _cluster(self, cfg, inputs):
        from workflow_scripts.cluster import cluster

        names = ("clusters", "model", "history", "cost")
        outputs = SimpleNamespace(**{name: str(self.out / f"{name}.out") for name in names})
        cfg = cfg | {"k": K, "seed": 0}
        cluster(self.embeddings, self.index, inputs, cfg, "code", {"encoder": "e"}, outputs)

    def score_images(self):
        """MCM and NegLabel, 1,000 positives and 3,000 negatives | images times words"""
        from workflow_scripts.lib.artifacts import write_table
        from workflow_scripts.lib.detection.detectors import score_embeddings
        from workflow_scripts.lib.embeddings import read_texts

        words = read_texts(self.folder / "words.npy", self.folder / "words.parquet")
        detectors = {
            "mcm": {"method": "mcm", "temperature": 1.0},
            "neglabel": {"method": "neglabel", "temperature": 0.01, "groups": 100, "seed": 0},
        }
        images, negatives = self.images(), {"n": words[K : K + 3000]}
        scores, nearest, cosines = score_embeddings(images, words[:K], negatives, detectors)
        columns = {":".join(map(str, name)): values for name, values in scores.items()}
        columns |= {"image_id": images.index["image_id"], "concept": nearest, "cosine": cosines}
        write_table(self.out / "scores.parquet", columns)


STAGES = [name for name in vars(Stages) if not name.startswith("_") and name != "images"]
OF_FILES = ("list_images", "list_again", "embed_images")  # stages that open image files
SIZES, FILE_SIZES = (100_000, 400_000), (20_000, 100_000)


def anonymous():
    """Bytes of memory that are this process's alone."""
    status = Path("/proc/self/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in status)
    return sum(int(fields[name].split()[0]) * 1024 for name in ("RssAnon", "RssShmem"))


def measure(stage, folder):
    """Run a stage here; print the peak of its memory, what it wrote (bytes) and its CPU seconds."""
    peak, done = 0, threading.Event()

    def watch():
        nonlocal peak
        while not done.is_set():
            peak = max(peak, anonymous())
            time.sleep(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    stages, before = Stages(folder, stage), used()
    stages.out.mkdir()
    getattr(stages, stage)()
    seconds = used() - before
    done.set()
    watcher.join()
    disk = sum(file.stat().st_size for file in stages.out.rglob("*"))
    print(json.dumps({"memory": peak, "disk": disk, "seconds": seconds}))


def measured(stage, folder):
    """`measure` in a process of its own."""
    command = [sys.executable, __file__, "--stage", stage, "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def table(found):
    """Print what an image costs, and what follows for more. found: stage -> [(n, measures)] of two
    sizes."""
    heads = [f"{unit}, {name}" for name in EXTRAPOLATED for unit in ("GB", "CPU h")]
    start = "stage | most of the time | images measured | MB at the fewer | bytes an image"
    print(f"| {start} | bytes on disk | CPU us an image | {' | '.join(heads)} |")
    print("| --- | --- |" + " ---: |" * (5 + len(heads)))
    for stage, ((few, one), (many, other)) in found.items():
        slopes = ((other[key] - one[key]) / (many - few) for key in ("memory", "disk", "seconds"))
        memory, disk, seconds = (max(0, slope) for slope in slopes)
        cells = [f"{few:,}, {many:,}", f"{one['memory'] / 1e6:,.0f}"]
        cells += [f"{memory:,.0f}", f"{disk:,.0f}", f"{seconds * 1e6:,.1f}"]
        for n in EXTRAPOLATED.values():
            cells.append(f"{(one['memory'] + memory * (n - few)) / 1e9:,.1f}")
            cells.append(f"{(one['seconds'] + seconds * (n - few)) / 3600:,.2f}")
        name, dominates = getattr(Stages, stage).__doc__.split(" | ")
        print(f"| {name} (`{stage}`) | {dominates} | {' | '.join(cells)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs=2, help=f"default {SIZES}, or {FILE_SIZES}")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    parser.add_argument("--stage")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.stage:
        measure(options.stage, options.folder)
        return
    found = {stage: [] for stage in options.stages}
    for stages, sizes, prepare in (
        (OF_FILES, options.sizes or FILE_SIZES, make_archive),
        ([s for s in STAGES if s not in OF_FILES], options.sizes or SIZES, make),
    ):
        for n in sizes if found.keys() & set(stages) else ():
            with tempfile.TemporaryDirectory() as folder:
                prepare(Path(folder), n)
                for stage in (stage for stage in stages if stage in found):
                    found[stage].append((n, measured(stage, folder)))
    print(f"{processor()}\n")
    table(found)
    print()


if __name__ == "__main__":
    main()
