"""Batches of embeddings on a device: what a card does, on CPU tensors through the same code."""

import clustering_cases as cases
import numpy as np
import pytest
import torch
from test_temi import CFG as TEMI
from test_turtle import CFG as TURTLE

from workflow_scripts.lib.clustering import gather, temi, turtle
from workflow_scripts.lib.embeddings import UnitRows

CPU = torch.device("cpu")


def numbered(n, steps=4, size=5):
    rng = np.random.default_rng(0)
    return [(step, rng.integers(0, n, size)) for step in range(steps)]


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_rows_that_are_kept_equal_those_that_are_gathered(tmp_path, monkeypatch, dtype):
    for s, d in enumerate((3, 8)):
        np.save(tmp_path / f"{s}.npy", np.random.default_rng(s).normal(size=(40, d)).astype(dtype))
    arrays = [UnitRows(np.load(tmp_path / f"{s}.npy", mmap_mode="r")) for s in (0, 1)]
    assert gather.resident(arrays, CPU) is arrays  # a CPU reads from the memory map
    gathered = list(gather.batches(arrays, numbered(40), CPU))
    monkeypatch.setattr(gather, "fits", lambda arrays, device: True)
    monkeypatch.setattr(gather, "BLOCK", 7)
    kept = gather.resident(arrays, CPU)
    assert [tensor.shape for tensor in kept] == [(40, 3), (40, 8)]
    for (step, views), (also, others), (_, rows) in zip(
        gathered, gather.batches(kept, numbered(40), CPU), numbered(40), strict=True
    ):
        assert step == also
        for array, one, other in zip(arrays, views, others, strict=True):
            expected = np.load(array.stored.filename)[rows].astype(np.float64)
            expected /= np.linalg.norm(expected, axis=1, keepdims=True)
            np.testing.assert_allclose(one.numpy(), expected, rtol=1e-6)
            assert torch.equal(one, other)


@pytest.mark.parametrize("method", ["temi", "turtle"])
def test_a_training_on_kept_rows_ends_with_the_same_bytes(monkeypatch, method):
    rows, neighbours, _ = cases.joined_blobs()
    module, cfg = {"temi": (temi, TEMI), "turtle": (turtle, TURTLE)}[method]
    gathered = module.fit(cases.task_of(rows, 5, cfg, neighbours))
    monkeypatch.setattr(gather, "fits", lambda arrays, device: True)
    cases.same_clustering(module.fit(cases.task_of(rows, 5, cfg, neighbours)), gathered)


def test_items_come_ahead_in_order_and_one_at_a_time():
    made = []

    def items():
        for number in range(5):
            made.append(number)
            yield number

    coming = gather.ahead(items())
    assert next(coming) == 0
    assert [*coming] == [1, 2, 3, 4]
    assert made == [0, 1, 2, 3, 4]
    assert [*gather.ahead([])] == []


def test_an_error_in_the_thread_ends_the_training():
    def items():
        yield 1
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(gather.ahead(items()))


def test_rows_are_copied_only_where_they_must_be():
    rows = np.ones((3, 2), np.float32)
    assert gather.as_tensor(rows, CPU).data_ptr() == rows.ctypes.data
    rows.flags.writeable = False  # torch would warn of it
    for other in (rows, rows.astype(np.float16), np.ones((2, 6), np.float32)[:, ::2]):
        found = gather.as_tensor(other, CPU)
        assert found.dtype == torch.float32
        np.testing.assert_array_equal(found.numpy(), other)
