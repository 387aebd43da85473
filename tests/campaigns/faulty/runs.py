"""Whole runs of the miniature project, and a job of each of its rules, on disks of any state."""

import functools
import os
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
from base64 import urlsafe_b64decode
from functools import partial
from pathlib import Path

from faulty.disks import can_mount, fill, mount, small_disk
from projects import HOLD_TIMES, make_project

KEEP = """    with Path(f".{snakemake.rule}.pickle").open("wb") as file:
        __import__("pickle").dump(snakemake, file)
"""
RUN = """
import pickle, runpy, sys
snakemake = pickle.load(open(f".{sys.argv[1]}.pickle", "rb"))
runpy.run_path(f"workflow_scripts/{sys.argv[1]}.py", {"snakemake": snakemake}, "__main__")
"""


# Those of the miniature project.
RULES = ["average_clusters", "build_corpus", "cluster", "collect_duplicates", "collect_quarantine"]
RULES += ["draw_concepts", "draw_map", "embed_images", "embed_texts", "evaluate_clustering"]
RULES += ["evaluate_concepts", "evaluate_ood", "explore_clusters", "explore_provenance"]
RULES += ["explore_study", "find_duplicates", "find_neighbours", "list_images", "match_concepts"]
RULES += ["mine_concepts", "mine_negatives", "name_clusters", "plot_ood", "score_images"]
RULES += ["summarise", "tabulate_clusters", "tabulate_means", "write_table"]


@functools.cache
def finished():
    """The miniature project after a run that kept a job of every rule."""
    project = make_project(Path(tempfile.mkdtemp(prefix="faults-")) / "finished")
    path = project.folder / "workflow_scripts/lib/job.py"
    mark = "    RECIPE.set("
    path.write_text(path.read_text("utf-8").replace(mark, KEEP + mark, 1), "utf-8")
    project.run("--cores", "2")
    return project


def run_rule(project, rule):
    """Run the kept job of a rule. Returns its exit status, and what it and its log say."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, rule], cwd=project.folder, check=False, text=True,
        env=os.environ | project.environment | {"PYTHONPATH": str(project.folder)},
        capture_output=True,
    )  # fmt: skip
    log = project.folder / kept_job(rule).log[0]
    return done.returncode, done.stderr + (log.read_text() if log.is_file() else "")


def kept_job(rule):
    with (finished().folder / f".{rule}.pickle").open("rb") as file:
        return pickle.load(file)


def on_small_disk(folder, rule):
    """A job of a rule on a full and a read-only disk, and then with space."""
    outputs = [path for path in kept_job(rule).output if (finished().folder / path).is_file()]
    source, place = finished().folder, folder / "project"
    shutil.copytree(source, place, symlinks=True, ignore=lambda path, names: (
        ["results"] if Path(path) == source else []))  # fmt: skip
    project = type(finished())(place)
    with small_disk(place / "results", 16384) as disk:
        shutil.copytree(source / "results", disk, dirs_exist_ok=True)
        for left in (2, 1):  # for the lock and the log; of a log that stays empty outputs fit
            for path in [*outputs, kept_job(rule).log[0]]:
                (place / path).unlink(missing_ok=True)
            fill(disk, left)
            status, said = run_rule(project, rule)
            if status:
                break
        assert status == 1 and "Traceback" not in said, said
        assert re.search("Error in .*no space left.*free some space and run again", said), said
        assert not list(disk.rglob(".*.tmp-*"))
        mount("-o", "remount,ro", disk)
        status, said = run_rule(project, rule)
        assert status == 1 and "Traceback" not in said, said
        assert re.search("Error in .*read-only file system.*writable", said), said
        mount("-o", "remount,rw", disk)
        (disk / "filler").unlink()
        status, said = run_rule(project, rule)
        assert status == 0, said
        for output in outputs:
            if not output.endswith(HOLD_TIMES):
                assert (place / output).read_bytes() == (source / output).read_bytes(), output


def lost_notes_of_a_run(folder):
    project = finished().copy(folder / "project")
    shutil.rmtree(project.folder / ".snakemake/metadata")
    done = project.run("-n", check=False)
    assert done.returncode == 1 and "--forceall" in done.stdout, done.stdout[-2000:]


def lost_note_of_a_run(folder):
    """Of one file, which Snakemake takes as it is whatever has changed: the run says so."""
    project = finished().copy(folder / "project")
    notes = [p for p in (project.folder / ".snakemake/metadata").iterdir() if p.is_file()]
    notes[0].unlink()
    path = urlsafe_b64decode(notes[0].name).decode()
    said = project.run("-n").stdout
    assert f"notes of how files were made lack 1, {path} among" in said, said[:2000]


def damaged_run(folder):
    """A flipped bit in a run that goes on from it: named, and after deleting as before."""
    project = finished().copy(folder / "project")
    path = "results/embeddings/tinyclip/images/photos/00000"
    with (project.folder / f"{path}.npy").open("r+b") as file:
        file.seek(200)
        byte = file.read(1)
        file.seek(200)
        file.write(bytes([byte[0] ^ 1]))
    clusters = next((project.folder / "results/clusters").rglob("seed0.parquet"))
    expected = clusters.read_bytes()
    clusters.unlink()
    target = str(clusters.relative_to(project.folder))
    done = project.run(target, check=False)
    assert done.returncode == 1 and f"{path}.npy is damaged" in done.stdout, done.stdout[-2000:]
    for ending in (".npy", ".parquet"):
        (project.folder / f"{path}{ending}").unlink()
    project.run(target)
    assert clusters.read_bytes() == expected


def run_cases():
    """Name -> check, or check and number of tries."""
    found = {
        "lost notes of a run": lost_notes_of_a_run,
        "a lost note of a run": lost_note_of_a_run,
        "a bit flip in the middle of a run": damaged_run,
    }
    for rule in RULES if can_mount() else []:
        found[f"a full and a read-only disk: {rule}"] = (partial(on_small_disk, rule=rule), 2)
    return found
