"""The workflow's house rules, checked on the rule files themselves."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RULE = re.compile(r"^rule (\w+):\n((?:[ \n].*\n?)+)", re.MULTILINE)
RULES = {
    name: body
    for file in sorted((ROOT / "rules").glob("*.smk"))
    for name, body in RULE.findall(file.read_text("utf-8"))
}
SCRIPTS = sorted(p.stem for p in (ROOT / "workflow_scripts").glob("*.py") if p.stem != "__init__")


def test_every_script_is_a_rule_of_the_same_name():
    assert sorted(RULES) == SCRIPTS


def section(name, keyword):
    """The lines of a section of a rule, e.g. of its params; "" if it has none."""
    found = re.search(rf"    {keyword}:\n((?:        .*\n)+)", RULES[name])
    return found.group(1) if found else ""


@pytest.mark.parametrize("name", RULES)
def test_rule_tracks_its_config_its_code_and_what_is_above(name):
    params = section(name, "params")
    keys = re.findall(r"^        (\w+)=", params, re.MULTILINE)
    assert keys == ["cfg", "code", "above"], "one plain dict and two digests, nothing else"
    assert re.search(rf'code=code\("{name}"[,)]', params)
    assert f'above=above("{name}")' in params
    assert f'script:\n        "../workflow_scripts/{name}.py"' in RULES[name]
    assert section(name, "log")


@pytest.mark.parametrize("name", RULES)
def test_inputs_and_outputs_have_names(name):
    """A recipe covers the inputs by name (lib/recipes.py)."""
    for keyword in ("input", "output"):
        for line in re.findall(r"^        (\S.*)$", section(name, keyword), re.MULTILINE):
            assert re.match(r"\w+=|unpack\(|\*\*(figure|table)\(|\)", line), f"{keyword}: {line}"


def test_no_part_of_the_dag_waits_for_a_job():
    for file in [ROOT / "Snakefile", *(ROOT / "rules").glob("*.smk")]:
        assert "checkpoint" not in file.read_text("utf-8"), file.name


def test_snakemake_lint_finds_nothing_but_functions_beside_their_rules():
    """That they stand beside the rules that they serve is our choice."""
    done = subprocess.run(
        [Path(sys.executable).with_name("snakemake"), "--lint"],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    findings = re.findall(r"^    \* (.+)$", done.stdout, re.MULTILINE)
    assert findings, done.stdout
    assert {finding.rstrip(":") for finding in findings} == {
        "Mixed rules and functions in same snakefile."
    }


@pytest.mark.parametrize("script", SCRIPTS)
def test_script_reads_only_what_snakemake_tracks(script):
    """`snakemake.config` would be a hidden input: a change of it re-runs nothing."""
    source = (ROOT / "workflow_scripts" / f"{script}.py").read_text("utf-8")
    used = {
        node.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "snakemake"
    }
    assert used <= {"input", "output", "params", "wildcards", "threads", "resources"}


def test_library_does_not_know_snakemake():
    for file in (ROOT / "workflow_scripts" / "lib").rglob("*.py"):
        if file.stem != "job":
            names = {n.id for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Name)}
            assert "snakemake" not in names, file.name


def test_labels_reach_no_rule_before_the_evaluation_but_the_oracle():
    """Rules that read an image index read its labels at most in these scripts.

    A page may show them beside the names. Derived image sets choose images, or name them anew, by
    their labels; clusterings may count the distinct labels (lib/clustering/results.py), nothing
    else.
    """
    pattern = r'\["label"\]|\.labels\b|true_names_of'
    texts = {script: (ROOT / f"workflow_scripts/{script}.py").read_text() for script in SCRIPTS}
    readers = {script for script, text in texts.items() if re.search(pattern, text)}
    assert readers == {
        "coarsen_labels",
        "derive_images",
        "evaluate_benchmark",
        "evaluate_predictions",
        "evaluate_clustering",
        "evaluate_concepts",
        "explore_clusters",
        "flag_contamination",
        "mine_ground_truth",
    }
