"""Mining positives: which concepts of a text corpus an unlabelled image set shows.

Every method takes the `Evidence` of a similarity pass and returns the same columns, one row per
distinct positive (`evidence.mined_columns`). A new method is one function that ends in
`mined_columns`, one entry in `methods.METHODS` and one block in `models.py`. Work is linear in
images and in (cluster, concept) pairs that occur; cosines of cluster centres and concepts are
worked out in blocks.
"""

from dataclasses import replace

import numpy as np

from workflow_scripts.lib.concepts.evidence import best_of_groups, mined_columns, tally
from workflow_scripts.lib.concepts.similarity import split_rows, top_concepts
from workflow_scripts.lib.errors import InputError


def clustermine(
    evidence, minimum_purity=0.0, minimum_size=1, top_m=1, temperature=0.01, names_per_cluster=1
):
    """Names by the vote of each cluster's images (ClusterMine steps 2-4).

    n_c(j) = number of images of cluster c whose best concept is j; the name of c is argmax_j
    n_c(j), ties to the larger sum of cosines, then to the lower concept id. The positives are the
    distinct names.

    Our choices. top_m > 1: soft votes, see `cluster_votes`; the vote alone is soft, the columns of
    the result count best concepts as ever. names_per_cluster: the names with the most votes, where
    a cluster has as many. Clusters with fewer than `minimum_size` images name nothing, nor do names
    count that have a smaller share of their cluster's votes than `minimum_purity`.
    Raises InputError if no name is left.
    """
    concepts, clusters = _names_by_vote(
        evidence, minimum_purity, minimum_size, top_m, temperature, names_per_cluster
    )
    return mined_columns(evidence, concepts, clusters)


def frequency(evidence, minimum_count=1, top_n=None):
    """The concepts that most images match best, without clusters (baseline).

    Concepts with at least `minimum_count` votes and, if given, of those the `top_n` with the most;
    ties as in `clustermine`. Raises InputError if no concept has enough votes.
    """
    votes = np.bincount(evidence.votes)
    cosines = np.bincount(evidence.votes, evidence.cosines)
    order = np.lexsort((-cosines, -votes))
    concepts = order[votes[order] >= max(1, minimum_count)][:top_n]
    if not len(concepts):
        raise InputError(f"no concept has {minimum_count} votes; lower minimum_count")
    return mined_columns(evidence, concepts)


def union(evidence, minimum_count=2, minimum_share=0.5, **parameters):
    """The names that a cluster votes for, and those that many images match best (ours).

    The union of `clustermine` and `frequency`. A name that a cluster votes for needs no second
    image. Any other needs `minimum_count` images and `minimum_share` of the images that the name of
    the median cluster has, in whatever clusters: about the images of a class, with fewer clusters
    than classes or more. A fixed count alone lets more and more wrong names in as images are added.
    parameters: as in `clustermine`. The columns are those of names without clusters.
    """
    by_vote, _ = _names_by_vote(evidence, **parameters)
    votes = np.bincount(evidence.votes, minlength=evidence.n_concepts)
    least = max(1, minimum_count, minimum_share * np.median(votes[by_vote]))
    return mined_columns(evidence, np.concatenate([by_vote, np.flatnonzero(votes >= least)]))


def given(evidence, names):
    """The concepts of a list, e.g. a published one. names: int64 [n], their ids.

    Names that no image votes for are kept with 0 votes.
    """
    return mined_columns(evidence, names)


def random(evidence, seed, n=None):
    """n random concepts of the corpus, each at most once (baseline); what others must beat.

    n: None takes as many as there are clusters, but no more than the corpus has.
    """
    if n is None:
        n = min(np.count_nonzero(np.bincount(evidence.clusters)), evidence.n_concepts)
    if n > evidence.n_concepts:
        raise InputError(f"random: n = {n}, but the corpus has {evidence.n_concepts}; lower n")
    rng = np.random.default_rng(seed)
    return mined_columns(evidence, rng.choice(evidence.n_concepts, n, replace=False))


def centroid(evidence):
    """For every cluster the concept with the highest cosine to its mean embedding (baseline).

    Of equal float32 cosines the lower concept id is taken.
    """
    clusters = np.unique(evidence.clusters)
    concepts, _ = top_concepts([evidence.centres[clusters]], evidence.texts, 1)
    return mined_columns(evidence, concepts[:, 0].astype(np.int64), clusters)


def scd(evidence, top_m=1, temperature=0.01):
    """One name per cluster and one cluster per name, iterated (SCD, arXiv 2304.02364).

    Our reading of the idea (vote in clusters, unique names by linear assignment, cluster again by
    the names, repeat), made to need no more than the similarity pass:
    1. Name the clusters so that no two share a name and the sum over clusters of the votes n_c(j)
       for their names is largest (Hungarian assignment), ties to the larger sum of cosines.
       Votes as in `clustermine`, hard or soft (top_m).
    2. Move every image to the cluster whose name comes first among the image's concepts in the
       similarity pass; an image with no such name stays where it is.
    3. Repeat until the sum grows no more. Neither step can lower it, so this ends.
    A cluster gets no name where all its concepts are worth more to other clusters, e.g. if there
    are more clusters than concepts. The columns of the result are those of the final clusters.

    The assignment is exact: it is solved on the (cluster, concept) pairs with votes, a sparse graph
    that takes seconds for 10,000 clusters.
    """
    votes = 0.0
    while True:
        concepts, clusters, more_votes = _one_to_one(evidence, top_m, temperature)
        if more_votes <= votes:
            return mined_columns(evidence, concepts, clusters)
        votes = more_votes
        evidence = _move_to_names(evidence, concepts, clusters)


def tac(evidence, names_per_cluster=5, temperature=1.0):
    """Concepts that tell the cluster centres apart (TAC, ICML 2024, its selection of nouns).

    Every concept belongs to the centre of highest cosine, with the probability that a softmax over
    the centres gives it, p(c | j) = softmax_c(cos(centre_c, e_j) / temperature). The names of a
    centre are its `names_per_cluster` concepts of highest probability; ties go to the higher
    cosine, then to the lower concept id. A centre that no concept belongs to gets no name.
    5 names and temperature 1 (plain cosines) as in public code.

    Our reading: TAC selects nouns as features, from its own k-means with many more centres than
    classes. Here they are positives, the centres are those of the given clustering, and the corpus
    is taken as it is, with all its parts of speech.
    """
    clusters = np.unique(evidence.clusters)
    centres = evidence.centres[clusters]
    owner, cosines, odds_against = [], [], []
    for part in split_rows([evidence.texts], len(centres)):
        sims = part @ centres.T
        rows, best = np.arange(len(sims)), sims.argmax(axis=1)
        owner.append(best)
        cosines.append(sims[rows, best])
        sims -= cosines[-1][:, None]
        sims[rows, best] = -np.inf
        odds_against.append(np.exp(sims / temperature).sum(axis=1))  # 1 / p - 1, exact near p = 1
    owner, cosines, odds_against = map(np.concatenate, (owner, cosines, odds_against))
    concepts = np.arange(evidence.n_concepts)
    best = best_of_groups(owner, concepts, -odds_against, cosines, names_per_cluster)
    return mined_columns(evidence, concepts[best], clusters[owner[best]])


def ground_truth(evidence):
    """The true class names (oracle). Names that no image votes for are kept with 0 votes."""
    return mined_columns(evidence, _true_names(evidence))


def ground_truth_and_mined(evidence, **parameters):
    """The true class names and ClusterMine's together; `parameters` as in `clustermine`.

    The columns are those of names without clusters.
    """
    mined, _ = _names_by_vote(evidence, **parameters)
    return mined_columns(evidence, np.concatenate([_true_names(evidence), mined]))


def cluster_votes(evidence, top_m, temperature):
    """n_c(j) where it is not 0: columns cluster, concept, votes, sum of cosines.

    top_m = 1: every image has one vote, for its best concept. top_m > 1: it splits its vote among
    its m best concepts in the proportions softmax(s_ij / temperature) over these m, and counts its
    cosines in the same proportions.
    Raises InputError if the similarity pass has fewer than m concepts per image.
    """
    if top_m == 1:
        return evidence.cluster_votes
    stored = evidence.top_ids.shape[1]
    if top_m > stored:
        raise InputError(
            f"top_m = {top_m}, but the similarity pass has {stored} concepts per image; "
            "lower top_m or raise top_concepts of the corpus"
        )

    def weight(rank):
        gap = evidence.top_cosines[:, rank] - evidence.cosines
        return np.exp(gap.astype(np.float64) / temperature)

    total = sum(weight(rank) for rank in range(top_m))
    parts = []
    for rank in range(top_m):
        votes = weight(rank) / total
        cosines = votes * evidence.top_cosines[:, rank]
        ids = evidence.top_ids[:, rank]
        parts.append(tally(evidence.clusters, ids, votes, cosines, evidence.n_concepts))
    columns = (np.concatenate(column) for column in zip(*parts, strict=True))
    return tally(*columns, evidence.n_concepts)


def _names_by_vote(
    evidence, minimum_purity=0.0, minimum_size=1, top_m=1, temperature=0.01, names_per_cluster=1
):
    """(concepts, clusters): the pairs that `clustermine` chooses."""
    clusters, concepts, votes, cosines = cluster_votes(evidence, top_m, temperature)
    best = best_of_groups(clusters, concepts, votes, cosines, names_per_cluster)
    clusters = clusters[best]
    size = np.bincount(evidence.clusters)[clusters]
    keep = (size >= minimum_size) & (votes[best] >= minimum_purity * size)
    if not keep.any():
        raise InputError(
            f"no cluster has {minimum_size} images and purity {minimum_purity}; "
            "lower minimum_size or minimum_purity"
        )
    return concepts[best][keep], clusters[keep]


def _one_to_one(evidence, top_m, temperature):
    """(concepts, clusters, total votes) of the one-to-one naming with the most votes."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    clusters, concepts, votes, cosines = cluster_votes(evidence, top_m, temperature)
    rows, row = np.unique(clusters, return_inverse=True)
    columns, column = np.unique(concepts, return_inverse=True)
    # Cosines only break ties: over all clusters they sum to less than half a vote.
    worth = votes + cosines / (2 * len(evidence.top_ids) + 1)
    # Column len(columns) + r is worth 0: cluster r without a name. The solver takes every row once
    # and no zeros, so 1 more for every edge changes nothing.
    unnamed = np.arange(len(rows))
    graph = csr_array(
        (
            1 + np.concatenate([worth, np.zeros(len(rows))]),
            (np.concatenate([row, unnamed]), np.concatenate([column, len(columns) + unnamed])),
        )
    )
    row, column = min_weight_full_bipartite_matching(graph, maximize=True)
    total = graph[row, column].sum() - len(rows)
    named = column < len(columns)
    return columns[column[named]], rows[row[named]], total


def _move_to_names(evidence, concepts, clusters):
    """The evidence with each image in the cluster of its best match among these concepts."""
    cluster_of = np.full(evidence.n_concepts, -1, evidence.clusters.dtype)
    cluster_of[concepts] = clusters
    moved = evidence.clusters.copy()
    for rank in reversed(range(evidence.top_ids.shape[1])):
        own = cluster_of[evidence.top_ids[:, rank]]
        np.copyto(moved, own, where=own >= 0)
    return replace(evidence, clusters=moved)


def _true_names(evidence):
    if evidence.true_ids is None or not len(evidence.true_ids):
        raise InputError("ground_truth needs the true classes; name an image set with labels")
    return np.asarray(evidence.true_ids, np.int64)
