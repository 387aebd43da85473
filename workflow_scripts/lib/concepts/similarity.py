"""Zero-shot similarity: the best matching concepts of every image, over a whole corpus.

The images are streamed, so the N x V matrix of cosines never exists.
"""

import numpy as np

from workflow_scripts.lib.errors import InputError

# Cosines held at a time: 64 MB of float32, still enough rows for a fast matrix product.
TILE = 16_000_000
# Columns per group in `top_of_rows`.
GROUP = 64


def split_rows(blocks, columns):
    """Cut arrays along their first axis, so that a part's rows x columns stay within TILE."""
    rows = max(1, TILE // max(1, columns))
    for block in blocks:
        for start in range(0, len(block), rows):
            yield block[start : start + rows]


def tiles(blocks, texts):
    """Cut image blocks so that their product with each of the text embeddings fits into TILE.

    blocks: iterable of float32 [b, d]. texts: dict of name -> float32 [V, d], V > 0.
    Raises InputError, naming the texts, where widths differ or a value is NaN or infinite.
    """
    for name, embeddings in texts.items():
        _check_finite(embeddings, f"the embeddings of the {name}")
    for part in split_rows(blocks, max(len(embeddings) for embeddings in texts.values())):
        for name, embeddings in texts.items():
            if part.shape[1] != embeddings.shape[1]:
                raise InputError(
                    f"the image embeddings have {part.shape[1]} dimensions, the {name} "
                    f"{embeddings.shape[1]}; embed both with the same encoder"
                )
        _check_finite(part, "the image embeddings")
        yield part


def _check_finite(embeddings, name):
    if not np.isfinite(embeddings).all():
        raise InputError(f"{name} hold NaN or infinite values; embed them again")


def top_concepts(blocks, texts, m):
    """The m concepts with the highest cosine for every image (ClusterMine step 2, m = 1).

    blocks: iterable of float32 [b, d] unit-norm image embeddings.
    texts: float32 [V, d] unit-norm concept embeddings.
    Returns ids int32 [N, m] and cosines float32 [N, m], best first. Of equal float32 cosines the
    lower concept id comes first, and is the one kept at the cut.
    Raises InputError if m is not in 1..V, widths differ, or a value is not finite.
    """
    if not 1 <= m <= len(texts):
        raise InputError(
            f"top_concepts: m = {m} concepts per image asked for, but the corpus has {len(texts)}; "
            f"choose m between 1 and {len(texts)}"
        )
    ids = [np.empty((0, m), np.int32)]
    cosines = [np.empty((0, m), np.float32)]
    for part in tiles(blocks, {"concepts": texts}):
        part_ids, part_cosines = top_of_rows(part @ texts.T, m)
        ids.append(part_ids)
        cosines.append(part_cosines)
    return np.concatenate(ids), np.concatenate(cosines)


def top_of_rows(sims, m):
    """The m largest values of each row, exactly and much faster than a partial sort of the rows.

    sims: float [n, v] without NaN, 1 <= m <= v; stored by rows or by columns.
    Returns ids int32 [n, m] and values [n, m], best first. Of equal values the lower id comes
    first, and is the one kept at the cut.

    Columns are put into at least m groups. The m-th largest group maximum is a lower bound of the
    row's m-th largest value, so only the few values that reach it need sorting.
    """
    n, v = sims.shape
    width = min(GROUP, v // m)
    groups = v // width
    maxima = sims[:, : groups * width].reshape(n, width, groups).max(axis=1)
    bound = np.partition(maxima, groups - m, axis=1)[:, groups - m]
    reached = sims >= bound[:, None]
    if reached.flags.c_contiguous:
        rows, ids = np.divmod(np.flatnonzero(reached), v)
    else:  # in the order of the memory, which is faster
        ids, rows = np.divmod(np.flatnonzero(reached.T), n)
    values = sims[rows, ids]
    order = np.lexsort((ids, -values, rows))
    best = np.searchsorted(rows[order], np.arange(n))[:, None] + np.arange(m)
    return ids[order][best].astype(np.int32), values[order][best]
