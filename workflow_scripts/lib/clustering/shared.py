"""Batches that several processes share: each computes on its part, means are those of the whole.

All processes begin with the same weights and draw the same batches, so a training by several
processes is that of one, up to the order of sums. In one process nothing is added, bit by bit.
"""

import torch

from workflow_scripts.lib import distributed
from workflow_scripts.lib.errors import InputError


def join(n):
    """Join the processes for batches of n images. Raises InputError if there are fewer of these."""
    if n < distributed.size():
        raise InputError(
            f"a batch of {n} images is too small for {distributed.size()} processes: lower "
            "`processes` or raise `batch_size`"
        )
    if distributed.size() > 1:
        distributed.connect()


def own(rows):
    """This process's part of the rows of a batch."""
    part = distributed.part(len(rows))
    return rows[part.start : part.stop]


def share(n):
    """Which part of n images of a batch this process has; that of all is 1."""
    return len(distributed.part(n)) / n


def whole_mean(mean, part):
    """The mean over a batch, of its means over the processes' parts.

    mean: tensor, over this process's part. part: its `share`. The gradient is that of this
    process's mean alone: times the share, and summed over all (`sum_gradients`), it is the batch's.
    """
    if distributed.size() == 1:
        return mean
    whole = part * mean.detach()
    distributed.total(whole)
    return whole + (mean - mean.detach())


def sum_gradients(optimiser):
    """Sum the gradients of an optimiser's parameters over all processes."""
    if distributed.size() > 1:
        for group in optimiser.param_groups:
            distributed.total(*(p.grad for p in group["params"] if p.grad is not None))


def sum_log(loss, used):
    """Sum an epoch's losses [H], and mark clusters [H, K] that any process used, in place."""
    if distributed.size() > 1:
        counts = used.to(torch.int32)
        distributed.total(loss, counts)
        used.copy_(counts > 0)
