"""The rows that k-means reads again and again: all of a set or a sample, streamed by blocks."""

import numpy as np

from workflow_scripts.lib.clustering.methods import check_k
from workflow_scripts.lib.embeddings import Chosen
from workflow_scripts.lib.errors import InputError

BLOCK_ROWS = 8192  # it fixes the order of sums, and so the bytes of the result
KEPT = 2**28  # bytes of float32 up to which rows are decoded once and kept in memory


def check_sample(size, k, n):
    """Raise InputError unless a sample of this size (0: all n images) can be put in k clusters."""
    if 0 < size < k:
        raise InputError(
            f"`sample` is {size}, too few images for `k`, {k}: raise `sample` or set it to 0, all "
            "images"
        )
    check_k(k, min(size, n) if size else n)


def sample_numbers(n, size, seed):
    """The row numbers of a random sample of n rows, int64 [size], ascending; all if size is 0."""
    if not 0 < size < n:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, size, replace=False))


def sample_rows(images, size, seed):
    """A random sample of Embeddings in their order, all of them if size is 0: an array-like
    [size, d] with len, shape and [slice or row numbers] -> float32; in memory if it is small."""
    rows = images.joined()
    if 0 < size < len(rows):
        rows = Chosen(rows, sample_numbers(len(rows), size, seed))
    kept = 4 * len(rows) * rows.shape[1] <= KEPT
    return np.asarray(rows[:], np.float32) if kept else rows


def blocks(rows, numbers=None):
    """Yield an array-like's rows [n, d] as float32 blocks; numbers: of the blocks, None for all."""
    for number in range(number_of_blocks(rows)) if numbers is None else numbers:
        block = rows[number * BLOCK_ROWS : (number + 1) * BLOCK_ROWS]
        yield np.ascontiguousarray(block, dtype=np.float32)


def number_of_blocks(rows):
    """The number of all blocks."""
    return -(-len(rows) // BLOCK_ROWS)
