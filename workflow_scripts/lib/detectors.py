"""OOD scores from cosines to the positives and negatives. Higher = more in-distribution.

A detector is a function of cosines, `f(positive_sims, **parameters)` or
`f(positive_sims, negative_sims, **parameters)`, that returns float32 [b]. A new one is one function
and one entry in METHODS, which also says what it needs.
"""

import numpy as np

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.similarity import tiles


def mcm(positive_sims, temperature=1.0):
    """Maximum concept matching, max_p softmax(s_p / temperature) (MCM, NeurIPS 2022, eq. 2).

    positive_sims: float32 [b, P] cosines. Temperature 1 on raw cosines is the authors' setting.
    """
    return (1 / _sum_exp(positive_sims.T, temperature)[1]).astype(np.float32)


def neglabel(positive_sims, negative_sims, temperature=0.01, groups=100, seed=0):
    """Softmax mass on the positives, averaged over groups of negatives (NegLabel, ICLR 2024, 3.3).

    positive_sims: float32 [b, P], negative_sims: float32 [b, M], cosines.
    temperature .01 is the paper's logit scale of 100. The last M % groups negatives are dropped,
    the others shuffled once by `seed` and cut into equal groups; a group's score is
    sum_p exp(s_p / T) / (sum_p exp(s_p / T) + sum_(n in group) exp(s_n / T)).
    The permutation is NumPy's, the original's a CUDA generator's: scores agree only up to that
    choice of groups. groups=1 is the ungrouped sum-softmax.
    Raises InputError if there are fewer negatives than groups.
    """
    size = negative_sims.shape[1] // groups
    if not size:
        raise InputError(
            f"neglabel needs at least one negative per group, but has {negative_sims.shape[1]} "
            f"negatives for {groups} groups; lower `groups` or mine more negatives"
        )
    order = np.random.default_rng(seed).permutation(size * groups)
    positive_top, positive_sum = _sum_exp(positive_sims.T, temperature)
    total = np.zeros(len(positive_sims))
    for group in order.reshape(groups, size):
        top, mass = _sum_exp(negative_sims.T[group], temperature)
        log_odds = (top - positive_top) / temperature + np.log(mass / positive_sum)
        total += np.exp(-np.logaddexp(0, log_odds))
    return (total / groups).astype(np.float32)


def _sum_exp(sims, temperature):
    """Of [n, b] cosines the maxima m [b] and sum_n exp((s_n - m) / temperature) [b], float64."""
    top = sims.max(axis=0)
    shifted = sims - top
    shifted /= temperature
    np.exp(shifted, out=shifted)
    return top.astype(np.float64), shifted.sum(axis=0, dtype=np.float64)


# name -> (function, what it needs beside the positives: None or "negatives")
METHODS = {"mcm": (mcm, None), "neglabel": (neglabel, "negatives")}


def score_blocks(blocks, positives, negatives, detectors):
    """Score a stream of images with several detectors and lists of negatives.

    blocks: iterable of float32 [b, d] unit-norm image embeddings.
    positives: float32 [P, d]. negatives: dict of name -> float32 [M, d].
    detectors: dict of name -> {"method": a key of METHODS, **its parameters}.
    Returns (scores, nearest, cosines): scores maps (detector, negatives) to float32 [N], with
    negatives None for detectors that need none; nearest int32 [N] and cosines float32 [N] are the
    positive with the highest cosine, the first of equals.
    Every block is multiplied once with the positives and once with each list of negatives; memory
    holds two products of at most `similarity.TILE` cosines, whatever the size of the blocks.
    Raises InputError for an unknown method, missing negatives or embeddings that do not fit.
    """
    plan = _plan(negatives, detectors)
    if not len(positives):
        raise InputError("there are no positives to score against; mine at least one concept")
    used = {name: negatives[name] for name in plan if name is not None}
    scores = {(name, against): [] for against, jobs in plan.items() for name, _, _ in jobs}
    nearest, cosines = [np.empty(0, np.int32)], [np.empty(0, np.float32)]
    texts = {"positives": positives} | {f"negatives {name!r}": used[name] for name in used}
    for part in tiles(blocks, texts):
        # Concepts in rows, images in columns: groups of negatives are then gathered row by row.
        positive_sims = (positives @ part.T).T
        best = positive_sims.argmax(axis=1)
        nearest.append(best.astype(np.int32))
        cosines.append(positive_sims[np.arange(len(part)), best])
        for name, function, parameters in plan.get(None, []):
            scores[name, None].append(function(positive_sims, **parameters))
        for against in used:
            negative_sims = (used[against] @ part.T).T
            for name, function, parameters in plan[against]:
                scores[name, against].append(function(positive_sims, negative_sims, **parameters))
    empty = np.empty(0, np.float32)
    scores = {key: np.concatenate([empty, *values]) for key, values in scores.items()}
    return scores, np.concatenate(nearest), np.concatenate(cosines)


def _plan(negatives, detectors):
    """What to run: negatives (None if not needed) -> [(detector, function, parameters)]."""
    plan = {}
    for name, settings in detectors.items():
        parameters = dict(settings)
        method = parameters.pop("method")
        if method not in METHODS:
            raise InputError(
                f"detectors.{name}.method: unknown method {method!r}; use one of {sorted(METHODS)}"
            )
        function, needs = METHODS[method]
        if needs == "negatives" and not negatives:
            raise InputError(f"detectors.{name}: {method} needs negatives, but none are given")
        for against in negatives if needs == "negatives" else [None]:
            plan.setdefault(against, []).append((name, function, parameters))
    return plan
