"""Runs that are killed again and again end with the bytes of an undisturbed one.

A chain is one project: its run is killed at a moment, started again, killed again, and so on. Every
kill counts as a moment that was tried. A run that reaches its end is compared with the undisturbed
one, byte for byte, and the chain goes on from nothing until its kills are used up; then it is let
run to the end. No lock is removed by hand. Half of the moments are any (up to LONGEST seconds after
the start), the others are aimed: at a file that appears while something is done, or if that was too
short to be seen, at the end of it. One of two chains makes all results, the other the scores.
"""

import atexit
import contextlib
import functools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from base64 import urlsafe_b64encode
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
from campaign import Case, main
from changes import set_key
from projects import MINI, Project, artifacts_of, jobs_of, make_project

TITLE = "Kills"
FOUND = {
    "a run hung when SIGTERM came while Snakemake's scheduler held its lock":
        "unit/test_signals.py::test_a_handler_may_take_a_lock_that_the_main_thread_holds",
    "after a killed run the folder had to be unlocked by hand":
        "unit/test_locking.py::test_the_lock_of_a_killed_run_goes_and_that_of_a_running_one_stays",
}  # fmt: skip

KILLS, PAIRS = 10, 10
LONGEST, PATIENCE, BLINK = 10, 300, 0.0002  # seconds
SIGNALS = {number.name: number for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)}
WHOM = ("job", "snakemake", "group")
IMAGES, CLUSTERS = "embeddings/tinyclip/images/photos", "clusters/tinyclip/photos/temi_3"
TEMI = f"results/{CLUSTERS}/seed0.parquet"
SCORES = "results/scores/mini/tinyclip/temi_3/clustermine/seed0.parquet"
# Moment -> folder in results, pattern of the file that appears, and the file with which it is over.
AIMS = {
    "listing": ("images/photos", ".manifest.parquet.lock", "manifest.parquet"),
    "embedding": (IMAGES, ".0000?.npy.lock", "00001.npy"),
    "array writing": (IMAGES, ".0000?.npy.tmp-*", "00001.npy"),
    "TEMI": (CLUSTERS, ".seed0.parquet.lock", "seed0.parquet"),
    "TEMI's checkpoint": (CLUSTERS, ".seed0.safetensors.state.tmp-*", "seed0.parquet"),
    "Parquet writing": ("similarity/tinyclip/photos", ".words.parquet.tmp-*", "words.parquet"),
    "table writing": ("tables", ".*.tmp-*", "summary.md"),
}
RENAMED = "final rename of "  # the moment when a temporary file has gone


def killed_project(folder):
    """A small study with every stage, in which training writes its state after every epoch."""
    project = make_project(folder)
    for name in ("epochs", "unfinished"):
        path = folder / f"workflow_scripts/lib/clustering/{name}.py"
        text = path.read_text("utf-8")
        path.write_text(text.replace("CHECKPOINT_SECONDS = 30", "CHECKPOINT_SECONDS = 0"), "utf-8")
    study = {"minings": ["clustermine"], "calibrate": {"share": 0.25}}
    project.write_config(MINI | {"studies": {"mini": MINI["studies"]["mini"] | study}})
    set_key("clusterings.temi_3.steps", 600)(project)
    return project


@functools.cache
def undisturbed(*targets):
    """The project after one run that nobody disturbed, and the project before it."""
    folder = Path(tempfile.mkdtemp(prefix="kills-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    new = killed_project(folder / "new")
    done = new.copy(folder / "done")
    done.run("--cores", "2", *targets)
    return new, done


# ---- a life: from the start of a run to its end -------------------------------------------------


class Life:
    """A run of a project that may be killed."""

    def __init__(self, project, targets):
        self.project = project
        self._log = (project.folder / "run.log").open("w+")
        self.process = subprocess.Popen(
            project.command("--cores", "2", *targets), cwd=project.folder,
            env=os.environ | project.environment, stdout=self._log, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip

    def is_over(self):
        return self.process.poll() is not None

    def kill(self, whom, number, pid=None):
        """Send a signal, and wait until the run and all its jobs are over."""
        if whom == "group":
            os.killpg(self.process.pid, number)
        elif whom == "job" and (jobs := [pid] if pid else list(jobs_of(self.project))):
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.kill(jobs[-1], number)
        else:
            self.process.send_signal(number)
        return self.end()

    def end(self):
        """Wait for the end. Returns the exit status."""
        try:
            status = self.process.wait(PATIENCE)
            wait_until(lambda: not group_runs(self.process.pid))
        except (subprocess.TimeoutExpired, TimeoutError):
            os.killpg(self.process.pid, signal.SIGKILL)
            raise AssertionError(f"a run did not end in {PATIENCE} s:\n{self.said()}") from None
        return status

    def said(self):
        self._log.seek(0)
        return self._log.read()[-6000:]


def group_runs(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition, pause=0.05, seconds=PATIENCE):
    """Wait for a condition; returns what it is. Raises TimeoutError."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(pause)
    return found


def wait_for_moment(life, moment, rng):
    """Wait for a moment, or the run's end. Returns the PID of the job it was aimed at, or None."""
    if moment == "any":
        end = time.monotonic() + rng.uniform(0.5, LONGEST)
        wait_until(lambda: life.is_over() or time.monotonic() > end)
        return None
    folder, pattern, over = AIMS[moment.removeprefix(RENAMED)]
    folder = life.project.folder / "results" / folder
    stage_is_over = (folder / over).exists
    wait_until(lambda: life.is_over() or first(folder, pattern) or stage_is_over(), BLINK)
    if not (file := first(folder, pattern)) or life.is_over():
        return None
    if moment.startswith(RENAMED):
        wait_until(lambda: not file.exists(), BLINK)
    return owner(file)


def first(folder, pattern):
    """The first file of a folder whose name is like this, or None."""
    try:
        with os.scandir(folder) as files:
            names = [file.name for file in files if fnmatch(file.name, pattern)]
    except FileNotFoundError:
        return None
    return folder / names[0] if names else None


def owner(file):
    """The PID in a lock or in the name of a temporary file."""
    if ".tmp-" in file.name:
        return int(file.name.rpartition("-")[2])
    try:
        return json.loads(file.read_text())["pid"]
    except (OSError, ValueError):  # gone, or not yet written
        return None


# ---- what must hold ---------------------------------------------------------------------------


def finished_shards(project):
    """Finished embeddings, path -> what changes when the file is made again."""
    found = {}
    for path in project.folder.glob("results/embeddings/tinyclip/images/*/?????.npy"):
        record = urlsafe_b64encode(str(path.relative_to(project.folder)).encode()).decode()
        notes = project.folder / ".snakemake"
        if (notes / "metadata" / record).exists() and not (notes / "incomplete" / record).exists():
            status = path.stat()
            found[path] = status.st_ino, status.st_mtime_ns
    return found


def leftovers(project):
    """What a run must not leave: temporary files, locks, states, notes of unfinished files."""
    hidden = [p for p in (project.folder / "results").rglob(".*") if p.is_file()]
    notes = project.folder / ".snakemake"
    unfinished = [*notes.glob("incomplete/*"), *notes.glob("locks/*"), *notes.glob(".run-*")]
    states = (project.folder / "results").rglob("*.state")
    kept = [".snakemake_timestamp"]
    paths = [*hidden, *unfinished, *states]
    return [str(p.relative_to(project.folder)) for p in paths if p.name not in kept]


def check_same(project, reference):
    found, expected = artifacts_of(project), artifacts_of(reference)
    differ = [p for p in expected.keys() | found.keys() if found.get(p) != expected.get(p)]
    assert not differ, f"not as in an undisturbed run: {sorted(differ)}"
    assert not (left := leftovers(project)), f"left behind: {left}"


def drawn(rng, project, targets):
    """A kill: moment, whom, signal. Moments that are over, or not to come, are not drawn."""
    possible = [
        moment for moment, (folder, _, over) in AIMS.items()
        if not (project.folder / "results" / folder / over).exists()
        and not (targets and moment == "table writing")
    ]  # fmt: skip
    moment = "any"
    if possible and rng.random() < 0.5:
        moment = rng.choice(possible)
        if "writing" in moment or "checkpoint" in moment:
            moment = rng.choice([moment, RENAMED + moment])
    return str(moment), str(rng.choice(WHOM)), str(rng.choice([*SIGNALS]))


def chain(folder, seed, kills=(), number=KILLS, targets=()):
    """Kill the runs of a project. kills: the first ones; the others, up to `number`, are drawn."""
    rng, kills = np.random.default_rng(seed), list(kills)
    new, reference = undisturbed(*targets)
    folder.mkdir(exist_ok=True)
    project, finished, done = new.copy(folder / "run0"), {}, []
    while len(done) < number:
        moment, whom, name = kills.pop(0) if kills else drawn(rng, project, targets)
        life = Life(project, targets)
        pid = wait_for_moment(life, moment, rng)
        if life.is_over():
            assert life.end() == 0, f"after {done}:\n{life.said()}"
            check_same(project, reference)
            print(f"{folder.name}: same bytes after {len(done)} kills", flush=True)
            shutil.rmtree(project.folder)
            project, finished = new.copy(folder / f"run{len(done)}"), {}
            continue
        done.append((moment, whom, name))
        life.kill(whom, SIGNALS[name], pid)
        print(f"{folder.name}: {len(done)} of {number}: {moment}, {whom}, {name}", flush=True)
        now = finished_shards(project)
        assert finished.items() <= now.items(), f"a finished shard was made again after {done}"
        finished = now
    life = Life(project, targets)
    assert life.end() == 0, f"after {done}:\n{life.said()}"
    assert finished.items() <= finished_shards(project).items(), f"made again after {done}"
    check_same(project, reference)
    assert Project(project.folder).rules_run("-n", *targets) == {}


SHORT = [("TEMI's checkpoint", "group", "SIGKILL")]


def pair(folder, seed):
    """Two chains at a time, of all results and of the scores."""
    with ThreadPoolExecutor(2) as pool:
        chains = [
            pool.submit(chain, folder / name, [*seed, i], targets=targets)
            for i, (name, targets) in enumerate({"all": (), "scores": (SCORES,)}.items())
        ]
    for found in chains:
        found.result()


def cases(short, seed):
    """Chains of kills, two at a time. The short form is one kill, up to TEMI."""
    # Of a shell's job in the background SIGINT is ignored, which its processes would inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if short:
        check = functools.partial(
            chain, seed=[seed, 0], kills=SHORT, number=len(SHORT), targets=(TEMI,)
        )
        return [Case("a kill up to TEMI", check, len(SHORT))]
    return [
        Case(
            f"two chains of {KILLS} kills, {i}", functools.partial(pair, seed=[seed, i]), 2 * KILLS
        )
        for i in range(PAIRS)
    ]


if __name__ == "__main__":
    main(TITLE, cases)
