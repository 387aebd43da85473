"""Embeddings in the plane, for a map of images."""

from importlib import import_module

import numpy as np

from workflow_scripts.lib.errors import InputError

THUMBNAILS = 2000  # of a map: half of them of the lowest scores, half sampled of the other images
AXES_ROWS = 10_000  # that PCA takes its axes from: of more images they hardly differ
# Projection -> (module, its distribution); both are extras of pyproject.toml.
EXTRAS = {"umap": ("umap", "umap-learn"), "tsne": ("openTSNE", "openTSNE")}


def project(images, method, seed=0):
    """Coordinates of embeddings in the plane, float32 [n, 2].

    images: float32 [n, d]. method: "pca", "umap" (McInnes et al., 2018) or "tsne" (van der Maaten
    and Hinton, 2008), the last two by cosine with their packages' defaults. seed: of both, and of
    PCA's choice of rows.
    Raises InputError if the package is not installed, or if there are too few images for it.
    """
    if method == "pca":
        return pca(images, seed)
    module, distribution = EXTRAS[method]
    try:
        package = import_module(module)
    except ImportError as error:
        raise InputError(
            f"config: map.projection: {method} needs {distribution}, which is not installed: "
            f'.venv/bin/uv pip install --python .venv/bin/python "{distribution}", or take pca'
        ) from error
    if len(images) < 4:
        raise InputError(f"config: map.projection: {method} needs 4 images or more; take pca")
    return _neighbour_embedding(package, method, images, seed).astype(np.float32)


def pca(images, seed=0):
    """The first two principal components of embeddings, float32 [n, 2].

    images: float32 [n, d]; of more than AXES_ROWS, so many rows give mean and axes. The largest
    coefficient of an axis is positive. A component that does not exist is 0.
    """
    rows = sampled(len(images), AXES_ROWS, seed)
    known = images[rows].astype(np.float64)
    mean = known.mean(axis=0)
    known -= mean
    _, axes = np.linalg.eigh(known.T @ known)  # in ascending order
    axes = axes[:, ::-1][:, :2]
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    found = np.zeros((len(images), 2), np.float32)
    found[:, : axes.shape[1]] = images @ axes.astype(np.float32) - mean @ axes
    return found


def sampled(total, size, seed=0):
    """Sorted row numbers of a random sample, int64 [min(total, size)]."""
    if total <= size:
        return np.arange(total)
    return np.sort(np.random.default_rng(seed).choice(total, size, replace=False))


def _neighbour_embedding(package, method, images, seed):
    """float [n, 2] by UMAP or openTSNE; one thread, so that equal inputs give equal results."""
    near = len(images) - 1
    if method == "umap":
        model = package.UMAP(
            n_neighbors=min(15, near), metric="cosine", init="pca", random_state=seed, n_jobs=1
        )
        return model.fit_transform(images)
    model = package.TSNE(perplexity=min(30, near / 3), metric="cosine", random_state=seed, n_jobs=1)
    return np.asarray(model.fit(images))


def chosen_rows(scores, limit=THUMBNAILS):
    """The images that get a picture: sorted row numbers [min(n, limit)].

    scores: float [n], NaN of images without one. Half have the lowest scores, if so many have a
    score; the others are a random sample.
    """
    order = np.argsort(scores, kind="stable")  # NaN last
    lowest = order[: min(limit // 2, np.isfinite(scores).sum())]
    rest = np.setdiff1d(np.arange(len(scores)), lowest)
    return np.union1d(lowest, rest[sampled(len(rest), limit - len(lowest))])
