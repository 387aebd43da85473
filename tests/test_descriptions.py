"""What a user has: the table of a study's clusters, and the table of its images."""

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from workflow_scripts.lib.detection.models import IMAGE_COLUMNS

TRAINED = "tinyclip/photos"


def frame(project, name):
    return pd.read_parquet(project.folder / f"results/{name}.parquet")


def test_the_table_of_clusters_agrees_with_clusters_and_positives(finished):
    table = frame(finished, "tables/cluster_names")
    assert len(table) == 6, "two clusterings of three clusters"
    for clustering in ("kmeans_3", "temi_3"):
        rows = table[table["clustering"] == clustering].set_index("cluster")
        clusters = frame(finished, f"clusters/{TRAINED}/{clustering}/seed0")["cluster"]
        assert rows["size"].to_dict() == {c: (clusters == c).sum() for c in range(3)}
        mined = frame(finished, f"concepts/{TRAINED}/words/{clustering}/clustermine/seed0")
        expected = {c: row.concept for row in mined.itertuples() for c in row.cluster_ids}
        assert rows["concept"].dropna().to_dict() == expected
        assert (rows["concept"] == rows["name"])[rows["size"] > 0].all()


def test_the_markdown_shows_the_worst_clusters_first(finished):
    text = (finished.folder / "results/tables/cluster_names.md").read_text()
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| mini")]
    shares = [float(row[10]) for row in rows if row[10].strip()]
    assert shares == sorted(shares)
    assert f"the {len(rows)} clusters" in text
    csv = pd.read_csv(finished.folder / "results/tables/cluster_names.csv", dtype=str)
    table = frame(finished, "tables/cluster_names")
    assert csv["nearest"].fillna("").tolist() == ["; ".join(ids) for ids in table["nearest"]]
    concepts = pd.read_csv(finished.folder / "results/tables/concepts.csv", dtype=str)
    ids = [map(str, ids) for ids in frame(finished, "tables/concepts")["cluster_ids"]]
    assert concepts["cluster_ids"].fillna("").tolist() == ["; ".join(texts) for texts in ids]


@pytest.fixture(scope="module")
def described(finished, tmp_path_factory):
    project = finished.copy(tmp_path_factory.mktemp("described") / "project")
    assert project.rules_run("results/studies/mini/images.csv") == {"describe_images": 1}
    return project


def test_a_study_has_a_row_per_image(described):
    images = frame(described, "studies/mini/images")
    sets = {"photos": "train", "photos_test": "test", "strange": "strange"}
    for name, folder in sets.items():
        rows = images[images["image_set"] == name]
        assert {described.folder / path for path in rows["path"]} == {
            *(described.folder / "photos" / folder).rglob("*.png")
        }
    assert images["image_set"].drop_duplicates().tolist() == list(sets)
    assert not {"p_value", "flagged"} & set(images), "the study has no calibration images"

    train = images[images["image_set"] == "photos"].reset_index()
    clusters = frame(described, f"clusters/{TRAINED}/kmeans_3/seed0")
    assert train["image_id"].tolist() == clusters["image_id"].tolist()
    assert train["cluster"].tolist() == clusters["cluster"].tolist()
    best = frame(described, f"similarity/{TRAINED}/words")["concept_ids"]
    words = frame(described, "corpora/words")["concept"].to_numpy()
    assert [c.tolist() for c in train["concepts"]] == [words[ids[:3]].tolist() for ids in best]
    names = frame(described, f"names/{TRAINED}/words/kmeans_3/seed0")["name"]
    assert images["cluster_name"].tolist() == names[images["cluster"]].tolist()


def test_scored_images_have_their_scores_and_the_nearest_cluster(described):
    images = frame(described, "studies/mini/images")
    scored = images[images["image_set"] != "photos"].reset_index(drop=True)
    scores = frame(described, "scores/mini/tinyclip/kmeans_3/clustermine/seed0")
    assert scored["image_id"].tolist() == scores["image_id"].tolist()
    assert [c.tolist() for c in scored["concepts"]] == [[name] for name in scores["concept"]]
    columns = ["cosine", "mcm", "neglabel:rest"]
    pd.testing.assert_frame_equal(scored[columns], scores[columns])
    folder = described.folder / "results/embeddings/tinyclip/images"
    arrays = [np.load(folder / f"{name}/00000.npy") for name in ("photos_test", "strange")]
    model = described.folder / f"results/clusters/{TRAINED}/kmeans_3/seed0.safetensors"
    cosines = np.concatenate(arrays).astype(np.float32) @ load_file(model)["centroids"].T
    assert scored["cluster"].tolist() == cosines.argmax(axis=1).tolist()


def test_the_csv_has_the_rows_of_the_parquet(described):
    csv = pd.read_csv(described.folder / "results/studies/mini/images.csv")
    images = frame(described, "studies/mini/images")
    assert csv.columns.tolist() == images.columns.tolist()
    assert {*images.columns} - {"mcm", "neglabel:rest"} <= IMAGE_COLUMNS
    assert csv["concepts"].tolist() == ["; ".join(names) for names in images["concepts"]]
    same = ["image_set", "image_id", "path", "cluster", "cluster_name"]
    pd.testing.assert_frame_equal(csv[same], images[same], check_dtype=False)
    np.testing.assert_allclose(csv["mcm"], images["mcm"], rtol=1e-6)
