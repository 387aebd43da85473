"""A step of TEMI beside the recipe of the public code, and its cost as images grow, in one table.

The public code keeps a module per head, probabilities instead of their logarithms, and takes the
gradient through all of it in float32; `Recipe` does that, with the batch in memory. With a checkout
of the public code (github.com/HHU-MMBS/TEMI-official-BMVC2023) its own heads and loss run too, in
the same loop. Ours is `temi.fit` on float16 in a file. Runs are interleaved, and the least CPU
seconds count. No test looks at these numbers.

    OMP_NUM_THREADS=1 .venv/bin/python tests/benchmarks/heads.py --growth 100000 400000 1000000
    OMP_NUM_THREADS=1 .venv/bin/python tests/benchmarks/heads.py --public-code ../TEMI
"""

import argparse
import importlib.util
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

sys.path.insert(0, str(Path(__file__).parents[2]))

from machine import processor, used

from workflow_scripts.lib.clustering import temi
from workflow_scripts.lib.clustering.methods import Task
from workflow_scripts.lib.device import has_bfloat16
from workflow_scripts.lib.embeddings import Embeddings, UnitRows, write_rows

DIM, CLUSTERS, NEIGHBOURS, BLOCK = 512, 100, 50, 10_000
CFG = {
    "seed": 0, "warmup_steps": 1, "batch_size": 1024, "base_lr": 1e-4, "standardise": False,
    "heads": 16, "hidden": 512, "bottleneck": 256, "temperature": 0.1, "teacher_momentum": 0.996,
    "neighbours": NEIGHBOURS, "beta": 0.6, "prior_momentum": 0.9,
}  # fmt: skip


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        hidden, bottleneck = CFG["hidden"], CFG["bottleneck"]
        self.layers = nn.Sequential(
            nn.Linear(DIM, hidden), nn.GELU(), nn.Linear(hidden, bottleneck)
        )
        self.last = weight_norm(nn.Linear(bottleneck, CLUSTERS, bias=False))

    def forward(self, x):
        return self.last(nn.functional.normalize(self.layers(x), dim=-1))


class Recipe:
    """TEMI's training as its paper and public code describe it, head by head."""

    def __init__(self):
        torch.manual_seed(0)
        self.student, self.teacher = (
            nn.ModuleList([Head() for _ in range(CFG["heads"])]) for _ in range(2)
        )
        self.teacher.load_state_dict(self.student.state_dict())
        self.optimiser = torch.optim.AdamW(self.student.parameters(), weight_decay=1e-4)
        self.prior = torch.full((CFG["heads"], CLUSTERS), 1 / CLUSTERS)

    def step(self, x):
        """Train on x: float32 [2B, d], images above their neighbours."""
        loss = self.loss(x)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        with torch.no_grad():
            momentum = CFG["teacher_momentum"]
            pairs = zip(self.student.parameters(), self.teacher.parameters(), strict=True)
            for one, other in pairs:
                other.mul_(momentum).add_((1 - momentum) * one)

    def loss(self, x):
        with torch.no_grad():
            outputs = [head(x) for head in self.teacher]
            teacher = [(out / CFG["temperature"]).softmax(-1).chunk(2) for out in outputs]
            for h, (a, b) in enumerate(teacher):
                mean = (a.sum(0) + b.sum(0)) / len(x)
                self.prior[h] = self.prior[h] * CFG["prior_momentum"]
                self.prior[h] += (1 - CFG["prior_momentum"]) * mean
            weight = sum((a * b).sum(-1) for a, b in teacher) / len(teacher)
        losses = []
        outputs = [head(x) for head in self.student]
        for out, (t_a, t_b), prior in zip(outputs, teacher, self.prior, strict=True):
            s_a, s_b = (out / CFG["temperature"]).softmax(-1).chunk(2)
            for s, t in ((s_b, t_a), (s_a, t_b)):
                mutual = -((s * t) ** CFG["beta"] / prior).sum(-1).log()
                losses.append((weight * mutual).mean() / 2)
        return sum(losses) / CFG["heads"]


class PublicCode(Recipe):
    """The heads and the loss of a checkout of the public code."""

    def __init__(self, folder):
        torch.manual_seed(0)
        sys.path.insert(0, str(folder))
        import losses  # the checkout's

        # Its package imports what makes embeddings; the heads alone need none of that.
        path = Path(folder, "model_builders/multi_head.py")
        spec = importlib.util.spec_from_file_location("multi_head", path)
        heads = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(heads)
        shape = {
            "in_dim": DIM, "out_dim": CLUSTERS, "nlayers": 2, "norm_last_layer": False,
            "hidden_dim": CFG["hidden"], "bottleneck_dim": CFG["bottleneck"],
        }  # fmt: skip
        self.student, self.teacher = (heads.MultiHead(shape, CFG["heads"]) for _ in range(2))
        self.teacher.load_state_dict(self.student.state_dict())
        self.optimiser = torch.optim.AdamW(self.student.parameters(), weight_decay=1e-4)
        self._loss = losses.TEMI(
            num_heads=CFG["heads"], probs_momentum=CFG["prior_momentum"], beta=CFG["beta"],
            out_dim=CLUSTERS, batchsize=CFG["batch_size"], nepochs=1, warmup_teacher_temp_epochs=0,
            warmup_teacher_temp=CFG["temperature"], teacher_temp=CFG["temperature"],
            student_temp=CFG["temperature"],
        )  # fmt: skip

    def loss(self, x):
        with torch.no_grad():
            teacher = self.teacher(x)
        return self._loss(self.student(x), teacher, epoch=0).mean()


def generated(folder, n):
    """Images of n unit rows in a float16 file, and a graph of random neighbours in memory."""
    rng = np.random.default_rng(0)

    def blocks():
        for start in range(0, n, BLOCK):
            rows = rng.standard_normal((min(BLOCK, n - start), DIM), dtype=np.float32)
            yield rows / np.linalg.norm(rows, axis=1, keepdims=True)

    path = Path(folder, f"{n}.npy")
    write_rows(path, blocks(), (n, DIM))
    images = Embeddings([UnitRows(np.load(path, mmap_mode="r"))], pa.table({}), {})
    return images, rng.integers(0, n, (n, NEIGHBOURS), dtype=np.int32), f"{path}.state"


def theirs(training):
    def run(images, graph, _, steps):
        rows, rng, trained = torch.from_numpy(images.array()), np.random.default_rng(0), training()
        size = CFG["batch_size"]
        started = used()
        for _ in range(steps):
            chosen = rng.choice(len(rows), size, replace=False)
            nearby = graph[chosen, rng.integers(0, NEIGHBOURS, size)]
            trained.step(torch.cat([rows[chosen], rows[nearby]]))
        return (used() - started) / steps

    return run


def ours(precision):
    def run(images, graph, state, steps):
        cfg = CFG | {"steps": steps, "precision": precision}
        started = used()
        temi.fit(Task(images, CLUSTERS, cfg, graph, state, ""))
        return (used() - started) / steps

    return run


def least(runs, data, steps, rounds):
    """The least CPU seconds of a step over the rounds: name -> seconds."""
    found = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            found[name].append(run(*data, steps))
    return {name: min(seconds) for name, seconds in found.items()}


def main(rows, growth, steps, rounds, public_code):
    precisions = ["float32"] + ["bfloat16"] * has_bfloat16(torch.device("cpu"))
    runs = {"recipe of the public code, float32": theirs(Recipe)}
    if public_code:
        runs["the public code, float32"] = theirs(lambda: PublicCode(public_code))
    runs |= {f"ours, {precision}": ours(precision) for precision in precisions}
    print(f"{processor()}, torch {torch.__version__};")
    print(f"d {DIM}, K {CLUSTERS}, {CFG['heads']} heads, ", end="")
    print(f"{CFG['batch_size']} pairs; {steps} steps, {rounds} rounds\n")
    print(
        "| TEMI | images | CPU s / step | CPU s / epoch | ratio |\n| --- | --: | --: | --: | --: |"
    )
    with tempfile.TemporaryDirectory() as folder:
        for n in (rows, *growth):
            data = generated(folder, n)
            seconds = least(runs, data, steps, rounds if n == rows else 1)
            base = next(iter(seconds.values()))
            for name, step in seconds.items():
                epoch = step * (n // CFG["batch_size"])
                print(
                    f"| {name} | {n:,} | {step:.3f} | {epoch:.1f} | {step / base:.2f} |", flush=True
                )
            runs = dict(list(runs.items())[-1:])  # growth: of the last line alone


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000, help="images of the comparison")
    parser.add_argument("--growth", type=int, nargs="*", default=[100_000, 400_000])
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    code = os.environ.get("TEMI_CODE")
    parser.add_argument("--public-code", default=code, help="a checkout (default: $TEMI_CODE)")
    main(**vars(parser.parse_args()))
