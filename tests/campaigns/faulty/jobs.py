"""Jobs without memory, space or an end; sources, clocks, locks and notes that change."""

import json
import os
import platform
import re
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pyarrow as pa
from campaign import TESTS
from faulty.disks import can_mount, fill, small_disk
from inputs.outcomes import refused

from workflow_scripts.lib import artifacts, locking
from workflow_scripts.lib.images.listed import as_listed
from workflow_scripts.lib.images.state import fingerprint
from workflow_scripts.lib.recipes import notes_are_lost
from workflow_scripts.lib.sources import Sources

JOB = """
import resource, sys
from types import SimpleNamespace
import numpy as np
from workflow_scripts.lib.artifacts import write_array
from workflow_scripts.lib.job import job
output, log, limit = sys.argv[1:]
names = {"rule": "cluster", "wildcards": [], "resources": {}}
if int(limit):
    resource.setrlimit(resource.RLIMIT_AS, (int(limit), int(limit)))
with job(SimpleNamespace(output=[output], log=[log], **names)):
    sys.stderr.write("progress " * 1000)
    write_array(output, np.ones(10**9 if int(limit) else 10**5))
"""


def run_job(output, log, limit=0):
    """What a job says on the terminal and in its log; it must fail without a traceback."""
    done = subprocess.run(
        [sys.executable, "-c", JOB, str(output), str(log), str(limit)], check=False, text=True,
        env=os.environ | {"PYTHONPATH": str(TESTS.parent)}, capture_output=True,
    )  # fmt: skip
    said = done.stderr + (log.read_text("utf-8", "replace") if log.is_file() else "")
    assert done.returncode == 1, (done.returncode, said)
    assert "Traceback" not in said, said
    (sentence,) = re.findall(r"Error in \w+: (.*)", said)
    return sentence


def memory_limit(folder):
    said = run_job(folder / "out.npy", folder / "job.log", 3 << 30)
    assert "memory is too small" in said and "give the job more" in said, said


def full_disk_with_log(folder):
    for left in (0, 1, 2):  # pages, for the lock and the start of the log
        with small_disk(folder / "disk") as disk:
            fill(disk, left)
            said = run_job(disk / "out.npy", disk / "logs/job.log")
            assert "no space left" in said and "free some space" in said, said


def hung_worker(folder):
    from workflow_scripts.lib.encoders import stream

    patience, stream.PATIENCE_SECONDS = stream.PATIENCE_SECONDS, 0.5
    try:
        with stream.decoders(2, None) as pool:
            read = stream.prefetched(time.sleep, [0, 99], pool, 2)
            refused(partial(list, read), "hangs", "run again")
    finally:
        stream.PATIENCE_SECONDS = patience


# ---- sources, clocks, locks, notes ---------------------------------------------------------------


def changing_source(folder):
    image, rows = folder / "a.png", pa.table({"image_id": ["a.png"], "sha256": ["0" * 64]})
    image.write_bytes(b"other than listed")
    (read,) = as_listed(rows, [partial(Path, image)])
    refused(read, "a.png", "run again")


def clock_set_back(folder):
    """A file that changed at an earlier time than before is seen, by word lists and image sets."""
    words, images = folder / "words.txt", folder / "images"
    images.mkdir()
    (images / "a.png").write_bytes(b"one")
    words.write_text("one")
    sources, options = Sources(folder / "sources.json"), {"kind": "folder"}
    before = sources.digest(str(words)), fingerprint(str(images), options, "code")
    words.write_text("two")
    (images / "a.png").write_bytes(b"two")
    for file in (words, images / "a.png"):
        os.utime(file, (1, 1))
    again = Sources(folder / "sources.json")
    after = again.digest(str(words)), fingerprint(str(images), options, "code")
    assert before[0] != after[0] and before[1] != after[1]


def future_lock(folder):
    """A lock from the future, of a process that has ended or of another host, is taken over."""
    patience, locking.PATIENCE_SECONDS = locking.PATIENCE_SECONDS, 0.5
    beat, locking.BEAT_SECONDS = locking.BEAT_SECONDS, 0.1
    try:
        for host in (platform.node(), "another"):
            lock = locking.lock_of(folder / "out")
            lock.write_text(json.dumps({"host": host, "pid": 2**22 + 1, "job": None}))
            os.utime(lock, (2**32, 2**32))
            with locking.locked(folder / "out"):
                pass
            assert not lock.exists()
    finally:
        locking.PATIENCE_SECONDS, locking.BEAT_SECONDS = patience, beat


def lost_notes(folder):
    notes, results = folder / ".snakemake", folder / "results"
    record = notes / "metadata/cmVzdWx0cw=="
    artifacts.write_table(results / "images/photos/hashes.parquet", {"a": [1]})
    assert not notes_are_lost(notes, results)  # the workflow has looked at images, no more
    artifacts.write_table(results / "corpora/words.parquet", {"a": [1]})
    assert notes_are_lost(notes, results)
    record.parent.mkdir(parents=True)
    assert notes_are_lost(notes, results)
    record.write_text("{}")
    assert not notes_are_lost(notes, results)


def job_cases():
    """Name -> check."""
    found = {
        "a memory limit in a job": memory_limit,
        "a hung worker": hung_worker,
        "an image that changes after it was listed": changing_source,
        "a clock set back": clock_set_back,
        "a lock from the future": future_lock,
        "lost notes of Snakemake": lost_notes,
    }
    return found | ({"a full disk: log and lock": full_disk_with_log} if can_mount() else {})
