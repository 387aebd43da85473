"""The nearest centroid of every row of a block, as a matrix product and an argmax.

In float32 by NumPy, or by torch on a GPU; in bfloat16 by torch, which processors with such products
compute several times faster. Products are summed in float32 either way. bfloat16 keeps 8 bits of
each number, which is too few for cosines that differ in the third digit. So the mean of the
centroids is subtracted first, which moves all similarities of a row by the same amount.
"""

import numpy as np

from workflow_scripts.lib.device import has_gpu, torch_device

TILE = 4_000_000  # similarities that are held at a time, 16 MB as float32
LEAST_ROWS = 1024  # of a product, so that reading the centroids does not take longer than it


def assigner(centroids, spherical, precision="float32"):
    """A function (rows float32 [b, d]) -> int64 [b], the nearest centroid of every row.

    centroids: float32 [k, d]. spherical: nearest by inner product, else by Euclidean distance. Of
    centroids that are equally near in this precision ("float32" or "bfloat16") the first, on a GPU
    any of them.
    """
    k = len(centroids)
    step = max(LEAST_ROWS, TILE // k)
    width = max(1, TILE // step)  # of many centroids some at a time
    similarities = _by_numpy if precision == "float32" and not has_gpu() else _by_torch
    best_of = similarities(centroids, spherical, precision)
    parts = [(first, best_of(first, first + width)) for first in range(0, k, width)]

    def assign_block(rows):
        found = np.empty(len(rows), np.int64)
        for i in range(0, len(rows), step):
            found[i : i + step] = _best_of_parts(parts, rows[i : i + step])
        return found

    return assign_block


def _best_of_parts(parts, rows):
    """The best centroid of every row, int64 [b]; parts: [(first centroid, function of `best`)]."""
    (_, best), *others = parts
    found, values = best(rows)
    for first, best in others:
        other, other_values = best(rows)
        better = other_values > values
        found[better], values[better] = other[better] + first, other_values[better]
    return found


def _by_numpy(centroids, spherical, _):
    """A function of a range of centroids -> function (rows) -> (best one in it, similarity)."""

    def best_of(first, last):
        part = centroids[first:last]
        offset = None if spherical else (part**2).sum(axis=1) / 2

        def best(rows):
            products = rows @ part.T
            if offset is not None:
                products -= offset
            found = products.argmax(axis=1)
            return found, products[np.arange(len(rows)), found]

        return best

    return best_of


def _by_torch(centroids, spherical, precision):
    """As `_by_numpy`."""
    import torch

    device, dtype = torch_device(), getattr(torch, precision)
    mean = centroids.mean(axis=0)

    def best_of(first, last):
        part = centroids[first:last] - mean
        factor = torch.from_numpy(np.ascontiguousarray(part.T)).to(device, dtype)
        offset = None if spherical else torch.from_numpy((part**2).sum(axis=1) / 2).to(device)

        def best(rows):
            rows = torch.from_numpy(rows if spherical else rows - mean).to(device)
            products = (rows.to(dtype) @ factor).float()
            if offset is not None:
                products -= offset
            if device.type == "cpu":  # the argmax of NumPy is several times faster
                products = products.numpy()
                found = products.argmax(axis=1)
                return found, products[np.arange(len(rows)), found]
            values, found = products.max(dim=1)
            return found.cpu().numpy(), values.cpu().numpy()

        return best

    return best_of
