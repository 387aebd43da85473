"""A training by two processes, over gloo, against the same training by one."""

import sys
from pathlib import Path

import clustering_cases as cases
import numpy as np
import pytest
import torch
from test_heads import CFG as HEADS
from test_turtle import CFG as TURTLE

from workflow_scripts.lib import distributed
from workflow_scripts.lib.clustering import scan, shared, temi, turtle
from workflow_scripts.lib.errors import InputError

# Batches of 33 images: one process has 16 of them, the other 17.
FEW = {"steps": 14, "batch_size": 33, "entropy_momentum": 0.3}
METHODS = {
    "temi": (temi, HEADS | FEW),
    "scan": (scan, HEADS | FEW),
    "turtle": (turtle, TURTLE | FEW),
}


def fit(method, **changes):
    module, cfg = METHODS[method]
    rows, neighbours, _ = cases.joined_blobs()
    return module.fit(cases.task_of(rows, 5, cfg | changes, neighbours))


def main(folder, method, changes):
    """What each of the processes of these tests does."""
    torch.set_num_threads(1)
    found = fit(method, **changes)
    arrays = found.weights | {f"history_{name}": found.history[name] for name in found.history}
    np.savez(f"{folder}/{distributed.rank()}.npz", processes=distributed.size(), **arrays)


@pytest.fixture
def by_two(tmp_path, monkeypatch):
    """A function (method) that trains by two processes; what each of them found."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))

    def run(method, **changes):
        with (tmp_path / "log").open("w") as log, monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", log)
            arguments = {"folder": str(tmp_path), "method": method, "changes": changes}
            distributed.launch("test_shared", arguments, tmp_path / "job", 2, 2)
        return [dict(np.load(tmp_path / f"{rank}.npz")) for rank in (0, 1)]

    return run


@pytest.mark.parametrize(
    "method", ["temi", *(pytest.param(name, marks=pytest.mark.slow) for name in ("scan", "turtle"))]
)
def test_two_processes_train_as_one_does(by_two, method):
    first, second = by_two(method)
    assert first.pop("processes") == second.pop("processes") == 2
    alone = fit(method)
    for name, value in first.items():
        np.testing.assert_array_equal(second[name], value)  # both have the same bytes
    for name, value in alone.weights.items():
        np.testing.assert_allclose(first[name], value, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(first["history_loss"], alone.history["loss"], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(first["history_used_clusters"], alone.history["used_clusters"])


def test_a_batch_smaller_than_the_processes_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(InputError, match="too small for 3 processes: lower `processes`"):
        shared.join(2)
