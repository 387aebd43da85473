"""What an earlier run left, jobs and logs, is seen to before the first job starts."""

import os
import shutil
import signal
import subprocess
import time
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest
from changes import set_key
from projects import jobs_of

TEMI = "results/clusters/tinyclip/photos/temi_3/seed0.parquet"
LOG = "results/logs/evaluate_clustering/mini.log"


def training(project):
    """The PID of the project's job that clusters, or None."""
    return next((pid for pid, script in jobs_of(project).items() if script == "cluster"), None)


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.1)
    return found


@pytest.fixture
def orphan(finished, tmp_path):
    """A project and the PID of its job that goes on for ever, whose main process was killed."""
    project = finished.copy(tmp_path / "project")
    set_key("clusterings.temi_3.steps", 10_000_000)(project)
    project.run("-n")
    assert (project.folder / LOG).exists()  # a dry run removes none
    main = subprocess.Popen(
        project.command("--cores", "2"),
        cwd=project.folder,
        env=os.environ | project.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    lock = project.folder / Path(TEMI).with_name(".seed0.parquet.lock")
    wait_for(lock.exists)
    pid = wait_for(lambda: training(project))
    os.kill(main.pid, signal.SIGKILL)
    main.wait()
    yield project, pid
    if training(project) == pid:
        os.kill(pid, signal.SIGKILL)


def record_of(project, path):
    """What Snakemake noted of a short path."""
    return project.folder / ".snakemake/metadata" / urlsafe_b64encode(path.encode()).decode()


def test_a_new_run_ends_while_a_job_of_a_killed_one_still_writes(orphan):
    project, pid = orphan
    assert not (project.folder / LOG).exists()  # its job was to run, and got no further
    set_key("clusterings.temi_3.steps", 41)(project)
    done = project.run(check=False)
    assert done.returncode == 1
    assert "An earlier run was killed; its lock is removed." in done.stdout
    assert f"{TEMI} is still being written by process {pid}" in done.stdout
    assert "rule cluster:" not in done.stdout
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: training(project) is None)
    foreseen = project.rules_run("-n")
    assert (foreseen["cluster"], foreseen["evaluate_ood"]) == (1, 1)
    assert project.rules_run(TEMI) == {"cluster": 1}
    assert (project.folder / TEMI).exists()
    assert project.rules_run("-n", TEMI) == {}


def test_lost_notes_of_snakemake_are_said(finished, tmp_path):
    project = finished.copy(tmp_path / "project")
    set_key("clusterings.kmeans_3.k", 2)(project)
    assert project.rules_run("-n")["cluster"] == 1
    for image_set in ("photos", "strange"):
        path = f"results/embeddings/tinyclip/images/{image_set}/00000.npy"
        record_of(project, path).unlink()
    done = project.run("-n")
    assert f"of how files were made lack 2, {path.replace('strange', 'photos')}" in done.stdout
    shutil.rmtree(project.folder / ".snakemake/metadata")
    done = project.run("-n", check=False)
    assert done.returncode == 1
    assert "put the folder back, or make all anew by --forceall" in done.stdout
    assert project.rules_run("-n", "--forceall")["cluster"] == 2
