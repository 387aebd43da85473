"""The heads that TEMI and SCANv2 share: layers, optimiser, schedule, start, standardised rows."""

import math

import clustering_cases as cases
import numpy as np
import pyarrow as pa
import pytest
import torch
from clustering_cases import random_heads, random_tensors
from sklearn.preprocessing import StandardScaler

from workflow_scripts.lib.clustering import heads, scan, temi
from workflow_scripts.lib.clustering.heads import (
    adamw,
    adamw_step,
    folded,
    head_by_head,
    learning_rate,
    log_probabilities,
    standardisation,
    update_teacher,
)
from workflow_scripts.lib.embeddings import Embeddings

CFG = {
    "seed": 0, "steps": 40, "warmup_steps": 5, "batch_size": 32, "base_lr": 0.05,
    "standardise": False, "heads": 3, "hidden": 12, "bottleneck": 6, "temperature": 0.1,
    "precision": "float32", "teacher_momentum": 0.9, "neighbours": 5,
    "beta": 0.6, "prior_momentum": 0.9, "entropy_weight": 5.0, "entropy_momentum": 0.0,
}  # fmt: skip

# --- layers, optimiser, schedule ------------------------------------------------------------


def test_stacked_heads_equal_single_modules():
    heads = random_heads()
    (x,) = random_tensors(9, 7, seed=20)
    found = log_probabilities(heads, x, 0.1)
    for h in range(3):
        first, second, last = (
            torch.nn.Linear(7, 6),
            torch.nn.Linear(6, 5),
            torch.nn.Linear(5, 4, bias=False),
        )
        last = torch.nn.utils.parametrizations.weight_norm(last)
        with torch.no_grad():
            first.weight.copy_(heads["hidden_weight"][h].T)
            first.bias.copy_(heads["hidden_bias"][h, 0])
            second.weight.copy_(heads["bottleneck_weight"][h].T)
            second.bias.copy_(heads["bottleneck_bias"][h, 0])
            last.parametrizations.weight.original0.copy_(heads["scale"][h])
            last.parametrizations.weight.original1.copy_(heads["prototypes"][h])
            z = second(torch.nn.functional.gelu(first(x)))
            logits = last(z / z.norm(dim=1, keepdim=True))
        torch.testing.assert_close(found[h], (logits / 0.1).log_softmax(-1), rtol=1e-4, atol=1e-4)


def test_heads_one_by_one_equal_all_at_once():
    heads = {name: value.requires_grad_() for name, value in random_heads().items()}
    (x,) = random_tensors(9, 7, seed=20)
    found = {}
    for function in (head_by_head, log_probabilities):
        out = function(heads, x, 0.1)
        gradients = torch.autograd.grad(out.square().mean(), heads.values())
        found[function] = [out, *gradients]
    for one, other in zip(*found.values(), strict=True):
        torch.testing.assert_close(one, other)


def test_teacher_by_hand():
    teacher = {"scale": torch.tensor([1.0, 0.0])}
    update_teacher(teacher, {"scale": torch.tensor([2.0, 4.0])}, 0.75)
    torch.testing.assert_close(teacher["scale"], torch.tensor([1.25, 1.0]))
    update_teacher(teacher, {"scale": torch.tensor([3.0, 0.0])}, 0.75)
    torch.testing.assert_close(teacher["scale"], torch.tensor([1.6875, 0.75]))


def reference_adamw(value, gradients, lrs, weight_decay):
    """AdamW (Loshchilov and Hutter, ICLR 2019, algorithm 2) in float64; a gradient may be None."""
    value = value.double().numpy().copy()
    m, v, t = np.zeros_like(value), np.zeros_like(value), 0
    for gradient, lr in zip(gradients, lrs, strict=True):
        if gradient is None:
            continue
        g, t = gradient.double().numpy(), t + 1
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        value -= lr * weight_decay * value
        value -= lr * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return value


def test_a_step_equals_the_formula():
    names = ("hidden_weight", "hidden_bias", "scale")
    student = dict(zip(names, random_tensors(2, 3, count=3), strict=True))
    before = {name: value.clone() for name, value in student.items()}
    optimiser = adamw({name: value.requires_grad_() for name, value in student.items()})
    gradients = {name: random_tensors(2, 3, count=5, seed=i) for i, name in enumerate(names)}
    gradients["scale"][:2] = [None, None]  # as in a frozen layer
    lrs = [0.5 / (step + 1) for step in range(5)]
    for step, lr in enumerate(lrs):
        for name in names:
            student[name].grad = gradients[name][step]
        adamw_step(optimiser, lr)
        assert all(value.grad is None for value in student.values())
        if step < 2:
            torch.testing.assert_close(student["scale"].detach(), before["scale"], rtol=0, atol=0)
    for name, decay in zip(names, (1e-4, 0, 1e-4), strict=True):
        expected = reference_adamw(before[name], gradients[name], lrs, decay)
        np.testing.assert_allclose(student[name].detach(), expected, rtol=1e-5, atol=1e-6)


def test_learning_rate():
    cfg = {"base_lr": 0.1, "final_lr": 0.0, "batch_size": 512, "steps": 110, "warmup_steps": 10}
    assert learning_rate(0, cfg) == pytest.approx(0.02)
    assert learning_rate(9, cfg) == pytest.approx(0.2)
    assert learning_rate(60, cfg) == pytest.approx(0.1)
    assert learning_rate(85, cfg) == pytest.approx(0.1 * (1 - math.sqrt(0.5)))
    assert learning_rate(109, cfg) < 0.0002


@pytest.mark.parametrize(
    ("final_lr", "public"),
    [
        (0.0, [0.2, 0.2, 0.199951, 0.170711, 0.1, 0.029289, 4.9e-05]),
        (0.02, [0.2, 0.2, 0.199961, 0.176569, 0.12, 0.063431, 0.040039]),
        (0.1, [0.2] * 7),
        (None, [0.2] * 7),
    ],
)
def test_the_schedule_of_the_public_code(final_lr, public):
    # Recorded from 11 epochs of 10 steps, one of them warm-up, min_lr 0, .02 and .1, batch 512.
    cfg = {"base_lr": 0.1, "batch_size": 512, "steps": 110, "warmup_steps": 10}
    cfg |= {} if final_lr is None else {"final_lr": final_lr}
    found = [learning_rate(step, cfg) for step in (9, 10, 11, 35, 60, 85, 109)]
    np.testing.assert_allclose(found, public, atol=1e-6)


# --- start ----------------------------------------------------------------------------------


def test_the_start_is_that_of_the_public_code():
    images = Embeddings([np.zeros((9, 96), np.float16)], pa.table({}), {})
    cfg = CFG | {"heads": 4, "hidden": 128, "bottleneck": 64}
    start = heads._start(images, 200, cfg).tensors
    student = {name: value.detach().numpy() for name, value in start["student"].items()}
    norms = np.linalg.norm(student["prototypes"], axis=-1)
    assert norms.mean() == pytest.approx(0.5804, abs=0.005)  # public code: 0.5804 at 64
    assert np.abs(student["prototypes"]).max() == pytest.approx(0.125, abs=1e-3)
    assert student["prototypes"].std() == pytest.approx(0.125 / 3**0.5, rel=0.01)
    for name in ("hidden_weight", "bottleneck_weight"):
        assert student[name].std() == pytest.approx(0.02, rel=0.02)
    assert not student["hidden_bias"].any() and not student["bottleneck_bias"].any()
    assert (student["scale"] == 1).all()
    for name, value in start["teacher"].items():
        np.testing.assert_array_equal(value, student[name])


# --- standardised embeddings ----------------------------------------------------------------


def skewed_images():
    """Embeddings whose dimensions have other means and deviations, in two shards; the last one
    does not vary."""
    rng = np.random.default_rng(0)
    rows = rng.normal(rng.normal(size=7), rng.uniform(0.1, 2, 7), (50, 7)).astype(np.float16)
    rows[:, -1] = 0.25
    return Embeddings([rows[:30], rows[30:]], pa.table({}), {}), rows.astype(np.float64)


def test_statistics_are_those_of_scikit_learn(monkeypatch):
    images, rows = skewed_images()
    monkeypatch.setattr("workflow_scripts.lib.embeddings.BLOCK", 7)
    found, expected = standardisation(images, True), StandardScaler().fit(rows)
    np.testing.assert_allclose(found["mean"], expected.mean_, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["deviation"], expected.scale_, rtol=1e-5)
    assert found["deviation"][-1] == 1


def test_a_folded_head_takes_embeddings_as_they_are():
    images, rows = skewed_images()
    weights = {name: value[:1] for name, value in random_heads().items()}
    one = {name: value[0].numpy() for name, value in weights.items()}
    standardised = torch.from_numpy(StandardScaler().fit_transform(rows)).float()
    expected = log_probabilities(weights, standardised, 0.1)
    after = folded(one, standardisation(images, True))
    assert {name: (v.dtype, v.shape) for name, v in after.items()} == {
        name: (v.dtype, v.shape) for name, v in one.items()
    }
    after = {name: torch.from_numpy(value)[None] for name, value in after.items()}
    found = log_probabilities(after, torch.from_numpy(rows).float(), 0.1)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    unchanged = folded(one, standardisation(images, False))
    assert all((unchanged[name] == one[name]).all() for name in one)


@pytest.mark.parametrize("method", [temi, scan])
def test_training_on_standardised_rows_equals_standardising_the_images(method):
    # Rows of unit norm with a common offset, against the same rows standardised by scikit-learn.
    rows, neighbours, labels = cases.joined_blobs()
    fitted = StandardScaler().fit(rows.astype(np.float64))
    prepared = fitted.transform(rows.astype(np.float64)).astype(np.float32)
    cfg = CFG | {"steps": 60, "batch_size": 100, "base_lr": 0.02, "warmup_steps": 10, "heads": 4}
    ours = method.fit(cases.task_of(rows, 5, cfg | {"standardise": True}, neighbours))
    reference = method.fit(cases.task_of(prepared, 5, cfg, neighbours))
    one, p = method.assign([rows], ours.weights, cfg)
    other, q = method.assign([prepared], reference.weights, cfg)
    assert ours.meta["objective"] == pytest.approx(reference.meta["objective"], abs=1e-2)
    assert cases.accuracy(labels, one) > 0.9
    assert (one == other).mean() > 0.98
    assert np.abs(p - q).mean() < 0.02
