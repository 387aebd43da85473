"""Results in a storage of Snakemake's plugins: the user's own files stay where they are."""

import re

from projects import make_project

FILES = re.compile(r"^    (?:input|output|log): (.+)$", re.MULTILINE)


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
    storage = ["--default-storage-provider", "fs", "--default-storage-prefix", str(bucket)]
    shown = [
        file.partition(" (")[0]
        for line in FILES.findall(project.run("-n", *storage).stdout)
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
