"""OOD scores from image embeddings alone: no names, only the unlabelled training images."""

from dataclasses import dataclass

import numpy as np

from workflow_scripts.lib.arrays import array_namespace, beside, device
from workflow_scripts.lib.concepts.similarity import split_rows, top_concepts, top_of_rows
from workflow_scripts.lib.errors import Impossible
from workflow_scripts.lib.groups import group_sums, scatter_within

# Least share of the determinant and of the trace of S that must be left without an image.
SMALLEST = 1e-10


def knn(train, k=10):
    """Cosine to the k-th nearest training image (KNN-OOD, ICML 2022; there the distance, negated).

    train: the training images' `Embeddings`, streamed for every tile of images.
    k: our default is small, since k must stay below the images of a class to mean "in its midst"
        (the paper takes 50 for CIFAR-10, 1000 for ImageNet-1K).
    Returns the score function of (images [b, d], ..., own), whose scores are NumPy's. own: int [b],
    an image's row among the training images, -1 if it is none of them; None for all. A training
    image is no neighbour of itself, so its score is that of a fit without it; an exact copy with
    another id is a neighbour.
    Raises Impossible if there are fewer than k (other) training images.
    """
    if not 1 <= k <= train.rows:
        raise Impossible(f"knn: k = {k}, but there are {train.rows} training images; lower k")

    def score(images, positive_sims=None, negative_sims=None, own=None):
        seen = own is not None and (own >= 0).any()
        wanted = k + seen  # one more, since an image's own row may be among them
        if wanted > train.rows:
            raise Impossible(
                f"knn: k = {k}, but an image has {train.rows - 1} other training images; lower k"
            )
        ids, best = np.empty((len(images), 0), int), np.empty((len(images), 0), np.float32)
        start = 0
        for block in train.blocks():
            block = beside(block, images)
            found, cosines = top_concepts([images], block, min(wanted, len(block)))
            ids = np.concatenate([ids, start + found.astype(int)], axis=1)
            best = np.concatenate([best, cosines], axis=1)
            order, best = top_of_rows(best, min(wanted, best.shape[1]))
            ids = np.take_along_axis(ids, order, axis=1)
            start += len(block)
        if not seen:
            return best[:, -1]
        met = ((ids[:, :k] == own[:, None]) & (own >= 0)[:, None]).any(axis=1)
        return np.where(met, best[:, k], best[:, k - 1])

    return score


@dataclass(frozen=True)
class Gaussians:
    """The clusters of the training images as normal distributions; made by `fit_gaussians`.

    means: float64 [K, d], of the clusters with images. covariance: float64 [d, d], pooled.
    clusters: int [N], the row in `means` of every training image, -1 for images without a cluster;
        None where training images are never scored.
    """

    means: np.ndarray
    covariance: np.ndarray
    clusters: np.ndarray = None


def mahalanobis(clusters, shrinkage=0.01):
    """Negative squared Mahalanobis distance to the nearest cluster mean, one covariance for all.

    Lee et al. (NeurIPS 2018, eq. 1 and 2) with clusters in place of classes:
    max_c -(z - mu_c)^T S^-1 (z - mu_c), S = 1/N sum_i (z_i - mu_c(i)) (z_i - mu_c(i))^T, on the
    unit-norm embeddings. Our choice: S is (1 - shrinkage) S + shrinkage * tr(S) / d * I, since few
    images or collinear dimensions leave S without an inverse.

    A training image is left out of its cluster's mean and of S, exactly (`_left_out`): cheap enough
    that a cross-fit, whose scores would depend on the folds, has no advantage. A cluster of this
    image alone is gone then, and the image is measured against the others. Which images make up a
    cluster is not computed again, and so still knows the image.

    clusters: the `Gaussians` of the training images' clusters.
    Returns the score function of (images [b, d], ..., own); own as in `knn`.
    Raises Impossible if S, or S without a training image that is scored, has no inverse.
    """
    means, size = clusters.means, len(clusters.covariance)
    spectrum, basis = np.linalg.eigh(clusters.covariance)
    shrunk = (1 - shrinkage) * spectrum + shrinkage * spectrum.mean()
    if shrunk[0] <= size * np.finfo(float).eps * shrunk[-1]:
        raise Impossible(
            "mahalanobis: the covariance of the clusters has no inverse (few training images or "
            f"clusters of one image); raise shrinkage above {shrinkage} or take fewer clusters"
        )
    centre = means.mean(axis=0)
    whiten = basis / np.sqrt(shrunk)
    whitened = (means - centre) @ whiten
    fit = (centre, whiten, whitened, (whitened**2).sum(axis=1))

    def score(images, positive_sims=None, negative_sims=None, own=None):
        xp, start = array_namespace(images), 0
        scores = [xp.astype(images[:0, 0], xp.float32)]
        middle, turn, points, lengths = (beside(array, images) for array in fit)
        for part in split_rows([images], max(len(means), size)):
            part = xp.astype(part, xp.float64)
            z = (part - middle) @ turn
            distances = xp.sum(z**2, axis=1) + xp.min(lengths - 2 * z @ points.T, axis=1)
            if own is not None:
                rows = own[start : start + len(part)]
                cluster = np.where(rows >= 0, clusters.clusters[rows], -1)
                fitted = np.flatnonzero(cluster >= 0)
                places = beside(fitted, images)
                distances[places] = without(part[places], cluster[fitted])
            scores.append(-xp.astype(xp.clip(distances, min=0), xp.float32))
            start += len(part)
        return xp.concat(scores)

    without = None if clusters.clusters is None else _left_out(clusters, spectrum, basis, shrinkage)
    return score


def _left_out(gaussians, spectrum, basis, shrinkage):
    """Distances of training images to the nearest mean, each by a fit without the image.

    Without an image z of a cluster of n images with the mean m, u = z - m, the scatter N S is
    N S - n / (n - 1) u u^T and the mean is m - u / (n - 1). In the basis of S the shrunk covariance
    is then a diagonal matrix, which depends on z through the trace alone, less a multiple of u u^T;
    the Sherman-Morrison formula inverts it.

    spectrum, basis: eigenvalues and eigenvectors of the covariance.
    Returns a function of (images float64 [b, d], their clusters int [b]) that gives float64 [b].
    """
    counts = np.bincount(gaussians.clusters[gaussians.clusters >= 0])
    total, trace, size = int(counts.sum()), float(spectrum.sum()), len(spectrum)
    centre = gaussians.means.mean(axis=0)
    fit = (centre, basis, (gaussians.means - centre) @ basis, spectrum)

    def distances(images, cluster):
        xp = array_namespace(images)
        middle, turn, means, variances = (beside(array, images) for array in fit)
        own, n = beside(cluster, images), beside(counts[cluster].astype(float), images)
        z = (images - middle) @ turn
        u = z - means[own]
        ratio = n / xp.clip(n - 1, min=1)  # of a cluster of one image u is 0
        rest = (total * trace - ratio * xp.sum(u**2, axis=1)) / (total - 1)
        diagonal = (1 - shrinkage) * total / (total - 1) * variances
        inverse = 1 / (diagonal + (shrinkage * rest / size)[:, None])
        taken = (1 - shrinkage) * ratio / (total - 1)
        q = inverse * u
        length = xp.sum(u * q, axis=1)
        left = 1 - taken * length
        if xp.any(xp.minimum(left, rest / trace) < SMALLEST):
            raise Impossible(
                "mahalanobis: the covariance has no inverse without one of the training images "
                f"that are scored; raise shrinkage above {shrinkage} or take fewer clusters"
            )
        along = xp.sum(z * q, axis=1)[:, None] - q @ means.T
        found = inverse @ (means**2).T - 2 * (z * inverse) @ means.T
        found += xp.sum(z**2 * inverse, axis=1)[:, None] + (taken / left)[:, None] * along**2
        alone = ratio**2 * length / left
        rows = xp.arange(len(z), device=device(images))
        found[rows, own] = xp.where(n > 1, alone, xp.inf)
        return xp.min(found, axis=1)

    return distances


def fit_gaussians(train, clusters):
    """The `Gaussians` of the training images' clusters.

    train: the training images' `Embeddings`. clusters: int [N], of all their rows in order; images
        with -1 have no cluster and are left out. They need not be clusters of these embeddings.
    Raises Impossible if the clusters do not fit the images.
    """
    known = np.flatnonzero(clusters >= 0)
    rows = known if len(known) < len(clusters) else None
    codes = np.unique(clusters[known], return_inverse=True)[1]
    counts = np.bincount(codes)
    exact = (block.astype(np.float64) for block in train.blocks(rows=rows))
    means = group_sums(exact, codes, len(counts)) / counts[:, None]
    scatter = scatter_within(train.blocks(rows=rows), codes, means, np.ones(len(counts)))
    places = np.full(len(clusters), -1)
    places[known] = codes
    return Gaussians(means, scatter / len(known), places)
