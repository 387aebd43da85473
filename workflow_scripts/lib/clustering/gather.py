"""Batches of embeddings on the device that trains, by row numbers.

Without a card, rows are gathered from the memory map. On a card all embeddings are kept there if
they fit; if not, a thread gathers the next batch in page-locked memory while the card computes.
Both give the same bytes.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from workflow_scripts.lib.embeddings import BLOCK

SHARE = 0.5  # of the card's free memory that embeddings may take
END = object()


def as_tensor(rows, device):
    """An array of rows as a float32 tensor on the device, copied only where it must be."""
    return torch.from_numpy(np.require(rows, np.float32, ["C", "W"])).to(device)


def batches(arrays, numbered, device):
    """Yield (step, views): the rows of every array that have these numbers, as tensors.

    arrays: list of array-likes [N, d_s] of float32 or float16, or of the same as tensors, see
    `resident`. numbered: iterable of (step, int64 [n]). views: list of float32 [n, d_s].
    """
    streamed = [array for array in arrays if not isinstance(array, torch.Tensor)]
    found = ((step, [_rows(array, rows, device) for array in arrays]) for step, rows in numbered)
    return ahead(found) if streamed and device.type == "cuda" else found


def resident(arrays, device):
    """The arrays as float32 tensors on the device, if they are to be kept there; else as they are.

    Written block by block, so that the host never holds them.
    """
    if not fits(arrays, device):
        return arrays
    return [_copied(array, device) for array in arrays]


def fits(arrays, device):
    """Whether the device is a card with room for these arrays."""
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return sum(4 * len(array) * array.shape[1] for array in arrays) <= SHARE * free


def ahead(items):
    """Yield items, each while a thread makes the next one."""
    items = iter(items)
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, END)
        while (item := coming.result()) is not END:
            coming = pool.submit(next, items, END)
            yield item


def _copied(array, device):
    rows = torch.empty(len(array), array.shape[1], device=device)
    for start in range(0, len(array), BLOCK):
        numbers = np.arange(start, min(start + BLOCK, len(array)))
        rows[start : start + BLOCK] = as_tensor(array[numbers], device)
    return rows


def _rows(array, numbers, device):
    if isinstance(array, torch.Tensor):
        return array[torch.from_numpy(numbers).to(device, non_blocking=True)]
    if device.type == "cpu":
        return as_tensor(array[numbers], device)
    return as_tensor(array[numbers], "cpu").pin_memory().to(device, non_blocking=True)
