"""Lists of outliers: their order, their paths, and the nearest training image."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from workflow_scripts import list_outliers as script
from workflow_scripts.lib.artifacts import read_meta, write_table
from workflow_scripts.lib.detection.outliers import nearest_training
from workflow_scripts.lib.embeddings import open_embeddings
from workflow_scripts.lib.errors import InputError

IDS = ["a.jpg", "sub/b.jpg", "c.jpg", "d.jpg"]
SCORES = [0.5, 0.1, 0.5, 0.2]
CFG = {"deciders": [{"detector": "mcm", "negatives": "none"}], "trained_on": False}
CFG |= {"root": "photos", "train_root": "normal"}
FEW = {"detector": "neglabel", "negatives": "rest", "reason": "8 negatives"}


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def store(folder, name, rows, ids):
    """Write embeddings; returns the paths of array and index."""
    np.save(folder / f"{name}.npy", unit(rows).astype(np.float16))
    labels = pa.nulls(len(ids), pa.string())
    write_table(folder / f"{name}.parquet", {"image_id": ids, "label": labels, "sha256": labels})
    return [folder / f"{name}.npy"], [folder / f"{name}.parquet"]


def decisions(path, columns, p=None, missing=None):
    """A file of decisions on the set `new` and one image of another set."""
    n = len(IDS) + 1
    table = {"image_set": ["other", *["new"] * len(IDS)], "image_id": ["x", *IDS]}
    table |= {"concept": [f"name {i}" for i in range(n)], "cosine": np.zeros(n, np.float32)}
    for name in columns:
        table[name] = np.array([0, *columns[name]], np.float32)
        table[f"{name} p"] = pa.nulls(n, pa.float64()) if p is None else [0, *p]
        flags = None if p is None else [True, *(np.array(p) <= 0.3)]
        table[f"{name} flagged"] = pa.nulls(n, pa.bool_()) if p is None else flags
    made = {"study": "s", "encoder": "e", "clustering": "k", "mining": "m", "seed": 0}
    made |= {"calibration": p and "held", "n_calibration": 9, "false_alarm_rate": 0.3}
    detector_of = {name: {"detector": name, "negatives": "none"} for name in columns}
    write_table(path, table, made | {"columns": detector_of, "missing": missing or []})
    return path


@pytest.fixture
def outliers(tmp_path):
    """A function that lists the outliers of four images; keywords change the inputs or the cfg."""
    rng = np.random.default_rng(0)
    images, train = rng.normal(size=(4, 6)), rng.normal(size=(30, 6))
    found = store(tmp_path, "new", images, IDS)
    known = store(tmp_path, "train", train, [f"{i}.jpg" for i in range(30)])

    def listed(p=None, image_set="new", locators=(), **cfg):
        files = [
            decisions(
                tmp_path / "named.parquet", {"mcm": SCORES, "energy": [4, 3, 2, 1]}, p, [FEW]
            ),
            decisions(tmp_path / "images.parquet", {"knn": [1, 2, 3, 4]}, p),
        ]
        inputs = SimpleNamespace(
            decisions=files, embeddings=found[0], index=found[1],
            train=known[0], train_index=known[1], locators=locators,
        )  # fmt: skip
        outputs = tmp_path / "out.parquet", tmp_path / "out.csv"
        script.list_outliers(inputs, CFG | cfg, image_set, *outputs)
        return pd.read_parquet(outputs[0])

    listed.folder = tmp_path
    listed.sims = unit(images) @ unit(train).T
    return listed


def test_lowest_scores_come_first_and_ties_stay_in_order(outliers):
    table = outliers(p=[0.9, 0.1, 0.9, 0.2])
    assert table["rank"].tolist() == [1, 2, 3, 4]
    assert table["image_id"].tolist() == ["sub/b.jpg", "d.jpg", "a.jpg", "c.jpg"]
    assert table["path"].tolist()[0] == "photos/sub/b.jpg"
    np.testing.assert_allclose(table["score"], [0.1, 0.2, 0.5, 0.5])
    assert table["p_value"].tolist() == [0.1, 0.2, 0.9, 0.9]
    assert table["flagged"].tolist() == [True, True, False, False]
    # 2nd of 4 p-values: .2 > .3 * 2 / 4; 1st: .1 > .3 / 4
    assert table["discovery"].tolist() == [False] * 4
    assert outliers(p=[0.9, 0.07, 0.9, 0.15])["discovery"].tolist() == [True, True, False, False]
    assert table["concept"].tolist() == ["name 2", "name 4", "name 1", "name 3"]
    assert table["energy"].tolist() == [3, 1, 4, 2] and table["knn"].tolist() == [2, 4, 1, 3]
    assert "mcm" not in table, "it is the score"
    assert table["member"].isna().all()


def test_another_detector_can_decide(outliers):
    table = outliers(deciders=[{"detector": "knn", "negatives": "none"}])
    assert table["image_id"].tolist() == IDS
    assert table["concept"].tolist() == ["name 1", "name 2", "name 3", "name 4"]
    assert read_meta(outliers.folder / "out.parquet")["detector"] == "knn"


def test_one_that_cannot_score_is_passed_over(outliers):
    few = {key: FEW[key] for key in ("detector", "negatives")}
    deciders = [few, {"detector": "knn", "negatives": "none"}, *CFG["deciders"]]
    assert outliers(deciders=deciders)["image_id"].tolist() == IDS
    made = read_meta(outliers.folder / "out.parquet")
    assert (made["detector"], made["passed_over"]) == ("knn", [FEW])
    with pytest.raises(InputError, match=r"studies\.s\.decide_by: .*neglabel with rest \(8 neg"):
        outliers(deciders=[few])


def test_without_calibration_the_ranks_remain(outliers):
    table = outliers()
    assert table["image_id"].tolist() == ["sub/b.jpg", "d.jpg", "a.jpg", "c.jpg"]
    assert table[["p_value", "flagged", "discovery"]].isna().all(axis=None)


def test_the_csv_is_cut_and_has_the_same_rows(outliers, monkeypatch):
    monkeypatch.setattr(script, "CSV_ROWS", 3)
    table = outliers(p=[0.9, 0.1, 0.9, 0.2])
    csv = pd.read_csv(outliers.folder / "out.csv")
    assert csv["path"].tolist() == table["path"].tolist()[:3]
    assert csv["flagged"].tolist() == [True, True, False]


def test_the_nearest_training_image_of_the_first_rows(outliers, monkeypatch):
    monkeypatch.setattr(script, "SHOWN", 2)
    table = outliers()
    nearest = outliers.sims[[1, 3]].argmax(axis=1)
    assert table["training_image"].tolist()[:2] == [f"normal/{i}.jpg" for i in nearest]
    expected = outliers.sims[[1, 3]].max(axis=1)
    np.testing.assert_allclose(table["training_cosine"][:2], expected, atol=2e-3)
    assert table[["training_image", "training_cosine"]][2:].isna().all(axis=None)


def test_images_of_archives_and_of_embeddings_alone(outliers, tmp_path):
    (tmp_path / "tars").mkdir()
    files = {"image_id": IDS, "file": ["one.tar", "two.tar", "one.tar", "one.tar"]}
    files["member"] = pa.array([None, "./sub/b.jpg", None, None])
    write_table(tmp_path / "locators.parquet", files)
    places = {"locators": tmp_path / "locators.parquet", "train_root": None}
    table = outliers(root=str(tmp_path / "tars"), **places)
    assert table["path"].tolist()[:2] == [f"{tmp_path}/tars/two.tar", f"{tmp_path}/tars/one.tar"]
    assert table["member"].tolist()[:2] == ["./sub/b.jpg", "d.jpg"]
    assert not table["training_image"].str.contains("/").any(), "an id"
    (tmp_path / "one.tar").touch()
    files["file"] = ["one.tar"] * 4
    write_table(tmp_path / "locators.parquet", files)
    table = outliers(root=str(tmp_path / "one.tar"), **places)
    assert set(table["path"]) == {f"{tmp_path}/one.tar"}
    assert outliers(root=None, train_root=None)["path"].isna().all()


def test_a_set_of_another_study_is_refused(outliers):
    with pytest.raises(InputError, match="the study s does not score images of 'strange'"):
        outliers(image_set="strange")


@pytest.mark.parametrize("shards", [1, 5])
def test_an_image_is_not_its_own_neighbour_but_a_copy_is(tmp_path, shards):
    rng = np.random.default_rng(1)
    rows = unit(rng.normal(size=(20, 8))).astype(np.float16)
    rows[7] = rows[3]
    ids = [f"{i}.jpg" for i in range(20)]
    parts = np.array_split(np.arange(20), shards)
    stored = [store(tmp_path, f"{i}", rows[p], [ids[j] for j in p]) for i, p in enumerate(parts)]
    train = open_embeddings([a for (a,), _ in stored], [i for _, (i,) in stored])
    images = train.array()
    nearest, cosines = nearest_training(images, train, ids)
    sims = images @ images.T
    np.fill_diagonal(sims, -2)
    np.testing.assert_array_equal(nearest, sims.argmax(axis=1))
    np.testing.assert_allclose(cosines, sims.max(axis=1), atol=1e-6)
    assert nearest[3] == 7 and nearest[7] == 3
    with_itself, _ = nearest_training(images, train)
    assert with_itself[3] == with_itself[7] == 3
    alone = open_embeddings(*store(tmp_path, "alone", rows[:1], ids[:1]))
    nearest, cosines = nearest_training(images[:1], alone, ids[:1])
    assert nearest[0] == -1 and np.isnan(cosines[0])
