"""Groups of rows, by cluster or by class: sums over their embeddings in one stream, and lists."""

import numpy as np
from scipy.sparse import csr_array

from workflow_scripts.lib.errors import InputError


def group_sums(blocks, groups, k):
    """Sum of the embeddings of each group: float64 [k, d].

    blocks: iterable of float [b, d], streamed; a block is summed in its own precision, the blocks
    in float64. groups: int [N], the group of every row in order, values 0..k-1.
    Raises InputError if the blocks have not N rows.
    """
    sums = 0.0
    for block, own in with_groups(blocks, groups):
        ones = np.ones(len(own), block.dtype)
        members = csr_array((ones, (own, np.arange(len(own)))), shape=(k, len(own)))
        sums = np.add(sums, members @ block, dtype=np.float64)
    return sums


def scatter_within(blocks, groups, means, weights):
    """sum_i w_c(i) (x_i - m_c(i)) (x_i - m_c(i))^T: the weighted scatter, float64 [d, d].

    blocks, groups: as in `group_sums`. means: float64 [k, d], m. weights: float [k], w of each
    group: 1 / N for the covariance of all rows around their groups' means, 1 / (k n_c) for the mean
    over the groups of their covariances.
    """
    scatter = np.zeros((means.shape[1], means.shape[1]))
    roots = np.sqrt(weights)
    for block, own in with_groups(blocks, groups):
        rest = (block - means[own]) * roots[own, None]
        scatter += rest.T @ rest
    return scatter


def split_groups(values, groups, k):
    """The values of each group: a list of k arrays. groups: int [n], sorted, values 0..k-1."""
    return np.split(values, np.searchsorted(groups, np.arange(1, k)))


def with_groups(blocks, groups):
    """Iterate over (block, the groups of its rows).

    blocks, groups: as in `group_sums`. Raises InputError if the blocks have not N rows.
    """
    row = 0
    for block in blocks:
        own = groups[row : row + len(block)]
        row += len(block)
        if len(own) == len(block):
            yield block, own
    if row != len(groups):
        raise InputError(f"{row} images but {len(groups)} cluster assignments; cluster them again")
