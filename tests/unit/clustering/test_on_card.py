"""Trainings on a graphics card; `make test-gpu` runs them where there is one."""

import subprocess
import sys
from pathlib import Path

import clustering_cases as cases
import pytest
import torch
from test_heads import CFG as HEADS
from test_precision import METHODS

from workflow_scripts.lib.clustering import epochs, gather, heads, temi

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("method", METHODS)
def test_a_training_on_the_card_finds_the_blobs(method, precision):
    rows, neighbours, labels = cases.joined_blobs()
    module, cfg = METHODS[method]
    found = module.fit(cases.task_of(rows, 5, cfg | {"precision": precision}, neighbours))
    clusters, _ = module.assign([rows], found.weights, cfg)
    assert cases.accuracy(labels, clusters) > 0.95


@pytest.mark.parametrize("method", ["temi", "turtle"])
def test_batches_that_are_sent_equal_rows_that_are_kept(monkeypatch, method):
    rows, neighbours, _ = cases.joined_blobs()
    module, cfg = METHODS[method]
    kept = module.fit(cases.task_of(rows, 5, cfg | {"steps": 8}, neighbours))
    monkeypatch.setattr(gather, "fits", lambda arrays, device: False)
    sent = module.fit(cases.task_of(rows, 5, cfg | {"steps": 8}, neighbours))
    for name, value in kept.weights.items():
        torch.testing.assert_close(torch.from_numpy(sent.weights[name]), torch.from_numpy(value))


def test_no_step_waits_for_the_card(monkeypatch):
    rows, neighbours, _ = cases.joined_blobs()
    task = cases.task_of(rows, 5, HEADS, neighbours)
    training = heads._start(task.images, task.k, HEADS)
    features = gather.resident([task.images.joined()], torch.device("cuda"))
    row = epochs.EpochLog.row

    def waits(*args):
        torch.cuda.set_sync_debug_mode("default")
        return row(*args)

    monkeypatch.setattr(epochs.EpochLog, "row", waits)
    torch.cuda.set_sync_debug_mode("error")
    try:
        heads._train_epoch(training, temi._batch_loss, features, neighbours, 1, 0, 6, HEADS)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_torch_and_faiss_see_the_card_of_the_job_alone():
    """They are imported before it is chosen, as in a script."""
    program = "import faiss, torch; from workflow_scripts.lib import cards; cards.reserve({}); "
    program += "assert (torch.cuda.device_count(), faiss.get_num_gpus()) == ({}, {})"
    for gpus in (0, 1):
        code = program.format(gpus, gpus, gpus)
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
