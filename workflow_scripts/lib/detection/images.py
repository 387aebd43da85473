"""OOD scores from image embeddings alone: no names, only the unlabelled training images."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from workflow_scripts.lib.concepts.similarity import split_rows, top_concepts, top_of_rows
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.groups import group_sums, scatter_within


def knn(train, k=10):
    """Cosine to the k-th nearest training image (KNN-OOD, ICML 2022; there the distance, negated).

    train: the training images' `Embeddings`, streamed for every tile of images.
    k: our default is small, since k must stay below the images of a class to mean "in its midst"
        (the paper takes 50 for CIFAR-10, 1000 for ImageNet-1K).
    Returns the score function of (images [b, d], ...).
    Raises InputError if there are fewer than k training images.
    """
    if not 1 <= k <= train.rows:
        raise InputError(f"knn: k = {k}, but there are {train.rows} training images; lower k")

    def score(images, *_):
        best = np.empty((len(images), 0), np.float32)
        for block in train.blocks():
            _, cosines = top_concepts([images], block, min(k, len(block)))
            best = np.concatenate([best, cosines], axis=1)
            _, best = top_of_rows(best, min(k, best.shape[1]))
        return best[:, -1]

    return score


@dataclass(frozen=True)
class Gaussians:
    """The clusters of the training images as normal distributions; made by `fit_gaussians`.

    means: float64 [K, d], of the clusters with images. covariance: float64 [d, d], pooled.
    """

    means: np.ndarray
    covariance: np.ndarray


def mahalanobis(clusters, shrinkage=0.01):
    """Negative squared Mahalanobis distance to the nearest cluster mean, one covariance for all.

    Lee et al. (NeurIPS 2018, eq. 1 and 2) with clusters in place of classes:
    max_c -(z - mu_c)^T S^-1 (z - mu_c), S = 1/N sum_i (z_i - mu_c(i)) (z_i - mu_c(i))^T, on the
    unit-norm embeddings. Our choice: S is (1 - shrinkage) S + shrinkage * tr(S) / d * I, since few
    images or collinear dimensions leave S without an inverse.

    clusters: the `Gaussians` of the training images' clusters.
    Returns the score function of (images [b, d], ...).
    Raises InputError if S has no inverse.
    """
    means, covariance = clusters.means, clusters.covariance
    size = len(covariance)
    scale = np.trace(covariance) / size
    covariance = (1 - shrinkage) * covariance + shrinkage * scale * np.eye(size)
    try:
        root = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError as error:
        raise InputError(
            "mahalanobis: the covariance of the clusters has no inverse (few training images or "
            f"clusters of one image); raise shrinkage above {shrinkage} or take fewer clusters"
        ) from error
    centre = means.mean(axis=0)
    whiten = solve_triangular(root, np.eye(size), lower=True).T
    whitened = (means - centre) @ whiten
    norms = (whitened**2).sum(axis=1)

    def score(images, *_):
        scores = [np.empty(0, np.float32)]
        for part in split_rows([images], max(len(means), size)):
            z = (part.astype(np.float64) - centre) @ whiten
            distances = (z**2).sum(axis=1) + (norms - 2 * z @ whitened.T).min(axis=1)
            scores.append(-np.maximum(distances, 0).astype(np.float32))
        return np.concatenate(scores)

    return score


def fit_gaussians(train, clusters):
    """The `Gaussians` of the training images' clusters.

    train: the training images' `Embeddings`. clusters: int [N], of all their rows in order; images
        with -1 have no cluster and are left out. They need not be clusters of these embeddings.
    Raises InputError if the clusters do not fit the images.
    """
    known = np.flatnonzero(clusters >= 0)
    rows = known if len(known) < len(clusters) else None
    codes = np.unique(clusters[known], return_inverse=True)[1]
    counts = np.bincount(codes)
    exact = (block.astype(np.float64) for block in train.blocks(rows=rows))
    means = group_sums(exact, codes, len(counts)) / counts[:, None]
    scatter = scatter_within(train.blocks(rows=rows), codes, means, np.ones(len(counts)))
    return Gaussians(means, scatter / len(known))
