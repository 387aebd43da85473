"""TURTLE over the embeddings of two encoders, which store the images in another order."""

from types import SimpleNamespace

import clustering_cases as cases
import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.numpy import load_file

from workflow_scripts.cluster import cluster
from workflow_scripts.lib.artifacts import read_table, write_array, write_table
from workflow_scripts.lib.clustering.spaces import open_spaces
from workflow_scripts.lib.clustering.turtle import task_log_probabilities, train_turtle
from workflow_scripts.lib.embeddings import IMAGE_INDEX, UnitRows
from workflow_scripts.lib.errors import InputError
from workflow_scripts.rank_clusters import rank_clusters

CFG = {"method": "turtle", "seed": 3, "heads": 2, "steps": 40, "batch_size": 50, "inner_steps": 5,
       "inner_lr": 0.1, "outer_lr": 0.03, "gamma": 10.0, "warm_start": False, "temperature": 0.1,
       "precision": "float32",
       "k": 5, "spaces": {"one": 2, "two": 1}}  # fmt: skip


def save(stem, rows, names):
    write_array(stem.with_suffix(".npy"), rows)
    columns = [names, [None] * len(names), [None] * len(names)]
    write_table(stem.with_suffix(".parquet"), pa.table(columns, schema=IMAGE_INDEX))
    return stem


@pytest.fixture
def stored(tmp_path):
    """Two spaces of 200 images: one in two shards, two shuffled and with an image more."""
    one, labels = cases.blobs()
    two = cases.blobs(d=24, seed=1)[0]
    names = [f"image{i}" for i in range(200)]
    order = np.random.default_rng(0).permutation(200)
    stems = [
        save(tmp_path / "a", one[:120], names[:120]),
        save(tmp_path / "b", one[120:], names[120:]),
    ]
    more = np.concatenate([two[order], two[:1]])
    stems.append(save(tmp_path / "c", more, [*(names[i] for i in order), "more"]))
    files = [[stem.with_suffix(end) for stem in stems] for end in (".npy", ".parquet")]
    one, two = UnitRows(one)[:], UnitRows(two)[:]  # as they are read
    return SimpleNamespace(one=one, two=two, labels=labels, names=names, files=files)


def test_images_are_joined_in_the_order_of_the_first(stored):
    images = open_spaces(*stored.files, CFG["spaces"])
    expected = np.concatenate([stored.one, stored.two], axis=1)
    assert images.ids == stored.names
    assert np.array_equal(images.array(), expected)
    assert np.array_equal(np.concatenate(list(images.blocks(size=64))), expected)
    assert np.array_equal(images.array(rows=np.array([150, 3])), expected[[150, 3]])
    backwards = [files[2:] + files[:2] for files in stored.files]
    with pytest.raises(InputError, match="spaces: one lacks 1 of 201 images of two"):
        open_spaces(*backwards, {"two": 1, "one": 2})


def test_clusters_are_those_of_turtle_on_both_spaces(stored, tmp_path):
    names = ("clusters", "model", "history", "cost")
    outputs = SimpleNamespace(**{name: str(tmp_path / f"out/{name}") for name in names})
    cluster(*stored.files, None, None, CFG, "code@1", {"encoder": "one"}, outputs)
    weights = load_file(outputs.model)
    spaces = [stored.one, stored.two]
    found = train_turtle(spaces, cases.task_of(stored.one, 5, CFG)).weights
    assert found.keys() == weights.keys() and "prototypes_1" in weights
    for name, value in found.items():
        assert np.array_equal(value, weights[name])

    task = {name: torch.from_numpy(value)[None] for name, value in weights.items()}
    views = [torch.from_numpy(space) for space in spaces]
    expected = task_log_probabilities(task, views, CFG["temperature"])[0].numpy()
    table = read_table(outputs.clusters)
    assert table["image_id"].to_pylist() == stored.names
    assert np.array_equal(table["cluster"].to_numpy(), expected.argmax(axis=1))
    assert np.allclose(table["value"].to_numpy(), np.exp(expected.max(axis=1)), atol=1e-5)

    ranks = tmp_path / "ranks.parquet"
    cfg = CFG | {"predictions": 3}
    rank_clusters(*stored.files, outputs.clusters, outputs.model, cfg, ranks)
    ranked = np.stack(read_table(ranks)["clusters"].to_pylist())
    assert np.array_equal(ranked[:, :2], np.argsort(-expected, axis=1)[:, :2])
