"""How many clusters? A sweep over their number k, and a choice by how stable the clusters are.

Clusters are real as far as other images of the same kind would give them too. So two halves of the
images are clustered apart, and both clusterings assign the same further images: the adjusted Rand
index (ARI) of the two says how far they agree (Lange et al., Neural Computation 2004, with ARI in
place of their distance). The design of the sweep and the rule of `choose` are ours.

No label is read. The rule was settled after curves of the demo and of three labelled sets had been
seen, for which the first idea, the largest k within one standard error of the best, often gave 2:
so those sets prove nothing. On a fourth set the curve was flat, and the last k of the sweep was
chosen, above the best number by labels. It errs where no clusters are reproducible. There the
curve falls or is flat within its errors, and chance decides which peak is the last. Between two
values of the grid it cannot choose, and beyond a fifteenth of the sample it cannot look.
"""

from itertools import combinations

import numpy as np
import pandas as pd

from workflow_scripts.lib.clustering.centroids import nearest
from workflow_scripts.lib.clustering.lloyd import lloyd
from workflow_scripts.lib.clustering.metrics import ari, contingency
from workflow_scripts.lib.errors import InputError

PARTS = 3  # two that are clustered, one that both clusterings assign
LEAST = 5  # images per cluster in such a part, on average
KMEANS = {"spherical": True, "init": "kmeans++", "iterations": 20, "precision": "float32"}


def numbers(cfg, n):
    """The values of k for a sample of n images: a geometric grid, ints in ascending order.

    cfg: from, to and steps. `to` is cut so that clusters have LEAST images in each of the PARTS.
    Raises InputError if no two values are left.
    """
    to = min(cfg["to"], n // (PARTS * LEAST))
    if to <= cfg["from"]:
        raise InputError(
            f"sweep: {n} images allow at most {to} clusters ({PARTS * LEAST} images each), no more "
            f"than `from`, {cfg['from']}: lower `from`, raise `sample`, or set `k` to a number"
        )
    grid = np.geomspace(cfg["from"], to, cfg["steps"])
    return np.unique(np.rint(grid).astype(int)).tolist()


def sweep(sample, cfg):
    """One row per k, as a data frame, and one clustering of the sample for each.

    sample: float32 [n, d], unit rows. cfg: from, to, steps, and seeds (number of repetitions).
    Columns: k; objective, the mean cosine to the own centroid; seeds_ari, the mean ARI between the
    clusterings of the whole sample by any two seeds; halves_ari, the mean ARI between clusterings
    of two parts on a third, each seed cutting the sample anew; halves_se, its standard error.
    The clusterings are those of the first seed: dict of k -> int32 [n].
    """
    rows, first = [], {}
    for k in numbers(cfg, len(sample)):
        objective, seeds_ari, first[k] = between_seeds(sample, k, cfg["seeds"])
        halves = [between_halves(sample, k, seed) for seed in range(cfg["seeds"])]
        rows.append({
            "k": k, "objective": objective, "seeds_ari": seeds_ari,
            "halves_ari": np.mean(halves), "halves_se": np.std(halves, ddof=1) / len(halves) ** 0.5,
        })  # fmt: skip
    return pd.DataFrame(rows), first


def between_seeds(sample, k, seeds):
    """Of the clusterings of a sample by `seeds` seeds: the mean objective, the mean ARI of any two,
    and the first one, int32 [n]."""
    fits = [lloyd(sample, k, KMEANS, seed) for seed in range(seeds)]
    clusters = [nearest([sample], found, spherical=True)[0] for found, _ in fits]
    agreement = [ari(contingency(one, other)) for one, other in combinations(clusters, 2)]
    objective = float(np.mean([curve[-1] for _, curve in fits]))
    return objective, float(np.mean(agreement)), clusters[0]


def between_halves(sample, k, seed):
    """ARI on a third of a sample of the clusterings of its other two thirds, cut by a seed."""
    parts = np.array_split(np.random.default_rng(seed).permutation(len(sample)), PARTS)
    *fitted, held_out = (sample[np.sort(part)] for part in parts)
    one, other = (
        nearest([held_out], lloyd(rows, k, KMEANS, seed)[0], spherical=True)[0] for rows in fitted
    )
    return ari(contingency(one, other))


def choose(frame):
    """The last peak: the largest k whose halves_ari is above that of both its neighbours.

    frame: as `sweep` gives it. The last k of the sweep needs to be above the one before only, and
    then more clusters may be better still. Without a peak the first, most stable k is chosen.
    A small k is stable when it follows coarse structure, and agreement falls beyond the finest
    structure that further images confirm, so the last peak is taken and not the highest.
    """
    agreement = frame["halves_ari"].to_numpy()
    rises = np.diff(agreement) > 0  # to the next k
    peaks = np.flatnonzero(rises & ~np.append(rises[1:], False)) + 1
    return int(frame["k"].iloc[peaks[-1] if len(peaks) else 0])
