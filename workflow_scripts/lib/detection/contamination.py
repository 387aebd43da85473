"""Contamination: images of an OOD set that show an in-distribution (ID) class.

Public OOD sets are not free of ID content (for ImageNet-1K, a large part of Places and SUN shows
ID classes), and a detector that accepts such an image is counted as wrong. Flagged images are to be
left out of a second table beside the full one. Evaluation only: both rules read the true names.

Both rules are our choice. `flagged_by_label` trusts the labels of the OOD set. `flagged_by_match`
needs no labels but is circular: it removes the images that *this* encoder takes for an ID class,
which are also those that detectors on this encoder get wrong, contaminated or not. So "without
flagged images" is an optimistic bound, not a corrected value. Use one encoder for all rows, better
a stronger one than those compared, and read the share flagged beside two of its own controls: on an
ID test set (how much of true ID content the rule finds) and on an OOD set known to be clean (how
much it flags by mistake).
"""

import logging

import numpy as np
import pandas as pd

from workflow_scripts.lib.concepts.quality import tree_functions
from workflow_scripts.lib.concepts.similarity import top_concepts
from workflow_scripts.lib.errors import InputError

NEAR = 0.5  # of the ID test set's share flagged; our choice
NOTE = (
    "nearly as often as ID images: the rule tells them apart badly (a corpus of mostly true names, "
    "or real ID content); use the rule label, or a larger corpus"
)


def flagged_by_match(top_ids, top_cosines, true_ids, margin=0.0):
    """Images whose best concept over the corpus is a true class name, by a margin.

    top_ids: int [N, m] concept ids, best first, and top_cosines: float [N, m]; a similarity pass
        over the OOD set, or of it only the best concept and the best that is no true name.
    true_ids: the concept ids of the true class names, ground truth.
    margin: least cosine by which the best concept must lead the best concept that is no true name.
        If all m are true names, their last cosine bounds that concept's; so m = 1 with a margin
        above 0 flags nothing. 0 asks for the best concept only; the scale depends on the encoder.

    Returns bool [N]. Raises InputError for a margin below 0 or shapes that differ.
    """
    top_ids, top_cosines = np.asarray(top_ids), np.asarray(top_cosines)
    if top_ids.shape != top_cosines.shape or top_ids.ndim != 2:
        raise InputError(
            f"contamination: concept ids {top_ids.shape} and cosines {top_cosines.shape} must be "
            "one array [images, m] each, of the same similarity pass"
        )
    if margin < 0:
        raise InputError(f"contamination.margin is {margin}; it must be 0 or more")
    is_true = np.isin(top_ids, true_ids)
    best_other = np.where(is_true, -np.inf, top_cosines).max(axis=1)
    best_other = np.where(is_true.all(axis=1), top_cosines[:, -1], best_other)
    return is_true[:, 0] & (top_cosines[:, 0] - best_other >= margin)


def flagged_by_label(labels, true, synonyms_of=None):
    """Images whose own label is a true class name, or a synonym of one.

    labels: sequence of N names, None where unknown (not flagged). true: the true class names. All
        normalised alike (`names.normalise`). synonyms_of: name -> set of true names of the same
        meaning (`quality.tree_functions`).
    Returns bool [N].
    """
    true = set(true)
    synonyms_of = synonyms_of or (lambda name: set())
    flagged = {
        label: not true.isdisjoint({label} | synonyms_of(label)) for label in {*labels} - {None}
    }
    return np.array([flagged.get(label, False) for label in labels], dtype=bool)


def label_rule(true_names, corpus, tree=None):
    """The rule "label" as a function of (image set, its labels): `flagged_by_label`.

    It logs why no label of a set can be a true name. true_names: a set. corpus: names of concepts.
    tree: a `trees.Tree`, which tells synonyms, or None.
    """
    synonyms_of = tree_functions(tree, true_names)[0] if tree else None
    known = true_names.union(corpus, tree.names if tree else ())

    def flags(image_set, labels):
        _warn_of_unknown(image_set, labels, known)
        return flagged_by_label(labels, true_names, synonyms_of)

    return flags


def flag_images(images, vectors, true_ids, margin, by_label=None):
    """Every image's best concept, int [N], and whether the image is flagged, bool [N].

    images: `Embeddings`, streamed. vectors: float32 [V, d], the corpus. true_ids, margin: as in
    `flagged_by_match`. by_label: the flags of the rule "label"; None for the rule "match".
    """
    needs_other = by_label is None and margin > 0
    ids, cosines = _best_and_best_other(images, vectors, true_ids if needs_other else [])
    flagged = flagged_by_match(ids, cosines, true_ids, margin) if by_label is None else by_label
    return ids[:, 0], flagged


def doubts(table, rule):
    """Why the flags of a set say little: a note per row or NA, pandas strings [rows].

    table: data frame of a study, image_set, group ("test", "near" or "far") and share. Of the rule
    "match": an OOD set with at least NEAR of the test set's share. The corpus is then mostly true
    names, so that the best concept of nearly any image is one. Each is logged.
    """
    test = table.loc[table["group"] == "test", "share"].max()
    doubtful = (table["group"] != "test") & (table["share"] > 0) & (table["share"] >= NEAR * test)
    if rule != "match":
        doubtful &= False
    for row in table[doubtful].itertuples():
        logging.warning("%s: %.1f %% are flagged; %s", row.image_set, 100 * row.share, NOTE)
    return pd.Series(NOTE, table.index, "string").where(doubtful)


def _best_and_best_other(images, vectors, true_ids):
    """Every image's best concept, and its best that is no true name: ids and cosines [N, 1 or 2].

    These two are all that `flagged_by_match` needs, for any margin. One column if the corpus holds
    true names only.
    """
    found = [top_concepts(images.blocks(), vectors, 1)]
    others = np.delete(np.arange(len(vectors)), true_ids)
    if len(true_ids) and len(others):
        ids, cosines = top_concepts(images.blocks(), vectors[others], 1)
        found.append((others[ids], cosines))
    return tuple(np.hstack(columns) for columns in zip(*found, strict=True))


def _warn_of_unknown(image_set, labels, known):
    """Log why no label of an image set can be a true name: there is none, or all are unknown.

    labels: names, None where there is none. known: names of the corpus, the tree and the classes.
    """
    distinct = {*labels} - {None, ""}
    if not distinct:
        logging.warning("the images of %s have no labels: none is flagged", image_set)
    elif known.isdisjoint(distinct):
        logging.warning(
            "no label of %s is in the corpus or the tree, e.g. %r: none is flagged; if they are "
            "ids, name them (image_sets.%s.label_names)", image_set, min(distinct), image_set,
        )  # fmt: skip
