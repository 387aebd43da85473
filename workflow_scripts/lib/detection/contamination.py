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

import numpy as np

from workflow_scripts.lib.errors import InputError


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
        normalised alike (`names.normalise`). synonyms_of: name -> set of true
        names of the same meaning (`label_quality.tree_functions`).
    Returns bool [N].
    """
    true = set(true)
    synonyms_of = synonyms_of or (lambda name: set())
    flagged = {
        label: not true.isdisjoint({label} | synonyms_of(label)) for label in {*labels} - {None}
    }
    return np.array([flagged.get(label, False) for label in labels], dtype=bool)
