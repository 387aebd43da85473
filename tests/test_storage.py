"""Results in a storage of Snakemake's plugins: the user's own files stay where they are."""

import json
import re
import shutil

import pytest
from empty_folders import send_jobs
from projects import make_project

FILES = re.compile(r"^    (?:input|output|log): (.+)$", re.MULTILINE)


def storage(folder):
    """Options that keep the results in a folder, which is to be there."""
    return ["--default-storage-provider", "fs", "--default-storage-prefix", str(folder)]


def recipes_above(project, rule):
    """The params with which a rule's files were made, as Snakemake remembers them."""
    files = (project.folder / ".snakemake/metadata").rglob("*")
    noted = [json.loads(file.read_text()) for file in files if file.is_file()]
    return {tuple(made["params"]) for made in noted if made["rule"] == rule}


@pytest.mark.skipif(not shutil.which("rsync"), reason="the plugin copies files by rsync")
def test_recipes_reach_through_the_storage(finished, tmp_path):
    project, bucket = finished.copy(tmp_path / "project"), tmp_path / "bucket"
    bucket.mkdir()
    shutil.rmtree(project.folder / ".snakemake")
    for file in (project.folder / "results").rglob("*"):
        if file.is_file() and file.name != "hashes.parquet":  # the record has the sets' names
            file.unlink()
    graph = "results/neighbours/tinyclip/photos/k3.npy"
    project.run(graph, *storage(bucket))
    assert (bucket / graph).read_bytes() == (finished.folder / graph).read_bytes()
    assert recipes_above(project, "find_neighbours") == recipes_above(finished, "find_neighbours")


@pytest.mark.skipif(not shutil.which("rsync"), reason="the plugin copies files by rsync")
def test_a_job_may_start_in_an_empty_folder(finished, tmp_path):
    """It sees neither images nor words, nor what is noted of them. Whole runs: tests/storage/."""
    project, bucket = finished.copy(tmp_path / "project"), tmp_path / "bucket"
    bucket.mkdir()
    (project.folder / "results").rename(bucket / "results")
    shutil.rmtree(project.folder / ".snakemake")
    made = "results/similarity/tinyclip/photos/words.parquet"
    (bucket / made).unlink()
    jobs = send_jobs(project, tmp_path / "queue")
    assert project.rules_run(made, *storage(bucket), *jobs) == {"match_concepts": 1}
    assert [file.name for file in (tmp_path / "queue").glob("*.rc")] == ["000.rc"]
    assert (bucket / made).read_bytes() == (finished.folder / made).read_bytes()


def test_results_go_to_the_storage_and_the_users_files_do_not(tmp_path):
    project = make_project(tmp_path / "project")
    config = project.read_config()
    config["corpora"]["words"]["exclude"] = [{"path": "names.csv", "column": "name"}]
    names = {"path": "names.csv", "label": "label", "name": "name"}
    config["image_sets"]["photos"]["label_names"] = names
    (project.folder / "names.csv").write_text("label,name\nsolid_red_circle,solid red circle\n")
    project.write_config(config)
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    shown = [
        file.partition(" (")[0]
        for line in FILES.findall(project.run("-n", *storage(bucket)).stdout)
        for file in line.split(", ")
    ]
    stored = {file for file in shown if file.startswith(f"{bucket}/")}
    assert all(file.startswith(f"{bucket}/results/") for file in stored)
    assert f"{bucket}/results/tables/ood.md" in stored
    model = "config/demo/tinyclip/open_clip"
    assert set(shown) - stored == {
        "photos/train", "photos/test", "photos/strange", "words.txt", "names.csv",
        f"{model}_model.safetensors", f"{model}_config.json",
    }  # fmt: skip
