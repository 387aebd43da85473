"""Nearest neighbours by cosine similarity: the pairs that TEMI and SCANv2 learn from.

Exact, or for very many rows among the rows of near cells alone (an inverted file: Sivic and
Zisserman, Video Google, ICCV 2003), whose recall is measured. Rows are streamed both as queries and
as what is searched, so that memory beyond the result does not grow with their number, unlike that
of an index of faiss.
"""

import faiss
import numpy as np

from workflow_scripts.lib.clustering.centroids import nearest
from workflow_scripts.lib.clustering.lloyd import lloyd
from workflow_scripts.lib.clustering.rows import blocks, sample_numbers
from workflow_scripts.lib.embeddings import Chosen
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.job import progress

BLOCK_ROWS = 65536  # queries, and rows that they are compared with, at a time
CELLS = {"spherical": True, "init": "random", "iterations": 10, "precision": "float32"}
ROWS_PER_CELL = 64  # that the cells are fitted on
RECALL_ROWS = 1000  # that the recall is measured on


def nearest_neighbours(rows, k):
    """The k most similar other rows of every row.

    rows: array-like [N, d] of unit norm, so the inner product is the cosine: len, shape, and
    [slice or row numbers] -> float32.
    Returns int32 [N, k], best first. A row is excluded from its own list by its index, so
    duplicates of it stay in.
    Raises InputError if k < 1 or N <= k.
    """
    _check(rows, k)
    search = _searcher()
    result = np.empty((len(rows), k), np.int32)
    for start in progress(range(0, len(rows), BLOCK_ROWS), unit="block"):
        own = np.arange(start, min(start + BLOCK_ROWS, len(rows)))
        result[own] = _of_rows(rows, own, k, search)
    return result


def neighbours_in_cells(rows, k, probes, seed=0):
    """Nearly the k most similar other rows of every row: those in the cells near its own.

    rows, k: as in `nearest_neighbours`. The cells are 4 sqrt(N) clusters by spherical k-means of a
    sample; the rows of a cell are compared exactly with those of the `probes` cells whose centroids
    are nearest to its own, or more, until they hold k other rows. The numbers are ours.
    Returns (int32 [N, k], best first; the recall: of RECALL_ROWS random rows, the share of their k
    nearest neighbours that were found).
    """
    _check(rows, k)
    search, n = _searcher(), len(rows)
    cells = min(n, round(4 * n**0.5))
    sample = Chosen(rows, sample_numbers(n, ROWS_PER_CELL * cells, seed))
    centroids, _ = lloyd(sample, cells, CELLS, seed)
    cell, _ = nearest(blocks(rows), centroids, spherical=True)
    order = np.argsort(cell, kind="stable").astype(np.int32)
    ends = np.cumsum(np.bincount(cell, minlength=cells))
    members = np.split(order, ends[:-1])
    result = np.empty((n, k), np.int32)
    for number in progress(range(cells), unit="cell"):
        if len(members[number]):
            near = _candidates(members, centroids, number, k, probes)
            own = members[number]
            found = search(_floats(rows, own), _floats(rows, near), k + 1)[1]
            result[own] = _without_self(near[found], own)
    chosen = sample_numbers(n, RECALL_ROWS, seed)
    exact = _of_rows(rows, chosen, k, search)
    hits = (exact[:, :, None] == result[chosen][:, None, :]).any(axis=2)
    return result, float(hits.mean())


def _check(rows, k):
    n = len(rows)
    if not 1 <= k < n:
        raise InputError(
            f"cannot find {k} neighbours among {n} images: set `neighbours` between 1 and {n - 1}"
        )


def _candidates(members, centroids, number, k, probes):
    """The rows, int32 ascending, of the cells that are nearest to one of them, itself included."""
    nearness = centroids @ centroids[number]
    nearness[number] = np.inf
    cells = np.argsort(-nearness, kind="stable")
    sizes = np.cumsum([len(members[cell]) for cell in cells])
    taken = max(probes, int(np.searchsorted(sizes, k + 1)) + 1)
    return np.sort(np.concatenate([members[cell] for cell in cells[:taken]]))


def _of_rows(rows, own, k, search):
    """The exact neighbours of the rows `own`, int [q]: int [q, k]. Of equal ones the first."""
    queries = _floats(rows, own)
    best = np.empty((len(own), 0), np.float32)
    ids = np.empty((len(own), 0), np.int64)
    for first in range(0, len(rows), BLOCK_ROWS):
        block = _floats(rows, slice(first, first + BLOCK_ROWS))
        cosines, found = search(queries, block, min(k + 1, len(block)))
        best, ids = np.hstack([best, cosines]), np.hstack([ids, found + first])
        if first:  # those of one block are in order
            order = np.argsort(-best, axis=1, kind="stable")[:, : k + 1]
            best, ids = (np.take_along_axis(array, order, axis=1) for array in (best, ids))
    return _without_self(ids, own)


def _floats(rows, numbers):
    return np.ascontiguousarray(rows[numbers], dtype=np.float32)


def _searcher():
    """A function (queries, rows, k) -> (cosines, row numbers) [queries, k], best first, on the GPU
    if there is one."""
    if faiss.get_num_gpus() == 0:
        return lambda queries, rows, k: faiss.knn(queries, rows, k, faiss.METRIC_INNER_PRODUCT)
    resources, metric = faiss.StandardGpuResources(), faiss.METRIC_INNER_PRODUCT
    return lambda queries, rows, k: faiss.knn_gpu(resources, queries, rows, k, metric=metric)


def _without_self(found, own):
    """Drop each query's own row from its k + 1 hits; the last hit if duplicates pushed it out."""
    is_self = found == own[:, None]
    is_self[~is_self.any(axis=1), -1] = True
    return found[~is_self].reshape(len(found), -1)
