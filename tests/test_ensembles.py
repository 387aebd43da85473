"""An ensemble in the workflow: its members are made, and a stored detector takes it along."""

import numpy as np
import pandas as pd
import pytest
from detectors import embeddings_of

from workflow_scripts.lib.detection import load_detector

PLACE = "results/clusters/tinyclip/photos"
DETECTOR = "results/detectors/mini/tinyclip/both/clustermine/seed1"


@pytest.fixture(scope="module")
def project(finished, tmp_path_factory):
    """The miniature with an ensemble of its two clusterings, of its second seed."""
    project = finished.copy(tmp_path_factory.mktemp("ensemble") / "project")
    config = project.read_config()
    config["clusterings"]["both"] = {"method": "ensemble", "of": ["kmeans_3", "temi_3"], "k": 3}
    config["clusterings"]["both"] |= {"runs": 2, "threads": 1}
    config["studies"]["mini"] |= {"clusterings": ["both"], "seeds": [1]}
    project.write_config(config)
    ran = project.rules_run("--cores", "1", f"{DETECTOR}/detector.json")
    assert ran["cluster"] == 5, "two seeds of two members, and the ensemble"
    return project


def clusters(project, name, seed):
    return pd.read_parquet(project.folder / PLACE / name / f"seed{seed}.parquet")


def test_images_are_with_those_that_its_members_put_them_with(project):
    own = clusters(project, "both", 1)
    members = [clusters(project, name, seed) for name in ("kmeans_3", "temi_3") for seed in (2, 3)]
    votes = np.stack([member["cluster"] for member in members], axis=1)
    pairs = (votes[:, None] == votes[None]).mean(axis=2)
    inside = {one: (own["cluster"] == one).to_numpy() for one in set(own["cluster"])}
    for row, cluster, value in zip(pairs, own["cluster"], own["value"], strict=True):
        assert value == pytest.approx(row[inside[cluster]].mean(), abs=1e-6)
        fit = {c: 2 * row[rows].mean() - pairs[rows][:, rows].mean() for c, rows in inside.items()}
        assert fit[cluster] == pytest.approx(max(fit.values()), abs=1e-6)


def test_a_detector_takes_the_ensemble_along(project):
    images = embeddings_of(project, "photos", 2)
    found, names = load_detector(project.folder / DETECTOR).cluster(images.array())
    np.testing.assert_array_equal(found, clusters(project, "both", 1)["cluster"])
    assert len(set(names)) > 1


def test_the_table_of_images_takes_the_clusters_of_the_ensemble(project, tmp_path):
    project = project.copy(tmp_path / "project")
    project.run("--cores", "1", "results/studies/mini/images.parquet")
    images = pd.read_parquet(project.folder / "results/studies/mini/images.parquet")
    train = images[images["image_set"] == "photos"]
    assert train["cluster"].tolist() == clusters(project, "both", 1)["cluster"].tolist()
    assert images["cluster"].notna().all()


def test_another_setting_of_a_member_makes_the_ensemble_again(project, tmp_path):
    project = project.copy(tmp_path / "project")
    config = project.read_config()
    config["clusterings"]["kmeans_3"]["iterations"] = 7
    project.write_config(config)
    ran = project.rules_run("-n", f"{PLACE}/both/seed1.parquet")
    assert ran == {"cluster": 3}
