"""The scripts that compare clusterings and their second predictions with labels."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from workflow_scripts.coarsen_labels import coarsen_labels
from workflow_scripts.evaluate_benchmark import evaluate_benchmark
from workflow_scripts.evaluate_predictions import evaluate_predictions
from workflow_scripts.lib.artifacts import write_table
from workflow_scripts.lib.errors import InputError

CLUSTERS = [0, 0, 0, 1, 1, 1]
RANKED = [[0, 1], [0, 1], [0, 1], [1, 0], [1, 0], [1, 0]]
CFG = {"axis": "none", "levels": {"set": "one"}, "parts": {"e/set": 2}}
META = {"encoder": "e", "image_set": "set", "clustering": "c", "method": "kmeans", "k": 2}
META |= {"seed": 0, "objective": 0.5}


def write_labels(folder, labels):
    """Two shards of an index, of two and of four images."""
    for name, part in (("a", labels[:2]), ("b", labels[2:])):
        columns = {"image_id": list("xyzw")[: len(part)], "label": pa.array(part, pa.string())}
        write_table(folder / f"{name}.parquet", columns)
    return [folder / "a.parquet", folder / "b.parquet"]


def tables(folder, labels, rows=slice(None)):
    """The tables of both scripts, for images with these labels."""
    indexes = write_labels(folder, labels)
    write_table(folder / "c.parquet", {"cluster": np.array(CLUSTERS, np.int32)[rows]}, META)
    ranked = np.array(RANKED, np.int32)[rows]
    column = pa.FixedSizeListArray.from_arrays(ranked.ravel(), 2)
    write_table(folder / "r.parquet", {"clusters": column}, META)
    (folder / "cost.json").write_text(json.dumps({"seconds": 1.0, "peak_memory_mb": 2.0}))
    (folder / "tree.csv").write_text("child,parent\ncat,animal\ndog,animal\n")
    out = folder / "clustering.parquet", folder / "hits.parquet"
    clusters, costs = [folder / "c.parquet"], [folder / "cost.json"]
    evaluate_benchmark(clusters, costs, indexes, "b", CFG, out[0])
    ranks, tree = [folder / "r.parquet"], [folder / "tree.csv"]
    evaluate_predictions(ranks, indexes, tree, "b", CFG, out[1])
    return [pd.read_parquet(path) for path in out]


def test_tables_by_hand(tmp_path):
    clustering, hits = tables(tmp_path, ["Cat", "Cat", "Cat", "Dog", "Dog", "Cat"])
    row = clustering.iloc[0]
    assert row[["axis", "benchmark", "level", "encoder"]].tolist() == ["none", "b", "one", "e"]
    assert row[["n", "classes", "imbalance_ratio", "seconds"]].tolist() == [6, 2, 2, 1]
    assert row["acc"] == pytest.approx(5 / 6)
    rate = hits.set_index(["rank", "hit"])["rate"]
    assert (rate[1, "exact"], rate[2, "exact"]) == pytest.approx((5 / 6, 1 / 6))
    assert rate[2, "level 1"] == 1  # a cat and a dog are animals
    assert hits["n"].eq(6).all()
    assert hits[["axis", "benchmark", "level"]].drop_duplicates().to_numpy().tolist() == [
        ["none", "b", "one"]
    ]


@pytest.mark.parametrize("at", [0, 1, 4])
def test_unlabelled_images_are_left_out_and_counted(tmp_path, caplog, at):
    """The tables are those of the other images alone."""
    labels = ["Cat", "Cat", "Cat", "Dog", "Dog", "Cat"]
    others = np.arange(6) != at
    few = [label for label, kept in zip(labels, others, strict=True) if kept]
    expected = tables(tmp_path, few, others)
    caplog.set_level("INFO")
    found = tables(tmp_path, [*labels[:at], None, *labels[at + 1 :]])
    for one, two in zip(found, expected, strict=True):
        pd.testing.assert_frame_equal(one, two)
    assert found[0]["n"].tolist() == [5]
    assert "e/set: 1 of 6 images have no label" in caplog.text


def test_a_set_without_labels_is_named(tmp_path):
    with pytest.raises(InputError, match="no image of e/set has one"):
        tables(tmp_path, [None] * 6)


def test_one_labelled_image_and_one_class(tmp_path):
    clustering, hits = tables(tmp_path, ["Cat", *[None] * 5])
    assert clustering[["n", "classes", "acc", "nmi"]].iloc[0].tolist() == [1, 1, 1, 1]
    assert hits.query("rank == 1")["rate"].eq(1).all()
    clustering, hits = tables(tmp_path, ["Cat"] * 6)
    assert clustering[["acc", "nmi", "ari"]].iloc[0].tolist() == pytest.approx([0.5, 0, 0])
    assert hits.query("rank == 1")["rate"].eq(1).all()
    # Both clusters are cats, so no second prediction says anything new.
    assert hits.query("rank == 2")["n"].eq(0).all()


def test_coarse_labels_need_labels(tmp_path):
    indexes = write_labels(tmp_path, [None] * 6)
    (tmp_path / "tree.csv").write_text("child,parent\ncat,animal\n")
    with pytest.raises(InputError, match="no image of set has a label to coarsen"):
        coarsen_labels(
            indexes, indexes[0], [tmp_path / "tree.csv"], {"from": "set", "depth": 0},
            tmp_path / "out.parquet",
        )  # fmt: skip
