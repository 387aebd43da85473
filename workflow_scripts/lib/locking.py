"""Locks of outputs, so that two jobs never write the same files.

Snakemake keeps two of its runs apart, but a job may outlive the run that started it: a killed run
leaves jobs behind, on this machine or on a cluster, and a node that is lost to the cluster may
still write.
"""

import atexit
import contextlib
import json
import os
import platform
import shutil
import threading
import time
from pathlib import Path

import psutil

from workflow_scripts.lib.errors import InputError

BEAT_SECONDS = 5
PATIENCE_SECONDS = 30  # without a beat, after which a process on another host counts as ended


@contextlib.contextmanager
def locked(output):
    """Hold the lock of a job's outputs while the block runs; `output` is the first of them.

    The lock is `.NAME.lock` beside it, a JSON object that says which process writes; its time is
    renewed every BEAT_SECONDS. The lock of a process that has ended is taken over.
    Raises InputError if another process holds the lock.
    """
    path = lock_of(output)
    path.parent.mkdir(parents=True, exist_ok=True)
    own = json.dumps({"host": platform.node(), "pid": os.getpid(), "job": cluster_job()})
    while not _created(path, own):
        if output in (writers := running_writers([output])):
            raise InputError(f"{output} is being written by {writers[output]}; wait until it ends")
        path.unlink(missing_ok=True)
    ended = threading.Event()
    threading.Thread(target=_beat, args=(path, ended), daemon=True).start()
    try:
        yield
    finally:
        ended.set()
        if _text(path) == own:
            path.unlink(missing_ok=True)


def running_writers(outputs):
    """Output -> the process that holds its lock, in words, of those outputs whose process runs.

    A process of this host runs if its PID does and it renews its lock, one of another host if it
    renews its lock. So the answer takes up to PATIENCE_SECONDS, if there are locks at all.
    """
    paths = {output: lock_of(output) for output in outputs if lock_of(output).exists()}
    held = {output: (path, _touched(path)) for output, path in paths.items() if not _is_dead(path)}
    writers, end = {}, time.monotonic() + PATIENCE_SECONDS
    while held and time.monotonic() < end:
        time.sleep(BEAT_SECONDS / 5)
        for output, (path, before) in list(held.items()):
            touched = _touched(path)
            if touched != before:
                del held[output]
            if touched and touched != before:
                writers[output] = _in_words(_owner(path))
    return writers


def take_over_folder(state=".snakemake"):
    """Register this run of the workflow until its process ends, and remove the lock that a killed
    run left, unless another run goes on in this folder.

    Snakemake's own lock does not say whose it is, so it does not tell whether it is stale. state:
    the folder of Snakemake's notes. Returns whether a lock was removed. Takes PATIENCE_SECONDS if
    there is a lock and a run on another host was killed.
    """
    own = f"{state}/run-{platform.node()}-{os.getpid()}"
    run = contextlib.ExitStack()
    run.enter_context(locked(own))
    atexit.register(run.close)
    others = {output_of(path) for path in Path(state).glob(".run-*.lock")} - {own}
    for ended in [other for other in others if _is_dead(lock_of(other))]:
        lock_of(ended).unlink(missing_ok=True)
        others.remove(ended)
    locks = Path(state, "locks")
    if not any(locks.glob("*")) or running_writers(sorted(others)):
        return False
    shutil.rmtree(locks)
    return True


def lock_of(output):
    """The path of an output's lock."""
    return Path(output).with_name(f".{Path(output).name}.lock")


def output_of(lock):
    """The output whose lock this is."""
    return str(lock.with_name(lock.name.removeprefix(".").removesuffix(".lock")))


def cluster_job():
    """The number of the SLURM job that this process is part of, None outside of one."""
    return os.environ.get("SLURM_JOB_ID")


def _created(path, text):
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return False
    return True


def _beat(path, ended):
    while not ended.wait(BEAT_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(path)


def _text(path):
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return ""


def _owner(path):
    """What a lock says; {} if it is gone or was never written to its end."""
    try:
        return json.loads(_text(path))
    except ValueError:
        return {}


def _is_dead(path):
    """Whether the process that holds a lock is one of this host and has ended."""
    owner = _owner(path)
    return owner.get("host") == platform.node() and not psutil.pid_exists(owner["pid"])


def _touched(path):
    """When a lock was renewed last, in ns; None if it is gone.

    The file is opened, since network file systems answer from memory else.
    """
    try:
        with path.open() as file:
            return os.fstat(file.fileno()).st_mtime_ns
    except FileNotFoundError:
        return None


def _in_words(owner):
    process = f"process {owner.get('pid', '?')} on {owner.get('host', 'another host')}"
    return f"SLURM job {owner['job']} ({process})" if owner.get("job") else process
