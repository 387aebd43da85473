"""Jobs of several processes, and one that begins at centroids of the user's."""

import numpy as np
import pytest
from changes import set_key

from workflow_scripts.lib.artifacts import read_meta, read_table

CLUSTERS = "results/clusters/tinyclip/photos/kmeans_3/seed0.parquet"


def clusters(project):
    return read_table(project.folder / CLUSTERS)["cluster"].to_pylist()


@pytest.fixture
def project(finished, tmp_path):
    return finished.copy(tmp_path / "copy")


@pytest.mark.slow
def test_processes_are_no_part_of_the_recipe_and_change_nothing(project):
    before = clusters(project)
    set_key("clusterings.kmeans_3.processes", 2)(project)
    assert project.rules_run("-n") == {}
    project.run(CLUSTERS, "--cores", "2", "--forcerun", "cluster")
    assert clusters(project) == before
    log = project.folder / "results/logs/cluster/tinyclip/photos/kmeans_3/seed0.log"
    assert "process 0: k-means of 24 rows in float32" in log.read_text()
    assert not list((project.folder / CLUSTERS).parent.glob("*.job"))


@pytest.mark.slow
def test_heads_are_trained_by_several_processes(project):
    file = project.folder / CLUSTERS.replace("kmeans_3", "temi_3")
    set_key("clusterings.temi_3.precision", "float32")(project)
    project.run(str(file.relative_to(project.folder)), "--cores", "2")
    before = read_meta(file)["objective"]
    set_key("clusterings.temi_3.processes", 2)(project)
    project.run(str(file.relative_to(project.folder)), "--cores", "2", "--forcerun", "cluster")
    assert read_meta(file)["objective"] == pytest.approx(before, rel=1e-3)
    log = project.folder / "results/logs/cluster/tinyclip/photos/temi_3/seed0.log"
    assert "process 0: step 40" in log.read_text()


def test_own_centroids_are_a_file_of_the_user(project):
    d = np.load(next(project.folder.glob("results/embeddings/tinyclip/images/photos/*.npy"))).shape
    set_key("clusterings.kmeans_3.init", "start.npy")(project)
    missing = project.run("-n", CLUSTERS, check=False)
    assert "clusterings.kmeans_3.init: start.npy does not exist" in missing.stdout
    rng = np.random.default_rng(0)
    np.save(project.folder / "start.npy", rng.normal(size=(3, d[1])))
    assert project.rules_run("--cores", "1", CLUSTERS) == {"cluster": 1}
    assert project.rules_run("-n", CLUSTERS) == {}
    np.save(project.folder / "start.npy", rng.normal(size=(3, d[1])))
    assert project.rules_run("-n", CLUSTERS) == {"cluster": 1}


def test_shards_are_dealt_to_jobs_that_embed_what_changed(project):
    """The result is that of a job per shard, and an edited image embeds its shard alone."""
    index = "results/embeddings/tinyclip/images/photos/00000.parquet"
    two = [project.folder / index.replace("00000", name) for name in ("00000", "00001")]
    ids = [name for file in two for name in read_table(file)["image_id"].to_pylist()]
    set_key("image_sets.photos.jobs", 1)(project)
    assert project.rules_run("--cores", "1", index) == {"embed_images": 1}
    assert read_table(two[0])["image_id"].to_pylist() == ids

    image = next((project.folder / "photos/train").rglob("001.png"))
    image.write_bytes(next((project.folder / "photos/strange").rglob("*.png")).read_bytes())
    assert project.rules_run("--cores", "1", index) == {"list_images": 1, "embed_images": 1}
    log = project.folder / "results/logs/embed_images/tinyclip/photos/00000.log"
    assert "1 of 2 shards are finished" in log.read_text()
    assert project.rules_run("-n", index) == {}

    project.run("--cores", "1", index, "--forcerun", "embed_images")
    assert "shard 0: " in log.read_text()
    assert "shards are finished" not in log.read_text()

    set_key("image_sets.photos.shards", 1000)(project)
    set_key("image_sets.photos.jobs", 64)(project)
    assert project.rules_run("-n", CLUSTERS)["embed_images"] == 64
