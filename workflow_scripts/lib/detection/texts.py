"""OOD scores from the cosines of images to positive and negative concepts.

A model that was trained with a logit scale a and, as SigLIP, a bias b has the logits a s + b. With
temperature 1 / a the scores here are those of its logits: b cancels in every softmax and adds the
constant b / a to `max_logit` and `energy`, so that no AUROC or FPR95 depends on it. SigLIP's own
probability sigmoid(a s + b) of the best positive rises with `max_logit`: it ranks images the same.
"""

import numpy as np

from workflow_scripts.lib.concepts.similarity import top_of_rows
from workflow_scripts.lib.errors import Impossible

# Concepts whose cosines to a tile of images are exponentiated at a time: few enough for the cache,
# and for float32 sums that are exact to 1e-6.
CHUNK = 50


def max_logit(positive_sims):
    """The largest cosine to a positive (MaxLogit, ICML 2022).

    positive_sims: float32 [b, P] cosines.
    """
    return positive_sims.max(axis=1).astype(np.float32)


def mcm(positive_sims, temperature=1.0):
    """Maximum concept matching, max_p softmax(s_p / temperature) (MCM, NeurIPS 2022, eq. 2).

    positive_sims: float32 [b, P] cosines. Temperature 1 on raw cosines is the authors' setting.
    """
    return (1 / _sum_exp(positive_sims.T, temperature)).astype(np.float32)


def energy(positive_sims, temperature=0.01):
    """temperature * log sum_p exp(s_p / temperature) (energy score, NeurIPS 2020, negated energy).

    positive_sims: float32 [b, P] cosines. Temperature .01 is CLIP's logit scale of 100; the score
    is in units of cosines.
    """
    mass = np.log(_sum_exp(positive_sims.T, temperature))
    return (positive_sims.max(axis=1) + temperature * mass).astype(np.float32)


def entropy(positive_sims, temperature=0.01):
    """Negative entropy of softmax(s / temperature), sum_p q_p log q_p, at most 0.

    positive_sims: float32 [b, P] cosines.
    """
    sims = positive_sims.T
    top, mass, weighted = sims.max(axis=0), 0.0, 0.0
    for start in range(0, len(sims), CHUNK):
        logits = (sims[start : start + CHUNK] - top) / np.float32(temperature)
        weights = np.exp(logits)
        mass = mass + weights.sum(axis=0).astype(np.float64)
        weighted = weighted + (weights * logits).sum(axis=0)
    return (weighted / mass - np.log(mass)).astype(np.float32)


def neglabel(positive_sims, negative_sims, temperature=0.01, groups=100, seed=0):
    """Softmax mass on the positives, averaged over groups of negatives (NegLabel, ICLR 2024, 3.3).

    positive_sims: float32 [b, P], negative_sims: float32 [b, M], cosines.
    temperature .01 is the paper's logit scale of 100. The last M % groups negatives are dropped,
    the others shuffled once by `seed` and cut into equal groups; a group's score is
    sum_p exp(s_p / T) / (sum_p exp(s_p / T) + sum_(n in group) exp(s_n / T)).
    The permutation is NumPy's, the original's a CUDA generator's: scores agree only up to that
    choice of groups. groups=1 is the ungrouped sum-softmax. On CSP's negatives it is CSP's score.
    Raises Impossible if there are fewer negatives than groups.
    """
    size = negative_sims.shape[1] // groups
    if not size:
        raise Impossible(
            f"NegLabel's score needs at least one negative per group, but has "
            f"{negative_sims.shape[1]} negatives for {groups} groups; lower `groups` or mine more "
            "negatives"
        )
    order = np.random.default_rng(seed).permutation(size * groups)
    top = positive_sims.max(axis=1)
    positive = _sum_exp(positive_sims.T, temperature)
    total = np.zeros(len(positive_sims))
    for group in order.reshape(groups, size):
        total += positive / (positive + _sum_exp(negative_sims.T, temperature, top, group))
    return (total / groups).astype(np.float32)


def negrefine(positives, negatives, temperature=0.01, groups=100, seed=0, top=5, weight=2.0):
    """NegLabel's score + weight * multi-matching score (NegRefine, ICCV 2025, as in its code).

    Of the `top` positives p and the `top` negatives n of an image, each, the multi-matching score
    is the largest sigmoid((cos(z, e_pn) - s_n) / temperature), e_pn the embedding of "p and n".
    Our choice: the original embeds that text for every image; we take the normalised sum of e_p and
    e_n for it, so that cos(z, e_pn) = (s_p + s_n) / |e_p + e_n| needs no text encoder.

    positives: float32 [P, d], negatives: float32 [M, d]; other parameters as in `neglabel`.
    Returns the score function of (images, positive_sims [b, P], negative_sims [b, M]).
    """

    def score(_, positive_sims, negative_sims):
        mass = neglabel(positive_sims, negative_sims, temperature, groups, seed)
        p, positive_top = top_of_rows(positive_sims, min(top, len(positives)))
        n, negative_top = top_of_rows(negative_sims, min(top, len(negatives)))
        dots = (positives[p] @ negatives[n].swapaxes(1, 2)).astype(np.float64)
        s_p, s_n = positive_top[:, :, None], negative_top[:, None, :].astype(np.float64)
        both = (s_p + s_n) / np.sqrt(np.maximum(2 + 2 * dots, 1e-12))
        margin = (both - s_n).max(axis=(1, 2))
        return (mass + weight / (1 + np.exp(-margin / temperature))).astype(np.float32)

    return score


def _sum_exp(sims, temperature, top=None, rows=None):
    """sum_n exp((s_n - top) / temperature) over [n, b] cosines, or some of their rows; float64 [b].

    top: float32 [b], default the maxima. A sum too large for float32 is infinite.
    """
    top = sims.max(axis=0) if top is None else top
    rows = np.arange(len(sims)) if rows is None else rows
    total = np.zeros(sims.shape[1])
    with np.errstate(over="ignore"):
        for start in range(0, len(rows), CHUNK):
            part = sims[rows[start : start + CHUNK]]
            part -= top
            part *= np.float32(1 / temperature)
            total += np.exp(part, out=part).sum(axis=0)
    return total
