"""Evidence for tests of minings, and the table of their results by slow loops."""

import numpy as np

from workflow_scripts.lib.concepts.evidence import Evidence, cluster_centres


def evidence(votes, cosines, clusters=None, n_concepts=None, true_ids=None):
    votes = np.array(votes, np.int32)
    return Evidence(
        votes[:, None],
        np.array(cosines, np.float32)[:, None],
        n_concepts or int(votes.max()) + 1,
        None if clusters is None else np.array(clusters, np.int32),
        true_ids,
    )


def rows(columns):
    """The columns as a list of plain dicts."""
    columns = {name: [np.asarray(v).tolist() for v in values] for name, values in columns.items()}
    assert len({len(values) for values in columns.values()}) == 1
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def slow_name(votes, cosines, clusters, c):
    """The name of cluster c, its votes and its size, from the definition of n_c(j)."""
    members = [i for i in range(len(votes)) if clusters[i] == c]
    ballots = {}
    for i in members:
        n, total = ballots.get(votes[i], (0, 0.0))
        ballots[votes[i]] = (n + 1, total + cosines[i])
    name = min(ballots, key=lambda j: (-ballots[j][0], -ballots[j][1], j))
    return name, ballots[name][0], len(members)


def slow_columns(votes, cosines, pairs):
    """The common result for {concept: set of clusters}, `clusters` taken from `pairs`."""
    clusters, named = pairs
    result = []
    for concept, its in named.items():
        members = [i for i in range(len(votes)) if clusters[i] in its]
        mine = [i for i in members if votes[i] == concept]
        rivals = {}
        for i in members:
            if votes[i] != concept:
                n, total = rivals.get(votes[i], (0, 0.0))
                rivals[votes[i]] = (n + 1, total + cosines[i])
        best = min(rivals, key=lambda j: (-rivals[j][0], -rivals[j][1], j), default=-1)
        result.append(
            {
                "concept_id": concept,
                "votes": len(mine),
                "size": len(members),
                "purity": len(mine) / len(members),
                "clusters": len(its),
                "cluster_ids": sorted(its),
                "runner_up": best,
                "runner_up_votes": rivals[best][0] if rivals else 0,
                "examples": sorted(mine, key=lambda i: (-cosines[i], i))[:5],
            }
        )
    return sorted(result, key=lambda row: (-row["votes"], row["concept_id"]))


def unit(array):
    return (array / np.linalg.norm(array, axis=-1, keepdims=True)).astype(np.float32)


def scene(seed, n=200, k=6, v=12, d=5, m=4, true_ids=None):
    """Evidence of n random images around k directions, some clusters empty, with everything."""
    rng = np.random.default_rng(seed)
    clusters = rng.integers(0, k, n).astype(np.int32)
    images = unit(2 * rng.normal(size=(k, d))[clusters] + rng.normal(size=(n, d)))
    texts = unit(rng.normal(size=(v, d)))
    cosines = images @ texts.T
    ids = np.argsort(-cosines, axis=1, kind="stable")[:, :m].astype(np.int32)
    return Evidence(
        ids,
        np.take_along_axis(cosines, ids, axis=1),
        v,
        clusters,
        true_ids,
        cluster_centres([images], clusters, k),
        texts,
    )


def slow_soft_votes(data, m, temperature):
    """{cluster: {concept: [votes, cosines]}}, from the definition, image by image."""
    ballots = {}
    for i, c in enumerate(data.clusters.tolist()):
        weights = [np.exp(float(s) / temperature) for s in data.top_cosines[i, :m]]
        for r in range(m):
            ballot = ballots.setdefault(c, {}).setdefault(int(data.top_ids[i, r]), [0.0, 0.0])
            ballot[0] += weights[r] / sum(weights)
            ballot[1] += weights[r] / sum(weights) * float(data.top_cosines[i, r])
    return ballots


def slow_result(data, pairs):
    """`slow_columns` of (concept, cluster) pairs."""
    its = {}
    for concept, cluster in pairs:
        its.setdefault(concept, set()).add(cluster)
    return slow_columns(data.votes.tolist(), data.cosines.tolist(), (data.clusters.tolist(), its))
