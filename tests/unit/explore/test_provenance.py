"""Provenance: what logs and the record of the user's files say."""

import json

from workflow_scripts.lib.explore.provenance import sources, stages, versions


def test_stages_sum_their_jobs(tmp_path):
    logs = {
        "cluster/a.log": "2026-01-01 00:00:00,000 cluster done in 1.5 s, 1,200 MB\n",
        "cluster/b/c.log": "progress\n2026-01-01 00:00:00,000 cluster done in 2.0 s, 900 MB\n",
        "embed.log": "2026-01-01 00:00:00,000 embed_images done in 10.0 s\n",
        "failed.log": "Error in list_images: no such folder\n",
        "empty.log": "",
    }
    for name, text in logs.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    table = stages(tmp_path).set_index("stage")
    assert list(table.index) == ["embed_images", "cluster"]
    assert table.loc["cluster"].to_dict() == {"jobs": 2, "seconds": 3.5, "memory": 1200}


def test_the_users_files_with_their_digests(tmp_path):
    path = tmp_path / "sources.json"
    path.write_text(json.dumps({"words.txt": [12, 1, 5, "abc"], "a.csv": [3, 2, "def"]}))
    assert sources(path).values.tolist() == [["a.csv", "def", 3], ["words.txt", "abc", 12]]
    assert sources(tmp_path / "none.json").empty


def test_versions_name_the_packages_that_decide_numbers():
    assert {"Python", "torch", "numpy", "snakemake"} <= versions().keys()
