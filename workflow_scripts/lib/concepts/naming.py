"""What the clusters of an image set show: every cluster with its name, before names are merged.

The name is that of `mining.clustermine` with hard votes and no least purity or size; here each
cluster keeps its own row, so a cluster whose images hardly agree can be seen. Work is linear in
images and in (cluster, concept) pairs that occur; what is held grows with the clusters only.
"""

import numpy as np

from workflow_scripts.lib.concepts.evidence import best_of_groups
from workflow_scripts.lib.groups import split_groups, with_groups

NAMES = 5  # of a cluster: its name and the runners-up
IMAGES = 10  # nearest to a centre, and farthest


def named_clusters(evidence, blocks, k):
    """A dict of columns, one row per cluster 0..k-1, also of empty ones.

    evidence: the `Evidence` with clusters, centres [K, d], K <= k (empty clusters at the end have
    no centre), and texts. blocks: iterable of float32 [b, d], the same N images, unit norm.

    cluster int32. size int64: its images.
    concept_id int64: the concept that most of its images match best, ties to the larger sum of
        cosines, then to the lower id; -1 of an empty cluster. votes int64: those images.
        share float64: votes / size.
    runners_up: list of int64 arrays, up to 4 further concepts with votes, most votes first, ties
        alike. runner_up_votes: list of int64 arrays, their votes.
    cosine float64: of the name's text embedding and the cluster's mean embedding.
    spread float64: mean cosine of its images and the mean embedding; 1 if all images are equal.
    nearest, farthest: lists of int64 arrays, up to 10 image rows with the highest (lowest) cosine
        to the mean embedding, this first; of equal cosines the lower row comes first.
    Figures of an empty cluster that are a mean over nothing are NaN.
    Raises InputError if the blocks have not N rows.
    """
    size = np.bincount(evidence.clusters, minlength=k)
    return (
        {"cluster": np.arange(k, dtype=np.int32), "size": size}
        | _names(evidence, size)
        | _images(evidence, blocks, size)
    )


def votes_won(evidence):
    """(share of the images that vote for the name of their cluster, number of distinct names).

    evidence: the `Evidence` with clusters. Names as in `named_clusters`.
    """
    best = best_of_groups(*evidence.cluster_votes)
    _, concepts, votes, _ = (column[best] for column in evidence.cluster_votes)
    return float(votes.sum() / len(evidence.votes)), len(np.unique(concepts))


def _names(evidence, size):
    """The columns of names: each cluster's NAMES concepts with the most votes."""
    best = best_of_groups(*evidence.cluster_votes, NAMES)
    clusters, concepts, votes, _ = (column[best] for column in evidence.cluster_votes)
    votes = votes.astype(np.int64)
    used, first = np.unique(clusters, return_index=True)
    named = np.full(len(size), -1, np.int64)
    named[used] = concepts[first]
    won = np.zeros(len(size), np.int64)
    won[used] = votes[first]
    cosine = np.full(len(size), np.nan)
    cosine[used] = np.einsum("kd,kd->k", evidence.texts[named[used]], evidence.centres[used])
    rest = np.delete(np.arange(len(clusters)), first)
    return {
        "concept_id": named,
        "votes": won,
        "share": np.divide(won, size, out=np.full(len(size), np.nan), where=size > 0),
        "runners_up": split_groups(concepts[rest], clusters[rest], len(size)),
        "runner_up_votes": split_groups(votes[rest], clusters[rest], len(size)),
        "cosine": cosine,
    }


def _images(evidence, blocks, size):
    """The columns of images, in one stream of their embeddings."""
    total, start = np.zeros(len(size)), 0
    nearest = farthest = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    for block, own in with_groups(blocks, evidence.clusters):
        cosines = np.einsum("bd,bd->b", block, evidence.centres[own])
        rows = np.arange(start, start + len(block))
        start += len(block)
        total += np.bincount(own, cosines, len(size))
        nearest = _first(nearest, (rows, own, cosines))
        farthest = _first(farthest, (rows, own, -cosines))
    return {
        "spread": np.divide(total, size, out=np.full(len(size), np.nan), where=size > 0),
        "nearest": split_groups(*nearest[:2], len(size)),
        "farthest": split_groups(*farthest[:2], len(size)),
    }


def _first(kept, more):
    """The IMAGES images of each cluster with the largest values, sorted by cluster, best first.

    kept, more: rows, clusters and values of images.
    """
    rows, clusters, values = map(np.concatenate, zip(kept, more, strict=True))
    order = np.lexsort((rows, -values, clusters))
    clusters = clusters[order]
    rank = np.arange(len(order)) - np.searchsorted(clusters, clusters)
    order = order[rank < IMAGES]
    return rows[order], clusters[rank < IMAGES], values[order]


def concept_of_clusters(named, positives):
    """The positive that each cluster was merged into: dict of cluster -> concept.

    named: dict of cluster -> its own name. positives: (concept, its clusters) of one list of
    positives, most votes first. Clusters that name no positive are left out. Of several positives
    of one cluster its own name is taken, else the one with the most votes.
    """
    found = {}
    for concept, clusters in positives:
        for cluster in clusters:
            if cluster not in found or named[cluster] == concept:
                found[cluster] = concept
    return found
