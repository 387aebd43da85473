"""The profiles for clusters fit the rules; that of SLURM their names, GPUs and groups of jobs."""

import graphlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
import yte
from test_rules import RULES

ROOT = Path(__file__).parent.parent
DEFAULT, SLURM, KUBERNETES = (
    yaml.safe_load((ROOT / f"profiles/{name}/profile.yaml").read_text())
    for name in ("default", "slurm", "kubernetes")
)


@pytest.mark.parametrize("key", sorted(DEFAULT.keys() - {"cores", "resources", "__definitions__"}))
def test_what_decides_what_runs_is_as_without_a_cluster(key):
    """`--workflow-profile` takes the place of the default one."""
    assert SLURM[key] == KUBERNETES[key] == DEFAULT[key]


def test_all_rules_of_the_profile_exist():
    assert SLURM["set-resources"].keys() | SLURM["groups"].keys() <= RULES.keys()
    assert set(SLURM["group-components"]) == set(SLURM["groups"].values())


@pytest.mark.parametrize(("said", "gpus"), [
    ("(null)", 0), ("gpu:1", 1), ("(null)\ngpu:a100:4(S:0-1)\ngpu:2", 4),
    ("gpu:h100:8(S:0-1),mps:400", 8), ("mps:400,gpu:v100:2,gpu:k80:3", 3),
])  # fmt: skip
def test_no_job_asks_for_more_gpus_than_a_node_has(said, gpus, tmp_path, monkeypatch):
    """What sinfo says of nodes bounds what rules ask for, alone or in groups."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for command, text in {"sinfo": said, "scontrol": ""}.items():
        (tmp_path / command).write_text(f"#!/bin/sh\necho '{text}'\n")
        (tmp_path / command).chmod(0o755)
    profile = yte.process_yaml((ROOT / "profiles/slurm/profile.yaml").read_text())
    assert profile["resources"] == {"gpu": gpus}
    assert profile["set-resource-scopes"] == {"gpu": "local"}
    asking = {name for name, body in RULES.items() if "gpu=" in body}
    settings = profile["set-resources"].items()
    assert {name: block["gpu"] for name, block in settings if "gpu" in block} == (
        {} if gpus else dict.fromkeys(asking, 0)
    )


def test_rules_that_run_beside_snakemake_are_in_no_group():
    local = {name for name, body in RULES.items() if "localrule: True" in body}
    assert "write_table" in local
    assert not local & SLURM["groups"].keys()


def test_no_group_waits_for_what_is_made_of_it():
    """Even if all jobs of a group became one, no job below one would be above another."""
    done = subprocess.run(
        [Path(sys.executable).with_name("snakemake"), "--rulegraph", "dot",
         "all", "ablations", "deep_clustering"],
        cwd=ROOT, text=True, capture_output=True, check=True,
    )  # fmt: skip
    rules = dict(re.findall(r'(\d+)\[label = "(\w+)"', done.stdout))
    edges = re.findall(r"(\d+) -> (\d+)", done.stdout)
    assert len(edges) > 100
    above = {}
    for one, other in edges:
        upper, lower = (SLURM["groups"].get(rules[rule], rules[rule]) for rule in (one, other))
        if upper != lower:
            above.setdefault(lower, set()).add(upper)
    order = list(graphlib.TopologicalSorter(above).static_order())
    assert order.index("mine") < order.index("score") < order.index("evaluate")
