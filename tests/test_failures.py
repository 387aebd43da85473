"""A change whose jobs failed is not forgotten: the next run does the work, or fails again.

Snakemake deletes what a job made before it runs the job again. If the job fails, the tables below
still look fresh by their times; the recipes in their params tell that they are not.
"""

import hashlib
import os
import re
import subprocess

import pandas as pd
import pytest
from changes import set_key
from projects import WORDS
from test_targets import TREE

from workflow_scripts.lib.artifacts import read_meta

OOD = "results/tables/ood.parquet"
CLUSTERS = "results/tables/clustering.parquet"
TOO_MANY = set_key("clusterings.temi_3.k", 400)


def clusters_of(project, clustering):
    """The number of clusters that the table tells."""
    rows = pd.read_parquet(project.folder / CLUSTERS)
    return rows[rows["clustering"] == clustering]["k"].item()


def test_a_stage_that_fails_by_its_config_fails_again_and_then_recovers(finished, tmp_path):
    """With the old config the tables are as before; with another, the stage runs with that."""
    project = finished.copy(tmp_path / "project")
    before = (project.folder / OOD).read_bytes()
    TOO_MANY(project)
    for _ in range(2):
        done = project.run("--keep-going", check=False)
        assert done.returncode == 1
        assert "cannot make 400 clusters" in done.stdout
        assert "set `k`" in done.stdout
    assert project.rules_run("-n")["cluster"] == 1
    set_key("clusterings.temi_3.k", 3)(project)
    project.run()
    assert (project.folder / OOD).read_bytes() == before
    assert project.rules_run("-n") == {}
    set_key("clusterings.temi_3.k", 2)(project)
    assert project.rules_run("-n")["evaluate_ood"] == 1
    assert project.rules_run(CLUSTERS) == {"cluster": 1, "evaluate_clustering": 1, "write_table": 1}
    assert clusters_of(project, "temi_3") == 2


def test_a_missing_word_list_is_named_until_it_is_back(finished, tmp_path):
    project = finished.copy(tmp_path / "project")
    words = project.folder / "words.txt"
    content = words.read_text()
    words.unlink()
    for _ in range(2):
        done = project.run(check=False)
        assert done.returncode != 0
        assert "config: corpora.words.files[0].path: words.txt does not exist" in done.stdout
    words.write_text(content)
    assert project.rules_run("-n") == {}
    words.write_text(content + "mountain\n")
    assert project.rules_run("-n")["build_corpus"] == 1


@pytest.mark.parametrize(
    ("path", "problem"), [("", "is empty"), ("pipe.txt", "is neither a file nor a folder")]
)
def test_a_path_that_cannot_be_read_is_named(finished, tmp_path, path, problem):
    project = finished.copy(tmp_path / "project")
    os.mkfifo(project.folder / "pipe.txt")
    set_key("corpora.words.files", [path])(project)
    done = project.run("-n", "results/corpora/words.parquet", check=False)
    assert done.returncode != 0 and "Traceback" not in done.stdout
    assert f"config: corpora.words.files[0].path: {path} {problem}" in done.stdout


@pytest.mark.parametrize(
    ("target", "section"),
    [
        ("ablations", "corpora"),
        pytest.param("deep_clustering", "benchmarks", marks=pytest.mark.slow),
    ],
)
def test_a_missing_source_of_an_ablation_or_benchmark_is_named(finished, tmp_path, target, section):
    project = finished.copy(tmp_path / "project")
    (project.folder / "other.txt").write_text("\n".join([*WORDS, "table"]))
    (project.folder / "tree.csv").write_text(TREE)
    set_key("corpora.others", {"files": [{"path": "other.txt"}]})(project)
    set_key("ablate", ["words"])(project)
    words = {"study": "mini", "vary": "corpus", "axis": "words", "values": {"other": "others"}}
    set_key("ablations.words", words)(project)
    set_key("compare", ["several"])(project)
    several = {"axis": "multiple_classes", "encoders": ["tinyclip"], "levels": {"all": "photos"},
               "clusterings": ["kmeans_3"], "tree": "tree.csv"}  # fmt: skip
    set_key("benchmarks.several", several)(project)
    project.run(target)
    assert project.rules_run(target, "-n") == {}
    source = {"corpora": "other.txt", "benchmarks": "tree.csv"}[section]
    (project.folder / source).unlink()
    for _ in range(2):
        done = project.run(target, check=False)
        assert done.returncode != 0
        assert f"{source} does not exist" in done.stdout
        assert "Traceback" not in done.stdout
        assert "Nothing to be done" not in done.stdout
    assert project.rules_run("-n") == {}, "the studies in `run` do not read it"


def digest_of(files):
    """The digest of several inputs, from what `sha256sum` prints."""
    printed = subprocess.run(
        ["sha256sum", *files], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    joined = "".join(line[:12] for line in printed.splitlines())
    return hashlib.sha256(joined.encode()).hexdigest()[:12]


def test_tables_carry_their_recipe(finished, tmp_path):
    project = finished.copy(tmp_path / "project")
    path = project.folder / "results/studies/mini/ood.parquet"
    before = read_meta(path)["recipe"]
    assert before["rule"] == "evaluate_ood"
    assert before["wildcards"] == {"study": "mini"}
    assert before["cfg"]["far"] == ["strange"]
    assert before["code"].startswith("evaluate_ood@")
    set_key("detectors.mcm.temperature", 0.5)(project)
    project.run(OOD)
    after = read_meta(path)["recipe"]
    assert {key for key in before if before[key] != after[key]} == {"inputs"}
    flat = read_meta(project.folder / OOD)["recipe"]
    assert flat["inputs"] == {"tables": digest_of([path])}


def test_a_detector_that_cannot_score_is_a_missing_value_with_its_reason(finished, tmp_path):
    """More groups than negatives; all tables stay, and the next detector of the order decides."""
    project = finished.copy(tmp_path / "project")
    set_key("detectors.neglabel.groups", 400)(project)
    pages = [f"results/explore/mini/{name}.html" for name in ("map", "index")]
    tables = [OOD, "results/tables/summary.md", "results/tables/means.md", *pages]
    tables.append("results/outliers/mini/strange.csv")
    project.run(*tables)
    ood = pd.read_parquet(project.folder / OOD)
    missing = ood["detector"] == "neglabel"
    assert ood.loc[missing, "auroc"].isna().all() and ood.loc[~missing, "auroc"].notna().all()
    assert ood.loc[missing, "reason"].str.contains("negatives for 400 groups").all()
    for table in ("summary", "means"):
        text = (project.folder / f"results/tables/{table}.md").read_text()
        assert "negatives for 400 groups" in text.replace("\n  ", " "), table
    scores = ood["detector"].unique()
    assert "max_logit" not in scores and "energy" not in scores, "so MCM is the next"
    made = read_meta(project.folder / "results/outliers/mini/strange.parquet")
    assert (made["column"], made["passed_over"][0]["detector"]) == ("mcm", "neglabel")
    assert "The score is mcm;" in (project.folder / pages[0]).read_text("utf-8")
    for page in ("results/tables/summary.md", pages[1]):
        text = " ".join((project.folder / page).read_text("utf-8").split())
        assert re.search(r"eglabel with rest cannot decide \(.*?\); mcm decides instead", text)
    assert project.rules_run("-n", *tables) == {}

    set_key("studies.mini.decide_by", "neglabel")(project)
    done = project.run("--keep-going", "results/explore/mini/map.html", *tables, check=False)
    assert done.returncode == 1
    assert (
        "studies.mini.decide_by: cannot decide: neglabel with rest (NegLabel's score" in done.stdout
    )
    assert (project.folder / "results/tables/summary.md").exists()
