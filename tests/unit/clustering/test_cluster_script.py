"""The script `cluster`, which loads the method that the config names."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import clustering_cases as cases
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from workflow_scripts.cluster import cluster
from workflow_scripts.lib.artifacts import (
    read_meta,
    read_table,
    write_array,
    write_table,
    write_text,
)
from workflow_scripts.lib.clustering.methods import load_method
from workflow_scripts.lib.clustering.neighbours import nearest_neighbours
from workflow_scripts.lib.embeddings import IMAGE_INDEX
from workflow_scripts.rank_clusters import rank_clusters

RESTARTS = {"seed": 3, "spherical": True, "restarts": 2}
HEADS = {"seed": 3, "heads": 2, "steps": 40, "batch_size": 50, "temperature": 0.1}
HEADS |= {"precision": "float32"}
ON_GRAPH = HEADS | {"warmup_steps": 5, "base_lr": 0.05, "hidden": 12, "bottleneck": 6}
ON_GRAPH |= {"standardise": False, "teacher_momentum": 0.9, "neighbours": 5}
LLOYD = RESTARTS | {"iterations": 9, "init": "random", "sample": 0}
METHODS = {
    "kmeans": LLOYD | {"precision": "float32"},
    "faiss": LLOYD,
    "minibatch": RESTARTS | {"passes": 2, "batch_size": 50},
    "hierarchical": {"seed": 3, "restarts": 2, "iterations": 9, "fine": "auto", "weighted": False,
                     "init": "kmeans++", "sample": 0, "precision": "float32"},
    "temi": ON_GRAPH | {"beta": 0.6, "prior_momentum": 0.9},
    "scan": ON_GRAPH | {"entropy_weight": 5.0, "entropy_momentum": 0.5},
    "turtle": HEADS | {"inner_steps": 5, "inner_lr": 0.1, "outer_lr": 0.03, "gamma": 10.0,
                       "warm_start": False},
}  # fmt: skip
WILDCARDS = {"encoder": "tiny", "image_set": "photos", "clustering": "five", "seed": "3"}


@pytest.fixture
def job(tmp_path):
    """A function (cfg, code) that clusters embeddings in two shards; it returns the outputs."""
    rows, labels = cases.blobs()
    embeddings, index = [], []
    for shard, part in enumerate(np.split(np.arange(200), [120])):
        stem = tmp_path / f"{shard}"
        names = [f"image{i}" for i in part], [f"class{i}" for i in labels[part]], [None] * len(part)
        note = write_array(stem.with_suffix(".npy"), rows[part].astype(np.float16))
        table = pa.table(list(names), schema=IMAGE_INDEX)
        write_table(stem.with_suffix(".parquet"), table, {"array": note})
        embeddings.append(stem.with_suffix(".npy"))
        index.append(stem.with_suffix(".parquet"))
    note = write_array(tmp_path / "graph.npy", nearest_neighbours(rows, 5))
    write_text(tmp_path / "graph.json", json.dumps({"array": note}))
    ends = {"clusters": "parquet", "model": "safetensors", "history": "history.parquet"}
    ends |= {"cost": "cost.json"}
    outputs = SimpleNamespace(**{name: f"{tmp_path}/out/{end}" for name, end in ends.items()})

    def run(cfg, code="code@1", choice=None, init=None):
        graph = tmp_path / "graph.npy" if "neighbours" in cfg else None
        inputs = {"neighbours": graph, "choice": choice, "init": init}
        inputs["about_neighbours"] = tmp_path / "graph.json"
        cluster(embeddings, index, inputs, cfg, code, WILDCARDS, outputs)
        return outputs

    return SimpleNamespace(run=run, outputs=outputs, embeddings=embeddings, index=index)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_writes_the_same_files(job, method):
    cfg = METHODS[method] | {"method": method, "k": "classes"}
    outputs = job.run(cfg)
    table = read_table(outputs.clusters)
    assert table["image_id"].to_pylist() == [f"image{i}" for i in range(200)]
    assert [str(table.schema.field(name).type) for name in ("cluster", "value")] == [
        "int32",
        "float",
    ]
    meta = read_meta(outputs.clusters)
    objective = meta.pop("objective")
    assert np.isfinite(objective)
    meta.pop("best_head", None)
    assert meta.pop("precision", "float32") == "float32"
    expected = {"encoder": "tiny", "image_set": "photos", "clustering": "five"}
    assert meta == expected | {"seed": 3, "method": method, "k": 5}
    assert read_meta(outputs.history)["objective"] == objective
    assert pq.read_metadata(outputs.history).num_rows > 0
    assert set(json.loads(Path(outputs.cost).read_text())) == {"seconds", "peak_memory_mb"}


def test_k_auto_is_the_number_that_was_chosen(job, tmp_path):
    (tmp_path / "choice.json").write_text('{"k": 4}')
    cfg = METHODS["kmeans"] | {"method": "kmeans", "k": "auto"}
    outputs = job.run(cfg, choice=tmp_path / "choice.json")
    assert read_meta(outputs.clusters)["k"] == 4
    assert load_file(outputs.model)["centroids"].shape == (4, 16)


@pytest.mark.parametrize("method", METHODS)
def test_the_stored_weights_rank_the_assigned_cluster_first(job, method, tmp_path):
    cfg = METHODS[method] | {"method": method, "k": 5, "predictions": 9}
    outputs = job.run(cfg)
    ranks = tmp_path / "ranks.parquet"
    rank_clusters(job.embeddings, job.index, outputs.clusters, outputs.model, cfg, ranks)
    ranked = np.array(read_table(ranks)["clusters"].to_pylist())
    assigned = read_table(outputs.clusters)["cluster"].to_numpy()
    np.testing.assert_array_equal(ranked[:, 0], assigned)
    assert (np.sort(ranked, axis=1) == range(5)).all()
    scores = load_method(method).scores(
        np.load(job.embeddings[0]).astype(np.float32), load_file(outputs.model), cfg
    )
    np.testing.assert_array_equal(scores.argmax(axis=1), assigned[:120])


def test_the_script_tells_the_state_which_code_it_is_of(job, monkeypatch, caplog):
    cfg = METHODS["turtle"] | {"method": "turtle", "k": 5}
    cases.kill_after(monkeypatch, 3)
    with pytest.raises(cases.Killed):
        job.run(cfg)
    seen = cases.watch_epochs(monkeypatch)
    job.run(cfg, code="code@2")
    assert "training starts anew: other code" in caplog.text
    assert seen == list(range(10))


def zero_row(path, beside):
    """Write an array again with its second row zero, which is none of those that a state keeps a
    digest of; and what the file beside it says."""
    array = np.load(path)
    array[1] = 0
    note = write_array(path, array)
    if beside.suffix == ".json":
        return write_text(beside, json.dumps({"array": note}))
    return write_table(beside, read_table(beside), {"array": note})


@pytest.mark.parametrize("changed", ["0.npy", "graph.npy", None])
def test_a_training_goes_on_only_with_the_same_embeddings_and_graph(
    changed, job, tmp_path, monkeypatch, caplog
):
    cfg = METHODS["temi"] | {"method": "temi", "k": 5}
    cases.kill_after(monkeypatch, 3)
    with pytest.raises(cases.Killed):
        job.run(cfg)
    seen = cases.watch_epochs(monkeypatch)
    if changed:
        path = tmp_path / changed
        zero_row(path, path.with_suffix(".json" if "graph" in changed else ".parquet"))
    job.run(cfg)
    assert ("training starts anew" in caplog.text) == bool(changed)
    assert seen == list(range(0 if changed else 4, 10))


def test_kmeans_starts_without_torch():
    program = (
        "import sys; import workflow_scripts.cluster; from workflow_scripts.lib.clustering.methods "
        "import load_method; load_method('kmeans'), load_method('minibatch'); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
