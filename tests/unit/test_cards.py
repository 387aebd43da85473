"""Jobs and graphics cards, without any: what each job may use is a matter of files and names."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from workflow_scripts.lib import cards

ROOT = Path(__file__).parents[2]
# A job that says which cards it sees, and holds them until its input ends.
JOB = """
import os, sys
from workflow_scripts.lib import cards
cards.reserve(int(sys.argv[1]))
print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def start(tmp_path):
    """A function (gpus, visible) that starts a job; gives the process and the cards it sees."""
    running = []

    def job(gpus, visible):
        environment = {"TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            [sys.executable, "-c", JOB, str(gpus)], text=True,
            env=os.environ | environment | {"CUDA_VISIBLE_DEVICES": visible},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        running.append(process)
        return process, process.stdout.readline().strip()

    yield job
    for process in running:
        process.kill()
        process.communicate()


def test_jobs_spread_over_the_cards(start):
    first, card = start(1, "0,1,2")
    assert card == "0"
    assert [start(1, "0,1,2")[1] for _ in range(2)] == ["1", "2"]
    # Every card has a job: a fourth one shares the first of them, a fifth the next.
    assert [start(1, "0,1,2")[1] for _ in range(2)] == ["0", "1"]
    first.kill()  # which frees its card, though it could not say so
    first.wait()
    assert [start(1, "0,1,2")[1] for _ in range(2)] == ["0", "2"]


def test_a_job_with_two_cards_counts_on_both(start):
    assert start(2, "0,1,2")[1] == "0,1"
    assert start(1, "0,1,2")[1] == "2"


def test_cards_may_have_names(start):
    names = "GPU-8932f937,MIG-GPU-5c89852c/1/0"
    assert [start(1, names)[1] for _ in range(3)] == [*names.split(","), "GPU-8932f937"]


@pytest.mark.parametrize(
    ("gpus", "visible", "expected"), [(0, "0,1", ""), (0, "2", ""), (1, "2", "2"), (1, "", "")]
)
def test_no_card_is_taken_beyond_those_that_are_asked_for_and_visible(
    start, gpus, visible, expected
):
    assert start(gpus, visible)[1] == expected


def test_without_the_variable_the_cards_are_counted(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(cards, "DEVICES", tmp_path)
    for name in ("nvidia0", "nvidia7", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert cards.visible_cards() == ["0", "1"]
    monkeypatch.setattr(cards, "DEVICES", tmp_path / "none")
    cards.reserve(1)  # no card here: nothing to choose
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


@pytest.mark.parametrize(("limit", "seen"), [("2", "5"), ("0", "")])
def test_snakemake_tells_a_job_its_cards(tmp_path, limit, seen):
    """`--resources gpu=0` is the CPU; a rule without the resource sees no card."""
    (tmp_path / "show.py").write_text(
        textwrap.dedent("""
        import os
        from pathlib import Path
        from workflow_scripts.lib.job import job
        with job(snakemake):
            Path(snakemake.output[0]).write_text(os.environ["CUDA_VISIBLE_DEVICES"])
    """)
    )
    (tmp_path / "Snakefile").write_text(
        textwrap.dedent("""
        rule both:
            input: "with", "without"
        rule with_gpu:
            output: "with"
            log: "with.log"
            resources: gpu=1
            params: cfg={}, code=""
            script: "show.py"
        rule without_gpu:
            output: "without"
            log: "without.log"
            params: cfg={}, code=""
            script: "show.py"
    """)
    )
    snakemake = Path(sys.executable).with_name("snakemake")
    subprocess.run(
        [snakemake, "--cores", "1", "--resources", f"gpu={limit}", "--quiet"],
        cwd=tmp_path, check=True,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "5", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (tmp_path / "with").read_text() == seen
    assert (tmp_path / "without").read_text() == ""
