"""Derived image sets: rows by method, their embeddings and index copied in step."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from workflow_scripts.derive_images import derive_images
from workflow_scripts.lib.artifacts import read_meta, write_table
from workflow_scripts.lib.errors import InputError

COUNTS = {"a": 4, "b": 12, "c": 20, "d": 30}
CLOUDS = {"share": 0.25, "minimum_count": 5, "per_class": None, "seed": 0}


@pytest.fixture
def source(tmp_path):
    """66 images of four classes and two without a label, in two shards; a and d are far apart."""
    rng = np.random.default_rng(0)
    labels = rng.permutation([*np.repeat(list(COUNTS), list(COUNTS.values())), *[""] * 2])
    axes = dict(zip("abcd", np.eye(4), strict=True)) | {"c": np.eye(4)[1], "": np.ones(4)}
    rows = np.array([axes[label] for label in labels]) + 0.1 * rng.normal(size=(68, 4))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)
    for name, part in (("x", slice(0, 25)), ("y", slice(25, 68))):
        np.save(tmp_path / f"{name}.npy", rows[part])
        ids = [str(i) for i in range(68)[part]]
        column = pa.array([label or None for label in labels[part]], pa.string())
        columns = {"image_id": ids, "label": column}
        write_table(tmp_path / f"{name}.parquet", columns, {"encoder": {"model": "m"}})
    return tmp_path, rows, np.array([label or None for label in labels], object)


def derive(source, **cfg):
    """The labels of the derived set; its rows are checked against the source's."""
    folder, rows, labels = source
    outputs = folder / "derived.npy", folder / "derived.parquet"
    paths = [[folder / f"{name}.{end}" for name in "xy"] for end in ("npy", "parquet")]
    derive_images(*paths, cfg | {"from": "source"}, *outputs)
    index = pd.read_parquet(outputs[1])
    chosen = index["image_id"].astype(int).to_numpy()
    assert (np.diff(chosen) > 0).all()
    copy = np.load(outputs[0])
    assert copy.dtype == np.float16
    np.testing.assert_array_equal(copy, rows[chosen])
    found = [None if pd.isna(label) else label for label in index["label"]]
    assert found == labels[chosen].tolist()
    meta = read_meta(outputs[1])
    assert meta.pop("array")["shape"] == list(copy.shape)
    assert meta == {"encoder": {"model": "m"}, "derived": cfg | {"from": "source"}}
    return found


def sizes(labels):
    return pd.Series(labels).value_counts(dropna=False).to_dict()


def test_a_sample_has_the_images_asked_for(source):
    assert len(derive(source, method="sample", images=50, seed=1)) == 50
    assert len(derive(source, method="sample", images=68, seed=1)) == 68
    with pytest.raises(InputError, match="source has 68 images, 69 are asked for"):
        derive(source, method="sample", images=69, seed=1)


def test_imbalance_and_its_controls(source):
    cfg = {"method": "imbalance", "half_width": 10, "seed": 0}
    assert sizes(derive(source, control="none", **cfg)) == {"b": 12, "c": 20}
    assert sizes(derive(source, control="equal_size", **cfg)) == {"b": 12, "c": 12}
    assert sizes(derive(source, control="same_shares", **cfg)) == {"b": 9, "c": 15}


def test_a_long_tail(source):
    found = derive(source, method="long_tail", ratio=4, shape="exponential", seed=0)
    assert sorted(sizes(found).values()) == [1, 1, 2, 4]


@pytest.mark.parametrize("classifier", ["knn", "linear"])
def test_difficulty(source, classifier):
    """b and c lie in one place; of a there are too few images."""
    cfg = {"method": "difficulty", "classifier": classifier} | CLOUDS
    easy, hard = (sizes(derive(source, which=which, **cfg)) for which in ("easy", "hard"))
    assert easy.keys() == {"d"}
    assert hard.keys() <= {"b", "c"}
    assert [*easy.values()] == [*hard.values()]


@pytest.mark.parametrize("method", ["imbalance", "long_tail", "knn", "linear"])
def test_a_source_without_labels_is_refused(source, method):
    folder, *_ = source
    for name, n in (("x", 25), ("y", 43)):
        columns = {"image_id": ["i"] * n, "label": pa.nulls(n, pa.string())}
        write_table(folder / f"{name}.parquet", columns, {"encoder": {"model": "m"}})
    cfg = {"half_width": 10, "control": "none", "ratio": 2, "shape": "pareto", "which": "easy"}
    cfg |= CLOUDS | {"method": method}
    if method in ("knn", "linear"):
        cfg |= {"method": "difficulty", "classifier": method}
    with pytest.raises(InputError, match="no image of the set has one"):
        derive(source, **cfg)
