"""The evaluation scripts: reference rows and labels are found by name, never by position."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from workflow_scripts.evaluate_clustering import evaluate_clustering
from workflow_scripts.evaluate_ood import evaluate_ood, p_values
from workflow_scripts.lib.artifacts import write_table
from workflow_scripts.lib.bootstrap import paired_p_value
from workflow_scripts.lib.errors import InputError


def ood_frame():
    rows = [(encoder, mining) for encoder in ("e", "f") for mining in ("a", "b", "c")]
    frame = pd.DataFrame(rows, columns=["encoder", "mining"])
    return frame.assign(id_set="test", ood_set="far", negatives="none", detector="mcm")


def test_p_values_compare_with_the_reference_of_the_same_encoder():
    """The reference is the last mining of each encoder, not the first rows of the table."""
    draws = np.random.default_rng(0).normal(
        [[0.5], [0.6], [0.7], [0.5], [0.6], [0.9]], 0.1, (6, 500)
    )
    values = p_values(ood_frame(), list(draws), "c")
    expected = [paired_p_value(draws[i], draws[2 if i < 3 else 5]) for i in range(6)]
    assert values.tolist() == expected
    assert values[2] == values[5] == 1


def test_p_values_without_bootstrap_or_reference_are_unknown():
    assert np.isnan(p_values(ood_frame(), [None] * 6, "c")).all()
    assert np.isnan(p_values(ood_frame(), list(np.zeros((6, 10))), None)).all()


def scores(path, image_sets):
    meta = {"encoder": "e", "clustering": "none", "mining": "m", "seed": 0, "study": "s"}
    meta |= {"method": "ground_truth", "n_positives": 3}
    meta |= {"columns": {"mcm": {"detector": "mcm", "negatives": "none"}}}
    values = np.arange(len(image_sets), dtype=np.float32)
    write_table(path, {"image_set": pa.array(image_sets), "mcm": values}, meta)
    return path


def test_image_set_without_images_is_an_input_error(tmp_path):
    path = scores(tmp_path / "scores.parquet", ["test", "test"])
    cfg = {"test": "test", "near": [], "far": ["gone"], "shift": [], "resamples": 10}
    with pytest.raises(InputError, match="no out-of-distribution scores"):
        evaluate_ood([path], cfg | {"reference": None}, tmp_path / "ood.parquet")


def test_labels_are_joined_by_image_id(tmp_path):
    """A clustering in another order than the index, as of a second encoder, is judged the same."""
    ids, labels = list("abcdef"), ["x", "x", "y", "y", None, "z"]
    write_table(tmp_path / "index.parquet", {"image_id": ids, "label": pa.array(labels)})
    clusters = dict(zip(ids, [0, 0, 1, 1, 1, 2], strict=True))
    for name, order in (("same", ids), ("other", list("fbdace"))):
        columns = {"image_id": order, "cluster": np.array([clusters[i] for i in order], np.int32)}
        write_table(tmp_path / f"{name}.parquet", columns, {"encoder": name, "method": "kmeans"})
    paths = [tmp_path / "same.parquet", tmp_path / "other.parquet"]
    evaluate_clustering(paths, [tmp_path / "index.parquet"], "s", "train", tmp_path / "out.parquet")
    table = pd.read_parquet(tmp_path / "out.parquet")
    assert table["acc"].tolist() == [1, 1]
    assert table["n"].tolist() == [5, 5]
    assert table["used_clusters"].tolist() == [3, 3]
