"""Scores by slow loops, and embeddings for tests of detectors."""

import math

import numpy as np
import pyarrow as pa
from scipy.special import softmax

from workflow_scripts.lib.embeddings import Embeddings


def unit(rng, n, d=16):
    x = rng.standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def slow_neglabel(positive_sims, negative_sims, temperature, groups, seed):
    """NegLabel's steps one by one: drop, shuffle, group, softmax per group, mass, mean."""
    size = negative_sims.shape[1] // groups
    order = np.random.default_rng(seed).permutation(groups * size)
    scores = []
    for positive, negative in zip(positive_sims, negative_sims, strict=True):
        masses = []
        for g in range(groups):
            members = [float(negative[j]) for j in order[g * size : (g + 1) * size]]
            probabilities = softmax(np.array([*map(float, positive), *members]) / temperature)
            masses.append(probabilities[: len(positive)].sum())
        scores.append(sum(masses) / groups)
    return np.array(scores)


def slow_entropy(sims, temperature):
    scores = []
    for row in sims:
        weights = [math.exp((float(s) - float(max(row))) / temperature) for s in row]
        q = [w / sum(weights) for w in weights]
        scores.append(sum(x * math.log(x) for x in q if x > 0))
    return scores


def slow_mahalanobis(images, train, clusters, shrinkage):
    """Means, pooled covariance and distances image by image."""
    train, images = train.astype(float), images.astype(float)
    means = {c: train[clusters == c].mean(axis=0) for c in set(clusters.tolist())}
    covariance = np.zeros((train.shape[1], train.shape[1]))
    for z, c in zip(train, clusters.tolist(), strict=True):
        covariance += np.outer(z - means[c], z - means[c]) / len(train)
    size = len(covariance)
    identity = np.trace(covariance) / size * np.eye(size)
    inverse = np.linalg.inv((1 - shrinkage) * covariance + shrinkage * identity)
    return [max(-(z - m) @ inverse @ (z - m) for m in means.values()) for z in images]


def embeddings(arrays):
    """Stored embeddings of images without ids."""
    return Embeddings(arrays, pa.table({"image_id": [""] * sum(map(len, arrays))}), {})
