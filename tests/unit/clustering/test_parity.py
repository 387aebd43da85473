"""Steps of TEMI and SCANv2 against TEMI's public code, and against their formulas.

PUBLIC holds numbers that the public code printed; none of its code is here.
"""

import math

import numpy as np
import pytest
import torch

from workflow_scripts.lib.clustering import epochs, heads, scan, temi

CFG = {
    "temperature": 0.1,
    "precision": "float32",
    "teacher_momentum": 0.9,
    "beta": 0.6,
    "prior_momentum": 0.9,
    "entropy_weight": 5.0,
    "entropy_momentum": 0.0,
}

# The losses of two heads in 12 steps of the public code, from the weights and batches of `wave`.
PUBLIC = {
    "temi": [
        [-0.1009, 0.72822], [-0.20153, 0.75711], [0.07257, 0.24095], [-0.30397, -0.31328],
        [-0.20698, -0.465], [-0.02692, -0.21617], [-0.24871, -0.30685], [-0.30129, -0.43785],
        [-0.16893, -0.1996], [-0.3046, -0.32173], [-0.32721, -0.34828], [-0.21363, -0.23607],
    ],
    "scan": [
        [0.45856, 3.0835], [-0.83168, -2.25014], [0.36252, -0.20656], [-1.5672, -1.30779],
        [-1.97073, -4.01695], [-0.48399, -3.37236], [-2.6717, -4.02604], [-3.11563, -3.10922],
        [-3.42846, -3.19264], [-5.40922, -3.77775], [-4.50301, -4.83507], [-4.12578, -4.14275],
    ],
}  # fmt: skip

HEADS, D, HIDDEN, BOTTLENECK, K, PAIRS, STEPS = 2, 12, 10, 8, 5, 16, 12
LR, FROZEN = 0.02, 3  # the last layer is frozen in the first steps


def wave(*shape, phase, size):
    """Numbers that need no generator: size sin(phase + 1.7 i^1.1), float32."""
    values = size * np.sin(phase + 1.7 * np.arange(math.prod(shape)) ** 1.1)
    return torch.from_numpy(values.reshape(shape)).float()


def wave_heads():
    return {
        "hidden_weight": wave(HEADS, D, HIDDEN, phase=0, size=0.5),
        "hidden_bias": torch.zeros(HEADS, 1, HIDDEN),
        "bottleneck_weight": wave(HEADS, HIDDEN, BOTTLENECK, phase=1, size=0.5),
        "bottleneck_bias": torch.zeros(HEADS, 1, BOTTLENECK),
        "prototypes": wave(HEADS, K, BOTTLENECK, phase=2, size=0.3),
        "scale": torch.ones(HEADS, K, 1),
    }


def wave_batch(step):
    rows = wave(2 * PAIRS, D, phase=3 + step, size=1)
    return rows / rows.norm(dim=1, keepdim=True)


def losses_of_our_steps(method):
    student = {name: value.requires_grad_() for name, value in wave_heads().items()}
    prior = torch.full((HEADS, K), 1 / K)
    tensors = {"student": student, "teacher": wave_heads(), "loss": {"prior": prior}}
    training = epochs.Training(tensors, {"student": heads.adamw(student)}, torch.Generator(), [])
    losses = []
    for step in range(STEPS):
        for name in heads.LAST_LAYER:
            student[name].requires_grad_(step >= FROZEN)
        batch = wave_batch(step)
        losses.append(
            heads._train_step(training, method._batch_loss, batch, 1, LR, CFG)[0].tolist()
        )
    return losses


@pytest.mark.parametrize("method", [temi, scan])
def test_steps_from_the_same_weights_are_those_of_the_public_code(method):
    recorded = PUBLIC[method.__name__.rsplit(".", 1)[1]]
    np.testing.assert_allclose(losses_of_our_steps(method), recorded, atol=5e-4)


class SlowHead(torch.nn.Module):
    """One head as a chain of layers, in float64."""

    def __init__(self, weights, h):
        super().__init__()
        for name, value in weights.items():
            setattr(self, name, torch.nn.Parameter(value[h].detach().double()))

    def forward(self, x):
        x = x @ self.hidden_weight + self.hidden_bias
        x = x * (1 + torch.erf(x / 2**0.5)) / 2  # GELU
        x = x @ self.bottleneck_weight + self.bottleneck_bias
        x = x / (x**2).sum(dim=1, keepdim=True).sqrt()
        rows = self.prototypes / (self.prototypes**2).sum(dim=1, keepdim=True).sqrt() * self.scale
        return torch.softmax(x @ rows.T / CFG["temperature"], dim=1)


def slow_temi(students, teachers, priors):
    weight = sum((t[:PAIRS] * t[PAIRS:]).sum(dim=1) for t in teachers) / HEADS
    losses = []
    for h, (s, t) in enumerate(zip(students, teachers, strict=True)):
        priors[h] = 0.9 * priors[h] + 0.1 * t.mean(dim=0)
        one, other = ((s[i] * t[j]) ** 0.6 / priors[h] for i, j in VIEWS)
        losses.append(-(weight * (one.sum(dim=1).log() + other.sum(dim=1).log())).mean() / 2)
    return losses


def slow_scan(students, teachers, priors):
    losses = []
    for s, t in zip(students, teachers, strict=True):
        agree = sum(-(s[i] * t[j]).sum(dim=1).log().mean() for i, j in VIEWS) / 2
        means = [s[i].mean(dim=0) for i, _ in VIEWS]
        losses.append(agree + 5 * sum((p * p.log()).sum() for p in means) / 2)
    return losses


VIEWS = [(slice(PAIRS), slice(PAIRS, None)), (slice(PAIRS, None), slice(PAIRS))]


@pytest.mark.parametrize(("method", "slow"), [(temi, slow_temi), (scan, slow_scan)])
def test_steps_from_the_same_weights_are_those_of_the_formulas(method, slow):
    students, teachers = ([SlowHead(wave_heads(), h) for h in range(HEADS)] for _ in range(2))
    parameters = [list(head.named_parameters()) for head in students]
    groups = [
        {"params": [p for head in parameters for n, p in head if n.endswith("bias") == bias],
         "weight_decay": 0 if bias else 1e-4}
        for bias in (False, True)
    ]  # fmt: skip
    optimiser, priors = torch.optim.AdamW(groups, lr=LR), [torch.full((K,), 1 / K).double()] * HEADS
    expected = []
    for step in range(STEPS):
        x = wave_batch(step).double()
        with torch.no_grad():
            targets = [head(x) for head in teachers]
        losses = slow([head(x) for head in students], targets, priors)
        optimiser.zero_grad()
        (sum(losses) / HEADS).backward()
        for head in students:
            if step < FROZEN:
                head.prototypes.grad = head.scale.grad = None
        optimiser.step()
        with torch.no_grad():
            for old, new in zip(teachers, students, strict=True):
                for p, q in zip(old.parameters(), new.parameters(), strict=True):
                    p.copy_(0.9 * p + 0.1 * q)
        expected.append([loss.item() for loss in losses])
    np.testing.assert_allclose(losses_of_our_steps(method), expected, atol=5e-4)
    assert np.ptp(expected) > 0.5
