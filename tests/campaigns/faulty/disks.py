"""Disks that are full or cannot be written to: said, nothing is left, and again with space."""

import contextlib
import functools
import os
import resource
import subprocess
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from inputs.outcomes import refused

from workflow_scripts.lib import artifacts
from workflow_scripts.lib.replacing import replacing
from workflow_scripts.lib.tensors import write_tensors

PAGE = 4096


@contextlib.contextmanager
def small_disk(folder, pages=2048):
    """A disk of so many pages, mounted here."""
    folder.mkdir(parents=True, exist_ok=True)
    mount("-t", "tmpfs", "-o", f"size={pages * PAGE}", "tmpfs", folder)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def mount(*arguments):
    subprocess.run(["mount", *map(str, arguments)], check=True, capture_output=True)


@functools.cache
def can_mount():
    with tempfile.TemporaryDirectory() as folder:
        try:
            with small_disk(Path(folder)):
                return True
        except (OSError, subprocess.CalledProcessError):
            return False


def fill(disk, left=0):
    """Write a file until the disk is full, and leave so many pages."""
    with (disk / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(PAGE))
    os.truncate(disk / "filler", (disk / "filler").stat().st_size - left * PAGE)


def write_figure(path):
    from PIL import Image

    with replacing(path) as temporary:
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (99, 99), np.uint8)).save(
            temporary, format="png"
        )


def write_csv(path):
    import pyarrow as pa
    import pyarrow.csv

    with replacing(path) as temporary:
        pyarrow.csv.write_csv(pa.table({"a": np.arange(9999)}), temporary)


def write_much(path):
    artifacts.write_blocks(path, [np.ones((9999, 8))] * 3, (3 * 9999, 8), np.float16)


WRITERS = {
    "text": lambda path: artifacts.write_text(path, "a" * 99_999),
    "array": lambda path: artifacts.write_array(path, np.ones(9999)),
    "blocks of rows": write_much,
    "table": lambda path: artifacts.write_table(path, {"a": np.random.default_rng(0).random(9999)}),
    "CSV": write_csv,
    "weights": lambda path: write_tensors(path, {"a": np.zeros(9999)}),
    "figure": write_figure,
}


def full_disk(folder, write):
    """The writer says so, leaves nothing, and writes the same when there is space."""
    expected = folder / "expected/out"  # weights say their name
    write(expected)
    words = ["out", "free some space and run again"]
    if not can_mount():
        grown = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, grown[1]))
        try:
            refused(partial(write, folder / "out"), *words, "file too large")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, grown)
        assert [path.name for path in folder.iterdir()] == ["expected"]
        return
    with small_disk(folder / "disk") as disk:
        fill(disk)
        refused(partial(write, disk / "out"), *words, "no space left")
        assert [path.name for path in disk.iterdir()] == ["filler"]
        (disk / "filler").unlink()
        write(disk / "out")
        assert (disk / "out").read_bytes() == expected.read_bytes()


def read_only_disk(folder):
    with small_disk(folder / "disk") as disk:
        (disk / "out").write_text("old")
        mount("-o", "remount,ro", disk)
        for write in WRITERS.values():
            refused(partial(write, disk / "out"), "out", "read-only", "writable")
            refused(partial(write, disk / "new/out"), "new/out", "read-only", "writable")
        assert (disk / "out").read_text() == "old"


def disk_cases():
    """Name -> check."""
    found = {f"a full disk: {name}": partial(full_disk, write=w) for name, w in WRITERS.items()}
    return found | ({"a read-only disk": read_only_disk} if can_mount() else {})
