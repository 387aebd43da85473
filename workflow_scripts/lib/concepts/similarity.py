"""Zero-shot similarity: the best matching concepts of every image, over a whole corpus.

The images are streamed, so the N x V matrix of cosines never exists. Embeddings are NumPy arrays
or, on a graphics card, torch tensors (`lib/arrays.py`). Not by faiss.knn, which does not say which
of equal cosines it returns.
"""

import numpy as np

from workflow_scripts.lib.arrays import array_namespace, beside, device, to_numpy
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
    xp = array_namespace(embeddings)
    if not xp.all(xp.isfinite(embeddings)):
        raise InputError(f"{name} hold NaN or infinite values; embed them again")


def top_concepts(blocks, texts, m):
    """The m concepts with the highest cosine for every image (ClusterMine step 2, m = 1).

    blocks: iterable of float32 [b, d] unit-norm image embeddings.
    texts: float32 [V, d] unit-norm concept embeddings. The work is done where they are.
    Returns ids int32 [N, m] and cosines float32 [N, m] of NumPy, best first. Of equal float32
    cosines the lower concept id comes first, and is the one kept at the cut.
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
        part_ids, part_cosines = top_of_rows(beside(part, texts) @ texts.T, m)
        ids.append(to_numpy(part_ids))
        cosines.append(to_numpy(part_cosines))
    return np.concatenate(ids), np.concatenate(cosines)


def top_of_rows(sims, m):
    """The m largest values of each row, exactly and much faster than a partial sort of the rows.

    sims: float [n, v] without NaN, 1 <= m <= v; stored by rows or by columns.
    Returns ids int32 [n, m] and values [n, m], best first. Of equal values the lower id comes
    first, and is the one kept at the cut.

    Columns are put into at least m groups. The m-th largest group maximum is a lower bound of the
    row's m-th largest value, so only the few values that reach it need sorting.
    """
    xp, n, v = array_namespace(sims), *sims.shape
    width = min(GROUP, v // m)
    groups = v // width
    parts = xp.reshape(sims[:, : groups * width], (n, width, groups))
    bound = xp.sort(xp.max(parts, axis=1), axis=1, stable=False)[:, groups - m]
    (reached,) = xp.nonzero(xp.reshape(sims >= bound[:, None], (-1,)))
    rows, ids = reached // v, reached % v
    values = sims[rows, ids]
    order = xp.argsort(-values, stable=True)
    order = order[xp.argsort(rows[order], stable=True)]
    first = xp.searchsorted(rows, xp.arange(n, dtype=rows.dtype, device=device(sims)))
    best = order[first[:, None] + xp.arange(m, device=device(sims))]
    return xp.astype(ids[best], xp.int32), values[best]
