"""What is known of the training images before mining, and the table that every mining returns.

`Evidence` holds the similarity pass and what else a method may need. `mined_columns` works out the
columns of chosen concepts, or (cluster, concept) pairs, for all methods alike. Work is linear in
images and in (cluster, concept) pairs that occur; no N x V or K x V matrix is made.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.groups import group_sums, split_groups

EXAMPLES = 5


@dataclass(frozen=True)
class Evidence:
    """What is known of N images before mining; None for what a method does not need.

    top_ids: int32 [N, m] concept ids, best first; top_cosines: float32 [N, m].
    n_concepts: V, the size of the corpus.
    clusters: int32 [N] with values from 0, or None.
    true_ids: the concept ids of the true classes, for the oracle only, or None.
    centres: float32 [K, d], row c the `cluster_centres` row of cluster c, or None.
    texts: float32 [V, d] unit-norm concept embeddings, given with the centres, or None.
    Raises InputError where these do not fit together.
    """

    top_ids: np.ndarray
    top_cosines: np.ndarray
    n_concepts: int
    clusters: np.ndarray | None = None
    true_ids: np.ndarray | None = None
    centres: np.ndarray | None = None
    texts: np.ndarray | None = None

    def __post_init__(self):
        n = len(self.top_ids)
        if not n or self.top_cosines.shape != self.top_ids.shape:
            raise InputError("the similarity pass holds no images, or ids and cosines differ")
        if self.clusters is not None and len(self.clusters) != n:
            raise InputError(
                f"{len(self.clusters)} cluster assignments for {n} images; cluster the same images "
                "as the similarity pass covers"
            )
        if self.clusters is not None and self.clusters.min() < 0:
            raise InputError("cluster assignments must not be negative")
        for ids in (self.top_ids, [] if self.true_ids is None else self.true_ids):
            if len(ids) and not 0 <= np.min(ids) <= np.max(ids) < self.n_concepts:
                raise InputError(
                    f"concept ids lie outside 0..{self.n_concepts - 1}; "
                    "do the similarity pass and the corpus belong together?"
                )
        if self.centres is not None:
            self._check_centres()

    def _check_centres(self):
        if len(self.texts) != self.n_concepts or self.texts.shape[1] != self.centres.shape[1]:
            raise InputError(
                f"text embeddings {list(self.texts.shape)} do not fit a corpus of "
                f"{self.n_concepts} and cluster centres {list(self.centres.shape)}"
            )
        if self.clusters.max() >= len(self.centres):
            raise InputError(
                f"{len(self.centres)} cluster centres, but cluster {self.clusters.max()} occurs; "
                "do the centres and the clusters belong together?"
            )
        if not (np.isfinite(self.centres).all() and np.isfinite(self.texts).all()):
            raise InputError("text embeddings or cluster centres hold NaN or infinite values")

    @property
    def votes(self):
        """int64 [N]: the concept each image votes for, its best match."""
        return self.top_ids[:, 0].astype(np.int64)

    @property
    def cosines(self):
        """float32 [N]: the cosine behind each vote."""
        return self.top_cosines[:, 0]

    @cached_property
    def cluster_votes(self):
        """n_c(j) where it is not 0: columns cluster, concept, votes, sum of cosines."""
        return tally(self.clusters, self.votes, None, self.cosines, self.n_concepts)


def cluster_centres(blocks, clusters, k):
    """Mean embedding of each cluster, scaled to unit norm: float32 [k, d].

    blocks: iterable of float32 [b, d] unit-norm image embeddings, streamed. clusters: int32 [N],
    values 0..k-1. The rows of empty clusters (and of means that vanish) are 0.
    Raises InputError if the blocks have not N rows or hold values that are not finite.
    """
    sums = group_sums(blocks, clusters, k)
    if not np.isfinite(sums).all():
        raise InputError("the image embeddings hold NaN or infinite values; embed them again")
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.divide(sums, norms, out=np.zeros_like(sums), where=norms > 0).astype(np.float32)


def mined_columns(evidence, concept_ids, cluster_ids=None):
    """The common result: a dict of columns, one row per distinct concept, most votes first.

    concept_ids: the chosen concepts; with cluster_ids, pairs: concept_ids[i] names cluster_ids[i].
    A concept may name several clusters, and a cluster may have several names.

    concept_id int64.
    votes int64: images whose best concept it is, in the clusters it names (anywhere, if none).
    size int64: images in the clusters it names. purity float64: votes / size. clusters int64: how
        many clusters it names.
    cluster_ids: list of int64 arrays, the clusters it names, ascending.
    runner_up int64: the concept with the next most votes in these clusters taken together,
        ties as in `clustermine`; runner_up_votes int64. -1 and 0 if there is none.
    examples: list of int64 arrays, up to 5 image rows among its votes, highest cosine first.
    Without cluster_ids size and clusters are 0, the lists of clusters are empty, purity is NaN and
    runner_up is -1.
    """
    v = evidence.n_concepts
    named = cluster_ids is not None
    members = evidence.clusters.astype(np.int64) if named else 0
    pairs = np.unique((cluster_ids.astype(np.int64) * v if named else 0) + concept_ids)
    clusters, concepts = np.divmod(pairs, v)
    positives, row = np.unique(concepts, return_inverse=True)
    count = len(positives)

    images, image_row = _voters(members * v + evidence.votes, pairs, row)
    votes = np.bincount(image_row, minlength=count)
    columns = {
        "concept_id": positives,
        "votes": votes,
        "size": np.zeros(count, np.int64),
        "purity": np.full(count, np.nan),
        "clusters": np.zeros(count, np.int64),
        "runner_up": np.full(count, -1, np.int64),
        "runner_up_votes": np.zeros(count, np.int64),
    }
    its_clusters = [np.empty(0, np.int64)] * count
    if named:
        size = np.bincount(evidence.clusters)[clusters]
        columns["size"] = np.bincount(row, size, count).astype(np.int64)
        columns["purity"] = votes / columns["size"]
        columns["clusters"] = np.bincount(row, minlength=count)
        by_row = np.argsort(row, kind="stable")
        its_clusters = split_groups(clusters[by_row], row[by_row], count)
        at, runner_up, runner_up_votes = _runners_up(evidence, clusters, positives, row)
        columns["runner_up"][at] = runner_up
        columns["runner_up_votes"][at] = runner_up_votes

    order = np.lexsort((positives, -votes))
    columns = {name: column[order] for name, column in columns.items()}
    examples = _examples(images, image_row, evidence.cosines[images], votes)
    columns["cluster_ids"] = [its_clusters[i] for i in order]
    columns["examples"] = [examples[i] for i in order]
    return columns


def tally(groups, concepts, votes, cosines, n_concepts):
    """Sum votes and cosines over equal (group, concept); votes None counts the rows.

    Returns groups, concepts, votes, cosines, sorted by group and concept.
    """
    keys = groups.astype(np.int64) * n_concepts + concepts
    keys, inverse = np.unique(keys, return_inverse=True)
    groups, concepts = np.divmod(keys, n_concepts)
    return groups, concepts, np.bincount(inverse, votes), np.bincount(inverse, cosines)


def best_of_groups(groups, concepts, votes, cosines, n=1):
    """Indices of each group's n rows with the most votes (all if it has fewer), best first.

    Ties go to the larger sum of cosines, then to the lower concept id.
    """
    order = np.lexsort((concepts, -cosines, -votes, groups))
    _, start, length = np.unique(groups[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(start, length)
    return order[rank < n]


def _voters(image_keys, pairs, row):
    """The images whose key is one of the sorted `pairs`, and the result row each belongs to."""
    at = np.minimum(np.searchsorted(pairs, image_keys), len(pairs) - 1)
    images = np.flatnonzero(pairs[at] == image_keys)
    return images, row[at[images]]


def _runners_up(evidence, clusters, positives, row):
    """(rows, concepts, votes): the strongest rival in the clusters of each positive that has one.

    clusters, row: for every (cluster, concept) pair its cluster and its row in `positives`.
    """
    group, concept, votes, cosines = evidence.cluster_votes
    start = np.searchsorted(group, clusters, "left")
    length = np.searchsorted(group, clusters, "right") - start
    offset = np.cumsum(length) - length
    pooled = np.repeat(start - offset, length) + np.arange(length.sum())
    pooled_row = np.repeat(row, length)
    rival = concept[pooled] != positives[pooled_row]
    pooled, pooled_row = pooled[rival], pooled_row[rival]
    group, concept, votes, cosines = tally(
        pooled_row, concept[pooled], votes[pooled], cosines[pooled], evidence.n_concepts
    )
    best = best_of_groups(group, concept, votes, cosines)
    return group[best], concept[best], votes[best].astype(np.int64)


def _examples(images, image_row, cosines, votes):
    """For each result row its EXAMPLES images of highest cosine, the lower image row first."""
    images = images[np.lexsort((images, -cosines, image_row))]
    stop = np.cumsum(votes)
    return [images[s : min(s + EXAMPLES, e)] for s, e in zip(stop - votes, stop, strict=True)]
