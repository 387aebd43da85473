"""Training in bfloat16: products alone lose digits, and clusters are as good."""

import clustering_cases as cases
import pytest
import torch
from clustering_cases import random_heads, random_tensors
from test_heads import CFG as HEADS
from test_turtle import CFG as TURTLE

from workflow_scripts.lib.clustering import epochs, scan, temi, turtle
from workflow_scripts.lib.clustering.heads import log_probabilities

CPU = torch.device("cpu")
LONG = {"steps": 200, "warmup_steps": 50, "batch_size": 100, "base_lr": 0.02, "heads": 4}
METHODS = {"temi": (temi, HEADS | LONG), "scan": (scan, HEADS | LONG), "turtle": (turtle, TURTLE)}


def gradients(precision):
    """Log-probabilities of heads and the gradients of their squares, in a precision."""
    heads = {name: value.requires_grad_() for name, value in random_heads().items()}
    dtype = epochs.product_type({"precision": precision}, CPU)
    (x,) = random_tensors(50, 7, seed=20)
    with epochs.products_in(dtype, CPU):
        found = log_probabilities(heads, x.to(dtype), 0.5)
    found.square().mean().backward()
    return found, {name: value.grad for name, value in heads.items()}


def test_products_lose_digits_and_nothing_else_does():
    exact, expected = gradients("float32")
    found, grads = gradients("bfloat16")
    assert found.dtype == torch.float32
    # 8 bits of a number: logits of a few units are off by some hundredths; sums of probabilities
    # are not, since the softmax is of float32.
    assert 1e-4 < (found - exact).abs().max() < 0.1
    torch.testing.assert_close(found.exp().sum(-1), torch.ones(3, 50), rtol=0, atol=1e-6)
    for name, value in expected.items():
        assert grads[name].dtype == torch.float32
        error = (grads[name] - value).norm() / value.norm()
        assert error < 0.05, name


@pytest.mark.parametrize("method", METHODS)
def test_bfloat16_finds_the_same_clusters(method):
    rows, neighbours, labels = cases.joined_blobs()
    module, cfg = METHODS[method]
    found = {}
    for precision in ("float32", "bfloat16"):
        task = cases.task_of(rows, 5, cfg | {"precision": precision}, neighbours)
        found[precision] = module.fit(task)
        clusters, _ = module.assign([rows], found[precision].weights, cfg)
        assert cases.accuracy(labels, clusters) > 0.95
    low, full = found["bfloat16"], found["float32"]
    assert any((low.weights[name] != full.weights[name]).any() for name in full.weights)
    assert low.meta["objective"] == pytest.approx(full.meta["objective"], rel=0.05, abs=0.05)


@pytest.mark.parametrize("hardware", [True, False])
def test_auto_is_what_the_hardware_multiplies_fast(monkeypatch, hardware):
    monkeypatch.setattr("workflow_scripts.lib.device.has_bfloat16", lambda device: hardware)
    expected = torch.bfloat16 if hardware else torch.float32
    assert epochs.product_type({"precision": "auto"}, CPU) == expected


def test_a_state_is_not_continued_in_another_precision(tmp_path, monkeypatch, caplog):
    """As after a kill on a node with bfloat16, and a new start on one without it."""
    rows, neighbours, _ = cases.joined_blobs()
    task = cases.task_of(rows, 5, HEADS | {"precision": "auto"}, neighbours, tmp_path / "state")
    monkeypatch.setattr("workflow_scripts.lib.device.has_bfloat16", lambda device: True)
    with monkeypatch.context() as patch:
        cases.kill_after(patch, 2)
        with pytest.raises(cases.Killed):
            temi.fit(task)
    monkeypatch.setattr("workflow_scripts.lib.device.has_bfloat16", lambda device: False)
    seen = cases.watch_epochs(monkeypatch)
    temi.fit(task)
    assert seen[0] == 0
    assert "training starts anew: other code, settings, seed or data" in caplog.text
