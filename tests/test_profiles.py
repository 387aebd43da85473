"""The profiles for clusters fit the rules; that of SLURM their names, GPUs and groups of jobs."""

import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
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


def test_no_rule_asks_for_a_gpu_where_there_is_none():
    asking = {name for name, body in RULES.items() if "gpu=" in body}
    settings = SLURM["set-resources"].items()
    assert asking == {name for name, block in settings if block.get("gpu") == "?gpu"}


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
