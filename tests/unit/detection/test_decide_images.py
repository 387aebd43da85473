"""Scores to decisions, and how many images are flagged."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from workflow_scripts.decide_images import decide_images
from workflow_scripts.evaluate_decisions import COLUMNS, evaluate_decisions
from workflow_scripts.lib.artifacts import read_meta, write_table
from workflow_scripts.lib.detection.shares import share_interval

SETS = ["test"] * 3 + ["ood"] * 2 + ["held"] * 9
MCM = [0.95, 0.2, 0.45, 0.05, 0.1, *np.arange(1, 10) / 10]
CALIBRATION = "held"
META = {"study": "s", "encoder": "e", "clustering": "k", "mining": "m", "seed": 0}
DETECTORS = {
    "mcm": {"detector": "mcm", "negatives": "none"},
    "neglabel:rest": {"detector": "neglabel", "negatives": "rest"},
}


def decide(tmp_path, calibration=CALIBRATION, rate=0.2):
    """Decisions on 14 images; returns their path."""
    columns = {
        "image_set": pa.array(SETS).dictionary_encode(),
        "image_id": [f"{i}.jpg" for i in range(len(SETS))],
        "concept": ["ring"] * len(SETS),
        "cosine": np.zeros(len(SETS), np.float32),
        "mcm": np.array(MCM, np.float32),
        "neglabel:rest": -np.array(MCM, np.float32),
    }
    write_table(tmp_path / "scores.parquet", columns, META | {"columns": DETECTORS})
    cfg = {"calibration": calibration, "false_alarm_rate": rate}
    decide_images(tmp_path / "scores.parquet", cfg, tmp_path / "decisions.parquet")
    return tmp_path / "decisions.parquet"


def test_decisions_worked_by_hand(tmp_path):
    frame = pd.read_parquet(path := decide(tmp_path))
    assert frame["image_set"].tolist() == SETS[:5], "without the calibration images"
    assert frame["image_id"].tolist() == [f"{i}.jpg" for i in range(5)]
    # (1 + how many of .1, .2, ..., .9 are at most the score) / 10
    np.testing.assert_allclose(frame["mcm p"], [1, 0.3, 0.5, 0.1, 0.2])
    assert frame["mcm flagged"].tolist() == [False, False, False, True, True]
    np.testing.assert_allclose(frame["neglabel:rest p"], [0.1, 0.9, 0.6, 1, 1])
    assert frame["neglabel:rest flagged"].tolist() == [True, False, False, False, False]
    meta = read_meta(path)
    assert (meta["n_calibration"], meta["false_alarm_rate"]) == (9, 0.2)


def test_without_calibration_there_are_scores_alone(tmp_path):
    frame = pd.read_parquet(decide(tmp_path, calibration=None))
    assert len(frame) == len(SETS)
    assert frame["mcm"].tolist() == np.array(MCM, np.float32).tolist()
    assert frame[["mcm p", "mcm flagged", "neglabel:rest p"]].isna().all(axis=None)


@pytest.mark.parametrize("group", ["near", "far", "shift"])
def test_flagged_images_are_counted(tmp_path, group):
    cfg = {"test": "test", "near": [], "far": [], "shift": []} | {group: ["ood"]}
    cfg["groups"] = {"test": None, "ood": None}
    evaluate_decisions([decide(tmp_path)], [], cfg, tmp_path / "table.parquet")
    table = pd.read_parquet(tmp_path / "table.parquet")
    assert table.columns.tolist() == COLUMNS
    assert table["image_set"].tolist() == ["test", "test", "ood", "ood"]
    assert table["flagged"].tolist() == [0, 1, 2, 0]
    assert table["images"].tolist() == [3, 3, 2, 2]
    assert table["share"].tolist() == [0, 1 / 3, 1, 0]
    measure = "false_alarm_rate" if group == "shift" else "detection_rate"
    assert table["measure"].tolist() == ["false_alarm_rate"] * 2 + [measure] * 2
    assert (table["asked_rate"] == 0.2).all() and (table["n_calibration"] == 9).all()
    assert ((table["share_low"] <= table["share"]) & (table["share"] <= table["share_high"])).all()


def test_images_of_a_group_do_not_count_as_independent(tmp_path):
    folders = pd.DataFrame({"image_id": [f"{i}.jpg" for i in range(3)], "group": ["v", "v", "w"]})
    folders.to_csv(tmp_path / "groups.csv", index=False)
    block = {"folder": False, "image_id": "image_id", "group": "group"}
    cfg = {"test": "test", "near": [], "far": ["ood"], "shift": []}
    cfg["groups"] = {"test": block, "ood": None}
    path = tmp_path / "table.parquet"
    evaluate_decisions([decide(tmp_path)], [tmp_path / "groups.csv"], cfg, path)
    for row in pd.read_parquet(path).itertuples():
        flags = np.arange(row.images) < row.flagged
        groups = ["v", "v", "w"] if row.image_set == "test" else None
        assert (row.share_low, row.share_high) == share_interval(flags, groups)
