"""The nearest centroid of every row of a block, as a matrix product and an argmax.

In float32 by NumPy, or by torch on a GPU; in bfloat16 by torch, which processors with such products
compute several times faster. Products are summed in float32 either way. bfloat16 keeps 8 bits of
each number, which is too few for cosines that differ in the third digit. So the mean of the
centroids is subtracted first, which moves all similarities of a row by the same amount.
"""

import numpy as np

from workflow_scripts.lib.device import has_bfloat16, has_gpu, torch_device

TILE = 4_000_000  # similarities that are held at a time, 16 MB as float32


def resolved(precision):
    """The precision that "auto" stands for here, "float32" or "bfloat16"; others as they are."""
    if precision != "auto":
        return precision
    return "bfloat16" if has_bfloat16(torch_device()) else "float32"


def assigner(centroids, spherical, precision="float32"):
    """A function (rows float32 [b, d]) -> int64 [b], the nearest centroid of every row.

    centroids: float32 [k, d]. spherical: nearest by inner product, else by Euclidean distance. Of
    centroids that are equally near in this precision ("float32" or "bfloat16") the first.
    """
    similarities = _by_numpy if precision == "float32" and not has_gpu() else _by_torch
    best = similarities(centroids, spherical, precision)
    step = max(1, TILE // len(centroids))

    def assign_block(rows):
        parts = [best(rows[i : i + step]) for i in range(0, len(rows), step)]
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    return assign_block


def _by_numpy(centroids, spherical, _):
    offset = None if spherical else (centroids**2).sum(axis=1) / 2

    def best(rows):
        products = rows @ centroids.T
        if offset is not None:
            products -= offset
        return products.argmax(axis=1)

    return best


def _by_torch(centroids, spherical, precision):
    import torch

    device, dtype = torch_device(), getattr(torch, precision)
    mean = centroids.mean(axis=0)
    centred = centroids - mean
    factor = torch.from_numpy(np.ascontiguousarray(centred.T)).to(device, dtype)
    offset = None if spherical else torch.from_numpy((centred**2).sum(axis=1) / 2).to(device)

    def best(rows):
        rows = torch.from_numpy(rows if spherical else rows - mean).to(device)
        products = (rows.to(dtype) @ factor).float()
        if offset is not None:
            products -= offset
        if device.type == "cpu":  # the argmax of NumPy is several times faster
            return products.numpy().argmax(axis=1)
        return products.argmax(dim=1).cpu().numpy()

    return best
