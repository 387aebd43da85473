"""Which jobs of an earlier run are in the queue, of a squeue that a shell script plays."""

import os

from workflow_scripts.lib.slurm import queued_jobs

SQUEUE = """#!/bin/sh
echo '12|{here}|rule_cluster_wildcards_a|b_0'
echo '13|{here}|(null)'
echo '14|/elsewhere|rule_cluster_wildcards_a_0'
echo '15_2|{here}/../{name}|rule_mine_mine_concepts'
"""


def test_the_jobs_that_snakemake_submitted_in_this_folder(tmp_path, monkeypatch):
    squeue = tmp_path / "squeue"
    squeue.write_text(SQUEUE.format(here=tmp_path, name=tmp_path.name))
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert queued_jobs(tmp_path) == ["12", "15_2"]


def test_without_slurm_there_are_none(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert queued_jobs(tmp_path) == []
