"""Exact nearest neighbours by cosine similarity: the pairs that TEMI and SCANv2 learn from."""

import faiss
import numpy as np

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.job import progress

QUERY_ROWS = 8192


def nearest_neighbours(embeddings, k):
    """The k most similar other rows of every row.

    embeddings: float32 [N, d], unit norm, so the inner product is the cosine.
    Returns int32 [N, k], best first. A row is excluded from its own list by its index, so
    duplicates of it stay in. Queries are streamed: memory beyond the embeddings is
    QUERY_ROWS x (k + 1). On a GPU the embeddings must fit into its memory.
    Raises InputError if k < 1 or N <= k.
    """
    n = len(embeddings)
    if not 1 <= k < n:
        raise InputError(
            f"cannot find {k} neighbours among {n} images: set `neighbours` between 1 and {n - 1}"
        )
    embeddings = np.ascontiguousarray(embeddings, dtype=np.float32)
    search = _searcher(embeddings)
    result = np.empty((n, k), dtype=np.int32)
    for start in progress(range(0, n, QUERY_ROWS), unit="block"):
        found = search(embeddings[start : start + QUERY_ROWS], k + 1)
        result[start : start + QUERY_ROWS] = _without_self(found, start)
    return result


def _searcher(embeddings):
    """A function (queries, k) -> int64 [queries, k], best first, on the GPU if there is one."""
    if faiss.get_num_gpus() == 0:
        return lambda queries, k: faiss.knn(queries, embeddings, k, faiss.METRIC_INNER_PRODUCT)[1]
    index = faiss.GpuIndexFlatIP(faiss.StandardGpuResources(), embeddings.shape[1])
    index.add(embeddings)
    return lambda queries, k: index.search(queries, k)[1]


def _without_self(found, start):
    """Drop each query's own row from its k + 1 hits; the last hit if duplicates pushed it out."""
    is_self = found == np.arange(start, start + len(found))[:, None]
    is_self[~is_self.any(axis=1), -1] = True
    return found[~is_self].reshape(len(found), -1)
