"""Negative concepts: the part of one or more text corpora that is used against the positives.

`candidates` are the concepts that are no positives and pass the filters; one of METHODS chooses
and orders negatives among them. CSP (NeurIPS 2024) is NegLabel's choice among nouns and
conjugated adjectives (`lib.texts.conjugation`). A new method is one function, one entry in METHODS
and one block in `models.py`.
"""

import numpy as np

from workflow_scripts.lib.arrays import array_namespace, beside, to_numpy
from workflow_scripts.lib.concepts.similarity import split_rows
from workflow_scripts.lib.errors import Impossible, InputError

# Keys of a config block that are no parameters of the method: of candidates, lists and distances.
NOT_PARAMETERS = ("method", "corpora", "parts", "tree", "related", "proper", "drop_files")
NOT_PARAMETERS += ("exclude_positives", "file", "missing", "distance_to")

# ---- candidates and their filters ---------------------------------------------------------------


def candidates(names, pos, positives, parts=(), filters=()):
    """The concepts that may become negatives.

    names, pos: [V] concepts and their parts of speech. positives: names, which are no candidates;
        none are given where positives may be candidates, as in NegLabel's public code.
    parts: parts of speech to keep; all if empty. filters: functions (name, pos) -> whether to keep
        the concept, e.g. of `unrelated`, `common` and `outside`.
    Returns rows int64 [C], ascending; of equal names the first only.
    """
    seen = set(positives)
    rows = []
    for row, (name, part) in enumerate(zip(names, pos, strict=True)):
        if name not in seen and (not parts or part in parts):
            seen.add(name)
            if all(keep(name, part) for keep in filters):
                rows.append(row)
    return np.array(rows, np.int64)


# The filters below ask the tree of the concept's part of speech (trees: part of speech -> Tree).
# A concept without a tree, or unknown to it, passes.


def unrelated(trees, positives):
    """Filter: no synonym, hyponym or hypernym of a positive.

    NegRefine asks a language model for the sub-categories. Our choice: any sense of the one against
    any sense of the other, so that no concept that may mean a positive is used against it.
    """
    related = set()
    for tree in trees.values():
        nodes = {node for name in positives for node in tree.nodes(name)}
        related |= nodes | tree.ancestors(nodes) | tree.descendants(nodes)
    return lambda name, pos: related.isdisjoint(_senses(trees, name, pos))


def common(trees):
    """Filter: no proper noun, which is a name all of whose senses are proper nouns (NegRefine)."""

    def keep(name, pos):
        senses = _senses(trees, name, pos)
        return not senses or not all(map(trees[pos].is_proper, senses))

    return keep


def outside(trees, files):
    """Filter: not all senses lie in these lexicographer files.

    CSP leaves out noun.person, noun.quantity, noun.group and adj.pert (pertainym adjectives).
    """

    def keep(name, pos):
        senses = _senses(trees, name, pos)
        return not senses or not all(trees[pos].file(node) in files for node in senses)

    return keep


def _senses(trees, name, pos):
    return trees[pos].nodes(name) if pos in trees else ()


# ---- methods -----------------------------------------------------------------------------------


def rest(texts, positives, pos, quantile=0.99, limit=None, images=None):
    """All candidates in their order. Arguments and results as in `neglabel`."""
    return _distances(texts, positives, quantile, limit, images)


def neglabel(texts, positives, pos, quantile=0.99, share=0.15, limit=None, images=None):
    """The candidates farthest from the positives (NegMining of NegLabel, ICLR 2024, algorithm 1).

    d(n) = `quantile` (linear) over the positives p of cos(e_n, e_p); the paper takes 0.95. Of the
    candidates of each part of speech the `share` with the lowest d is kept, rounded down. Ties go
    to the earlier candidate.

    texts: float32 [C, d] unit-norm, the candidates. positives: float32 [P, d] unit-norm.
    pos: [C] part-of-speech tags. limit: drop, before the cut, candidates with a cosine above it to
        any positive (near duplicates of a positive; CSP uses .95). None keeps them.
    images: float32 [n, d] unit-norm in-distribution images, whose cosines then measure d in place
        of the positives' (after InterNeg, CVPR 2026; the quantile over single images is our
        reading), on a card if they are there. None measures by the positives.
    Returns rows of `texts` int64 [M] in their final order and d float32 [M]. The order is the
    original's: parts of speech as they first occur among the candidates, lowest d first.
    Raises InputError if there are no positives, Impossible if nothing is left.
    """
    pos = np.asarray(pos)
    ids, similarity = _distances(texts, positives, quantile, limit, images)
    kept = []
    for tag in dict.fromkeys(pos.tolist()):
        part = np.flatnonzero(pos[ids] == tag)
        order = np.argsort(similarity[part], kind="stable")
        kept.append(part[order[: int(len(part) * share)]])
    kept = np.concatenate(kept)
    if not len(kept):
        raise Impossible(
            f"no negatives: a share of {share} of {len(ids)} candidates is less than one concept "
            "per part of speech; raise `share` or use a larger corpus"
        )
    return ids[kept], similarity[kept]


def _distances(texts, positives, quantile, limit, images):
    """Candidates within the limit and the quantile of their cosines to the positives or images.

    Tile by tile: no candidates x images matrix exists.
    """
    if not len(positives):
        raise InputError("there are no positives to find negatives for; mine at least one concept")
    if texts.shape[1] != positives.shape[1]:
        raise InputError(
            f"the candidates have {texts.shape[1]} dimensions, the positives {positives.shape[1]}; "
            "embed both with the same encoder"
        )
    ids = np.arange(len(texts))
    similarity = _quantiles(texts, positives if images is None else images, quantile)
    if limit is not None:
        ids = np.flatnonzero(_quantiles(texts, positives, 1) <= limit)
    if not len(ids):
        raise Impossible(
            "no concept of the corpus is left as a negative; use a larger corpus, drop a filter or "
            "raise `limit`"
        )
    return ids, similarity[ids]


def _quantiles(texts, others, quantile):
    """A quantile of the cosines of every text to the other embeddings: float32 [C] of NumPy."""
    xp, found = array_namespace(others), [np.empty(0, np.float32)]
    for part in split_rows([texts], len(others)):
        sims = beside(part, others) @ others.T
        found.append(to_numpy(xp.quantile(sims, quantile, axis=1)).astype(np.float32))
    return np.concatenate(found)


METHODS = {"neglabel": neglabel, "rest": rest, "given": rest}  # given: candidates in its order
