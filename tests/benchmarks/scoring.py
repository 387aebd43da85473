"""Matching to a corpus and scoring by NegLabel, beside the bare products that they need.

    OMP_NUM_THREADS=1 .venv/bin/python tests/benchmarks/scoring.py

Matching: the best concepts of every image (m = 1, 5, 10), beside the matrix product alone and
`faiss.knn`. Scoring: NegLabel's mass of positives against 100 groups of negatives, beside its
formula as published, a softmax over positives and each group. Rows are random unit vectors of 512
dimensions. Runs are interleaved, and the least CPU seconds of the rounds count. No test looks at
these numbers.
"""

import argparse
import sys
from pathlib import Path

import faiss
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from machine import cpu_seconds, processor

from workflow_scripts.lib.concepts.similarity import top_concepts
from workflow_scripts.lib.detection.texts import neglabel

BLOCK = 8192
GROUPS = 100


def unit_rows(n, d, seed):
    rows = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def blocks(rows):
    return (rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK))


def bare_product(images, texts):
    for block in blocks(images):
        for start in range(0, len(texts), BLOCK):
            block @ texts[start : start + BLOCK].T


def as_published(positive_sims, negative_sims, temperature=0.01):
    """NegLabel's score: mean over groups of the softmax mass of the positives, one by one."""
    size = negative_sims.shape[1] // GROUPS
    order = np.random.default_rng(0).permutation(GROUPS * size).reshape(GROUPS, size)
    total = 0
    for group in order:
        logits = np.hstack([positive_sims, negative_sims[:, group]]) / temperature
        mass = np.exp(logits - logits.max(axis=1, keepdims=True))
        total = total + mass[:, : positive_sims.shape[1]].sum(axis=1) / mass.sum(axis=1)
    return total / GROUPS


def matching(options):
    images, texts = unit_rows(options.images, 512, 0), unit_rows(options.words, 512, 1)
    runs = {"the bare product": lambda: bare_product(images, texts)}
    for m in (1, 5, 10):
        runs[f"ours, m = {m}"] = lambda m=m: top_concepts(blocks(images), texts, m)
        runs[f"faiss.knn, m = {m}"] = lambda m=m: faiss.knn(
            images, texts, m, faiss.METRIC_INNER_PRODUCT
        )
    return runs


def scoring(options):
    images = unit_rows(options.images // 4, 512, 0)
    positives = images @ unit_rows(1000, 512, 2).T
    negatives = images @ unit_rows(10_000, 512, 3).T
    return {
        "as published": lambda: as_published(positives, negatives),
        "ours": lambda: neglabel(positives, negatives, temperature=0.01, groups=GROUPS),
    }


def table(title, runs, rounds):
    seconds = {}
    for _ in range(rounds):
        for name, run in runs.items():
            seconds[name] = min(cpu_seconds(run), seconds.get(name, np.inf))
    first = next(iter(seconds))
    print(f"| {title} | CPU s | of {first} |\n| --- | ---: | ---: |")
    for name, spent in seconds.items():
        print(f"| {name} | {spent:.2f} | {spent / seconds[first]:.2f} |")
    print()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=8192)
    parser.add_argument("--words", type=int, default=70_000)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    print(f"{options.images:,} images, faiss {faiss.__version__}, numpy {np.__version__};")
    print(f"least of {options.rounds} rounds; {processor()}\n")
    table(f"matching to {options.words:,} words", matching(options), options.rounds)
    title = f"NegLabel of {options.images // 4:,} images, 1,000 and 10,000 words"
    table(title, scoring(options), options.rounds)


if __name__ == "__main__":
    main()
