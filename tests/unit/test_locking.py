"""Two processes never write the same outputs; what a killed one left hinders nobody."""

import contextlib
import json
import os
import platform
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from workflow_scripts.lib import locking
from workflow_scripts.lib.errors import InputError

ROOT = Path(__file__).parents[2]
JOB = """
import sys, time
from types import SimpleNamespace
from workflow_scripts.lib import job as jobs, locking
locking.BEAT_SECONDS, locking.PATIENCE_SECONDS = 0.1, 5
output, log = sys.argv[1:]
names = {"rule": "cluster", "wildcards": [], "resources": {}}
with jobs.job(SimpleNamespace(output=[output], log=[log], **names)):
    print("started", flush=True)
    sys.stdin.readline()
    open(output, "w").write("done")
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(locking, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(locking, "PATIENCE_SECONDS", 1)


@pytest.fixture
def output(tmp_path):
    return tmp_path / "seed0.parquet"


@contextlib.contextmanager
def job(output):
    """A rule script that writes an output when it is told to go on; it runs when this yields."""
    process = subprocess.Popen(
        [sys.executable, "-c", JOB, output, output.with_suffix(".log")],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_the_second_job_of_the_same_outputs_ends_and_names_the_first(output):
    with job(output) as first:
        assert first.stdout.readline() == "started\n"
        with job(output) as second:
            _, message = second.communicate()
        assert second.returncode == 1
        assert not output.exists()
        first.communicate("go on\n")
        assert first.returncode == 0
    assert message == (
        f"Error in cluster: {output} is being written by process {first.pid} on "
        f"{platform.node()}; wait until it ends\n"
    )
    assert "cluster done" in output.with_suffix(".log").read_text()
    assert not locking.lock_of(output).exists()


def test_the_lock_of_a_killed_job_is_taken_over_at_once(output, monkeypatch):
    monkeypatch.setattr(locking, "PATIENCE_SECONDS", 600)
    with job(output) as first:
        assert first.stdout.readline() == "started\n"
        first.kill()
        first.wait()
    assert locking.lock_of(output).exists()
    with locking.locked(output):
        assert json.loads(locking.lock_of(output).read_text())["pid"] == os.getpid()


def hold_elsewhere(output):
    """The lock of a SLURM job on another host."""
    owner = {"host": "n1", "pid": os.getpid(), "job": "12"}
    locking.lock_of(output).write_text(json.dumps(owner))


def test_a_job_on_another_host_runs_as_long_as_it_renews_its_lock(output):
    hold_elsewhere(output)
    lock, stop = locking.lock_of(output), threading.Event()
    threading.Thread(target=locking._beat, args=(lock, stop)).start()
    with pytest.raises(InputError, match=r"by SLURM job 12 \(process \d+ on n1\); wait"):
        locking.locked(output).__enter__()
    stop.set()
    assert json.loads(lock.read_text())["host"] == "n1"
    with locking.locked(output):
        assert json.loads(lock.read_text())["host"] == platform.node()


def test_a_lock_is_renewed_while_it_is_held_and_goes_after_an_error(output):
    lock = locking.lock_of(output)
    with pytest.raises(ZeroDivisionError), locking.locked(output):
        first = lock.stat().st_mtime_ns
        while lock.stat().st_mtime_ns == first:  # for ever, if it is not renewed
            time.sleep(0.02)
        raise ZeroDivisionError
    assert not lock.exists()


def test_a_lock_that_another_job_took_over_stays(output):
    with locking.locked(output):
        hold_elsewhere(output)
    assert locking.lock_of(output).exists()


def test_only_outputs_whose_jobs_run_are_reported(output):
    other, free = output.with_name("seed1.parquet"), output.with_name("seed2.parquet")
    hold_elsewhere(other)
    with job(output) as process:
        assert process.stdout.readline() == "started\n"
        writers = locking.running_writers([output, other, free])
    assert writers == {output: f"process {process.pid} on {platform.node()}"}


def test_a_half_written_lock_is_no_error(output):
    locking.lock_of(output).touch()
    with locking.locked(output):
        assert locking.lock_of(output).stat().st_size


RUN = """
import sys
from workflow_scripts.lib import locking
locking.BEAT_SECONDS, locking.PATIENCE_SECONDS = 0.1, 1
print(locking.take_over_folder(sys.argv[1]), flush=True)
sys.stdin.readline()
"""


def run(folder):
    """A run of the workflow in this folder, which goes on until it is told to end."""
    return subprocess.Popen(
        [sys.executable, "-c", RUN, folder], env=os.environ | {"PYTHONPATH": str(ROOT)},
        text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """Snakemake's notes, with the lock of a run."""
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks/0.output.lock").write_text("a.parquet\n")
    return tmp_path


def test_the_lock_of_a_killed_run_goes_and_that_of_a_running_one_stays(folder):
    first = run(folder)
    assert first.stdout.readline() == "True\n"
    (folder / "locks").mkdir()
    (folder / "locks/0.output.lock").touch()
    second = run(folder)
    assert second.stdout.readline() == "False\n"
    second.communicate("end\n")
    assert [path.name for path in folder.glob(".run-*")] == [
        f".run-{platform.node()}-{first.pid}.lock"
    ]
    first.kill()
    first.wait()
    third = run(folder)
    assert third.stdout.readline() == "True\n"
    third.communicate("end\n")
    assert not list(folder.iterdir())


@pytest.mark.parametrize("beats", [True, False])
def test_a_run_on_another_host_keeps_its_lock_as_long_as_it_renews_it(folder, beats):
    hold_elsewhere(folder / "run-n1-1")
    stop = threading.Event()
    if beats:
        lock = locking.lock_of(folder / "run-n1-1")
        threading.Thread(target=locking._beat, args=(lock, stop)).start()
    process = run(folder)
    assert process.stdout.readline() == f"{not beats}\n"
    process.communicate("end\n")
    stop.set()
    assert (folder / "locks").exists() is beats
