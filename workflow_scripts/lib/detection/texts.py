"""OOD scores from the cosines of images to positive and negative concepts.

Cosines are arrays of NumPy or torch (`lib/arrays.py`), and so are the scores.

A model that was trained with a logit scale a and, as SigLIP, a bias b has the logits a s + b. With
temperature 1 / a the scores here are those of its logits: b cancels in every softmax and adds the
constant b / a to `max_logit` and `energy`, so that no AUROC or FPR95 depends on it. SigLIP's own
probability sigmoid(a s + b) of the best positive rises with `max_logit`: it ranks images the same.
"""

import numpy as np

from workflow_scripts.lib.arrays import array_namespace, beside, device
from workflow_scripts.lib.concepts.similarity import top_of_rows
from workflow_scripts.lib.errors import Impossible

# Concepts whose cosines to a tile of images are exponentiated at a time: few enough for the cache,
# and for float32 sums that are exact to 1e-6.
CHUNK = 50


def max_logit(positive_sims):
    """The largest cosine to a positive (MaxLogit, ICML 2022).

    positive_sims: float32 [b, P] cosines.
    """
    return array_namespace(positive_sims).max(positive_sims, axis=1)


def mcm(positive_sims, temperature=1.0):
    """Maximum concept matching, max_p softmax(s_p / temperature) (MCM, NeurIPS 2022, eq. 2).

    positive_sims: float32 [b, P] cosines. Temperature 1 on raw cosines is the authors' setting.
    """
    return _float32(1 / _sum_exp(positive_sims.T, temperature))


def energy(positive_sims, temperature=0.01):
    """temperature * log sum_p exp(s_p / temperature) (energy score, NeurIPS 2020, negated energy).

    positive_sims: float32 [b, P] cosines. Temperature .01 is CLIP's logit scale of 100; the score
    is in units of cosines.
    """
    xp = array_namespace(positive_sims)
    mass = xp.log(_sum_exp(positive_sims.T, temperature))
    return _float32(xp.max(positive_sims, axis=1) + temperature * mass)


def entropy(positive_sims, temperature=0.01):
    """Negative entropy of softmax(s / temperature), sum_p q_p log q_p, at most 0.

    positive_sims: float32 [b, P] cosines.
    """
    xp, sims = array_namespace(positive_sims), positive_sims.T
    top, mass, weighted = xp.max(sims, axis=0), 0.0, 0.0
    for start in range(0, len(sims), CHUNK):
        logits = (sims[start : start + CHUNK] - top) / temperature
        weights = xp.exp(logits)
        mass = mass + xp.astype(xp.sum(weights, axis=0), xp.float64)
        weighted = weighted + xp.sum(weights * logits, axis=0)
    return _float32(weighted / mass - xp.log(mass))


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
    top = array_namespace(positive_sims).max(positive_sims, axis=1)
    positive, total = _sum_exp(positive_sims.T, temperature), 0.0
    for group in beside(order.reshape(groups, size), negative_sims):
        total = total + positive / (positive + _sum_exp(negative_sims.T, temperature, top, group))
    return _float32(total / groups)


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
        xp = array_namespace(positive_sims)
        dots = xp.astype(positives[p] @ negatives[n].mT, xp.float64)
        s_p, s_n = positive_top[:, :, None], xp.astype(negative_top, xp.float64)[:, None, :]
        both = (s_p + s_n) / xp.sqrt(xp.clip(2 + 2 * dots, min=1e-12))
        margin = xp.max(both - s_n, axis=(1, 2))
        return _float32(mass + weight / (1 + xp.exp(-margin / temperature)))

    return score


def _sum_exp(sims, temperature, top=None, rows=None):
    """sum_n exp((s_n - top) / temperature) over [n, b] cosines, or some of their rows; float64 [b].

    top: float32 [b], default the maxima. A sum too large for float32 is infinite.
    """
    xp = array_namespace(sims)
    top = xp.max(sims, axis=0) if top is None else top
    rows = xp.arange(len(sims), device=device(sims)) if rows is None else rows
    total = xp.zeros(sims.shape[1], dtype=xp.float64, device=device(sims))
    with np.errstate(over="ignore"):
        for start in range(0, len(rows), CHUNK):
            part = sims[rows[start : start + CHUNK]]
            part -= top
            part *= 1 / temperature
            total += xp.sum(xp.exp(part), axis=0)
    return total


def _float32(scores):
    xp = array_namespace(scores)
    return xp.astype(scores, xp.float32)
