"""Negative concepts: the part of a text corpus that is used against the positives.

Every method returns (ids int64 [M], similarity float32 [M]): the chosen concepts in their final
order and, for each, how close it is to the positives: the `quantile` of its cosines to them.
A new method is one function and one entry in METHODS.
"""

import numpy as np

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.similarity import split_rows


def rest(texts, positives, pos, quantile=0.95, limit=None):
    """All of the corpus but the positives, in corpus order. Arguments as in `neglabel`."""
    return _candidates(texts, positives, quantile, limit)


def neglabel(texts, positives, pos, quantile=0.95, share=0.15, limit=None):
    """The concepts farthest from the positives (NegMining of NegLabel, ICLR 2024, algorithm 1).

    d(n) = `quantile` (linear) over the positives p of cos(e_n, e_p). Of the candidates of each part
    of speech the `share` with the lowest d is kept, rounded down. Ties go to the lower concept id.

    texts: float32 [V, d] unit-norm. positives: concept ids. pos: [V] part-of-speech tags.
    limit: drop, before the cut, candidates with a cosine above it to any positive (near duplicates
        of a positive; CSP uses .95). None keeps them.
    The order is the original's: parts of speech as they first occur in the corpus, lowest d first.
    Our choice: candidates exclude the positives themselves, which the original leaves in.
    Raises InputError if the positives are empty or outside the corpus, or nothing is left.
    """
    pos = np.asarray(pos)
    ids, similarity = _candidates(texts, positives, quantile, limit)
    kept = []
    for tag in dict.fromkeys(pos.tolist()):
        part = np.flatnonzero(pos[ids] == tag)
        order = np.argsort(similarity[part], kind="stable")
        kept.append(part[order[: int(len(part) * share)]])
    kept = np.concatenate(kept)
    if not len(kept):
        raise InputError(
            f"no negatives: a share of {share} of {len(ids)} candidates is less than one concept "
            "per part of speech; raise `share` or use a larger corpus"
        )
    return ids[kept], similarity[kept]


def _candidates(texts, positives, quantile, limit):
    positives = np.unique(np.asarray(positives, np.int64))
    if not len(positives) or positives[0] < 0 or positives[-1] >= len(texts):
        raise InputError(
            f"positives must be concept ids between 0 and {len(texts) - 1}, at least one; "
            "do the positives and the corpus belong together?"
        )
    ids = np.setdiff1d(np.arange(len(texts)), positives)
    nearest = [np.empty(0, np.float32)]
    similarity = [np.empty(0, np.float32)]
    for part in split_rows([ids], len(positives)):
        cosines = texts[part] @ texts[positives].T
        nearest.append(cosines.max(axis=1))
        similarity.append(np.quantile(cosines, quantile, axis=1).astype(np.float32))
    similarity = np.concatenate(similarity)
    if limit is not None:
        far = np.concatenate(nearest) <= limit
        ids, similarity = ids[far], similarity[far]
    if not len(ids):
        raise InputError(
            "no concept of the corpus is left as a negative; use a larger corpus or raise `limit`"
        )
    return ids, similarity


METHODS = {"neglabel": neglabel, "rest": rest}
