"""What the points of a map say, against the files that they are made of."""

import base64
import gzip
import json
import re
import shutil
from collections import Counter
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest
from projects import MINI

from workflow_scripts.lib.explore.map import COLOURS, GREY

MAP = "results/explore/mini/map.html"


def columns_of(project):
    """The columns of the points of a project's map, a dict of lists and arrays."""
    text = (project.folder / MAP).read_text("utf-8")
    item = json.loads(re.search(r'id="item">(.*?)</script>', text, re.DOTALL).group(1))
    return next(columns for columns in sources_in(item) if "thumbnail" in columns)


def sources_in(value):
    """The columns of every data source in a Bokeh document."""
    if isinstance(value, dict):
        if value.get("name") == "ColumnDataSource":
            entries = value["attributes"]["data"]["entries"]
            yield {name: decoded(column) for name, column in entries}
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from sources_in(part)


def decoded(column):
    if isinstance(column, dict):
        content = gzip.decompress(base64.b64decode(column["array"]["data"]))
        return np.frombuffer(content, column["dtype"]).reshape(column["shape"])
    return column


def frame(project, name):
    return pd.read_parquet(project.folder / f"results/{name}.parquet")


def study(project, **keys):
    """Give the study of a project other keys, and no other key."""
    config = dict(MINI)
    config["studies"] = {"mini": MINI["studies"]["mini"] | keys}
    project.write_config(config)


def test_training_images_have_their_clusters(finished):
    points = columns_of(finished)
    clusters = frame(finished, "clusters/tinyclip/photos/kmeans_3/seed0")
    names = frame(finished, "names/tinyclip/photos/words/kmeans_3/seed0")["name"]
    own = [i for i, name in enumerate(points["image_set"]) if name == "photos"]
    assert [points["image_id"][i] for i in own] == clusters["image_id"].tolist()
    expected = [f"{c}: {names[c]}" for c in clusters["cluster"]]
    assert [points["cluster"][i] for i in own] == expected
    assert [points["name"][i] for i in own] == names[clusters["cluster"]].tolist()
    assert np.isnan(points["score"][own]).all()
    kinds = {(points["by cluster colour"][i], points["cluster"][i]) for i in own}
    assert len(kinds) == 3, "one colour each"


def test_scored_images_have_their_scores_and_nearest_positives(finished):
    points = columns_of(finished)
    scores = frame(finished, "scores/mini/tinyclip/kmeans_3/clustermine/seed0")
    own = [i for i, name in enumerate(points["image_set"]) if name != "photos"]
    shown = {"image_set": "image_set", "image_id": "image_id", "name": "concept"}
    for column, expected in shown.items():
        assert [points[column][i] for i in own] == scores[expected].astype(str).tolist()
    np.testing.assert_array_equal(points["score"][own], scores["neglabel:rest"].astype(np.float32))
    assert np.isnan(points["p_value"]).all()
    assert {points["cluster"][i] for i in own} == {""}
    lowest = own[int(scores["neglabel:rest"].argmin())]
    assert points["by score colour"][lowest] == 0xD55E00FF
    assert {points["by cluster colour"][i] for i in own} == {int(GREY[1:] + "FF", 16)}
    assert {points["by set colour"][i] for i in own} == {
        int(colour[1:] + "FF", 16) for colour in COLOURS[:2]
    }


def test_images_have_names_where_a_detector_without_names_decides(finished, tmp_path):
    project = finished.copy(tmp_path / "project")
    study(project, detectors=["mcm", "neglabel", "knn"], decide_by="knn")
    project.run(MAP)
    points = columns_of(project)
    scores = frame(project, "scores/mini/tinyclip/kmeans_3/clustermine/seed0")
    knn = frame(project, "scores/mini/tinyclip/none/none/seed0")["knn"]
    own = [i for i, name in enumerate(points["image_set"]) if name != "photos"]
    assert [points["name"][i] for i in own] == scores["concept"].astype(str).tolist()
    np.testing.assert_array_equal(points["score"][own], knn.astype(np.float32))


def test_equal_inputs_give_equal_bytes(finished, tmp_path):
    project = finished.copy(tmp_path / "project")
    first = (project.folder / MAP).read_bytes()
    (project.folder / MAP).unlink()
    project.environment |= {"PYTHONHASHSEED": "7"}
    assert project.rules_run(MAP) == {"draw_map": 1}
    assert (project.folder / MAP).read_bytes() == first


def test_without_names_and_clusters_points_are_shown_by_set_and_score(finished, tmp_path):
    project = finished.copy(tmp_path / "project")
    keys = {"corpus": None, "minings": [], "negatives": [], "detectors": ["knn"]}
    study(project, **keys, map={"rows": 20})
    assert "name_clusters" not in project.rules_run("-n"), "there are no names"
    study(project, **keys, clusterings=[], map={"rows": 20})
    project.run(MAP)
    points = columns_of(project)
    assert len(points["image_id"]) == 20
    assert {*points["name"], *points["cluster"]} == {""}
    assert "by cluster colour" not in points
    assert np.isfinite(points["score"]).sum() == sum(n != "photos" for n in points["image_set"])
    assert "A random 20 of 46 images" in (project.folder / MAP).read_text("utf-8")


def test_training_images_that_are_scored_are_shown_once(finished, tmp_path):
    project = finished.copy(tmp_path / "project")
    study(project, test=None, far=[], calibrate={"share": 0.25})
    project.run(MAP)
    points = columns_of(project)
    trained = frame(project, "clusters/tinyclip/photos.fit/kmeans_3/seed0")["image_id"]
    every = frame(project, "images/photos/manifest")["image_id"]
    assert Counter(points["image_id"]) == Counter(every)
    clustered = {i for i, c in zip(points["image_id"], points["cluster"], strict=True) if c}
    assert clustered == set(trained)
    assert np.isfinite(points["p_value"]).all()


def test_own_embeddings_have_no_pictures(finished, tmp_path):
    project = finished.copy(tmp_path / "project")
    source = project.folder / "results/embeddings/tinyclip"
    images = {}
    for name in ("photos_test", "strange"):
        shutil.copy(source / f"images/{name}/00000.npy", project.folder / f"{name}.npy")
        shutil.copy(source / f"images/{name}/00000.parquet", project.folder / f"{name}.parquet")
        images[name] = {"embeddings": f"{name}.npy", "index": f"{name}.parquet"}
    keys = {"train": "photos_test", "test": "strange", "far": [], "encoders": ["mine"]}
    keys |= {"minings": [], "negatives": [], "corpus": None, "detectors": ["mahalanobis"]}
    study(project, **keys)
    config = project.read_config()
    config["encoders"] = {"mine": {"method": "precomputed", "images": images}}
    project.write_config(config)
    project.run(MAP)
    points = columns_of(project)
    assert set(points["thumbnail"]) == {""}
    assert {*points["cluster"]} == {"", "0", "1", "2"}
    assert "No pictures are known." in (project.folder / MAP).read_text("utf-8")


def test_a_projection_that_is_not_installed_is_named(finished, tmp_path):
    if find_spec("umap"):
        pytest.skip("umap-learn is installed")
    project = finished.copy(tmp_path / "project")
    study(project, map="umap")
    done = project.run(MAP, check=False)
    assert done.returncode != 0
    assert "map.projection: umap needs umap-learn" in (
        project.folder / "results/logs/draw_map/mini.log"
    ).read_text("utf-8")
