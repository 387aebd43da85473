"""The workflow's house rules, checked on the rule files themselves."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RULE = re.compile(r"^(?:rule|checkpoint) (\w+):\n((?:[ \n].*\n?)+)", re.MULTILINE)
RULES = {
    name: body
    for file in sorted((ROOT / "rules").glob("*.smk"))
    for name, body in RULE.findall(file.read_text("utf-8"))
}
SCRIPTS = sorted(p.stem for p in (ROOT / "workflow_scripts").glob("*.py") if p.stem != "__init__")


def test_every_script_is_a_rule_of_the_same_name():
    assert sorted(RULES) == SCRIPTS


@pytest.mark.parametrize("name", RULES)
def test_rule_tracks_its_config_and_its_code(name):
    body = RULES[name]
    params = re.search(r"    params:\n((?:        .*\n)+)", body).group(1)
    keys = re.findall(r"^        (\w+)=", params, re.MULTILINE)
    assert keys == ["cfg", "code"], "one plain dict and the code digest, nothing else"
    assert f'code=code("{name}.py")' in params
    assert f'script:\n        "../workflow_scripts/{name}.py"' in body
    assert re.search(r"    log:\n", body)


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
    assert used <= {"input", "output", "params", "wildcards", "threads"}


def test_library_does_not_know_snakemake():
    for file in (ROOT / "workflow_scripts" / "lib").glob("*.py"):
        if file.stem != "job":
            names = {n.id for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Name)}
            assert "snakemake" not in names, file.name


def test_labels_reach_no_rule_before_the_evaluation_but_the_oracle():
    """Rules that read an image index read its labels at most in these scripts.

    Derived image sets choose images, or name them anew, by their labels; clusterings may count
    the distinct labels (lib/clustering/results.py), nothing else.
    """
    readers = {
        script
        for script in SCRIPTS
        if re.search(
            r'\["label"\]|\.labels\b', (ROOT / f"workflow_scripts/{script}.py").read_text()
        )
    }
    assert readers == {
        "coarsen_labels",
        "derive_images",
        "evaluate_benchmark",
        "evaluate_predictions",
        "evaluate_clustering",
        "evaluate_concepts",
        "flag_contamination",
        "mine_ground_truth",
    }
