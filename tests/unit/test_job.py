"""Progress of jobs that run beside each other in a terminal, and of jobs without one."""

import contextlib
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
JOB = """
import sys, time
from types import SimpleNamespace
from workflow_scripts.lib import job as jobs
name, log, seconds = sys.argv[1:]
jobs.TERMINAL_SECONDS = float(seconds)
snakemake = SimpleNamespace(
    rule="embed_images", wildcards=["clip", name], output=[], log=[log], resources={}
)
with jobs.job(snakemake):
    for _ in jobs.progress(range(40), unit="images", mininterval=0.05):
        time.sleep(0.02)
"""
METER = r" *\d+%\|[#\d ]+\| \d+/40 \[00:0\d<(00:0\d|\?), +[\d.?]+ ?images/s\]"


def start(name, folder, seconds, stderr):
    arguments = [sys.executable, "-c", JOB, name, str(folder / f"{name}.log"), str(seconds)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(arguments, env=environment, stderr=stderr)


def run_in_terminal(names, folder, seconds):
    """The lines in a terminal of jobs that run at the same time."""
    master, terminal = pty.openpty()
    jobs = [start(name, folder, seconds, terminal) for name in names]
    os.close(terminal)
    shown = b""
    with contextlib.suppress(OSError):  # when all jobs have closed it
        while True:
            shown += os.read(master, 1024)
    os.close(master)
    assert [job.wait() for job in jobs] == [0] * len(jobs)
    return shown.decode().splitlines()


def test_jobs_show_whole_lines_with_rate_and_time_left(tmp_path):
    lines = run_in_terminal("abc", tmp_path, 0.05)
    for name in "abc":
        of_job = [line for line in lines if line.startswith(f"embed_images/clip/{name}: ")]
        assert len(of_job) > 3
    for line in lines:
        assert re.fullmatch(rf"embed_images/clip/[abc]:{METER}", line), line


def test_a_short_job_shows_nothing(tmp_path):
    assert run_in_terminal("a", tmp_path, 10) == []


@pytest.mark.parametrize("seconds", [0, 10])
def test_without_a_terminal_only_the_log_has_lines(tmp_path, seconds):
    job = start("a", tmp_path, seconds, subprocess.PIPE)
    assert job.communicate()[1] == b""
    lines = re.split("[\r\n]+", (tmp_path / "a.log").read_text())
    assert sum(bool(re.fullmatch(METER, line)) for line in lines) > 3
    assert any("embed_images done" in line for line in lines)
