import numpy as np
import pyarrow as pa
import pytest

from workflow_scripts.lib import mining
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.mining import Evidence, clustermine, describe, frequency, ground_truth


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


def slow_describe(votes, cosines, pairs):
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
                "runner_up": best,
                "runner_up_votes": rivals[best][0] if rivals else 0,
                "examples": sorted(mine, key=lambda i: (-cosines[i], i))[:5],
            }
        )
    return sorted(result, key=lambda row: (-row["votes"], row["concept_id"]))


def test_clustermine_worked_example():
    columns = clustermine(
        evidence(
            #        cluster 0        | cluster 1  | cluster 3
            votes=[4, 4, 4, 2, 2, 7, 4, 4, 2, 2, 2, 2],
            cosines=[0.1, 0.3, 0.2, 0.5, 0.5, 0.9, 0.4, 0.2, 0.3, 0.1, 0.1, 0.1],
            clusters=[0, 0, 0, 0, 0, 0, 1, 1, 1, 3, 3, 3],
        )
    )
    assert rows(columns) == [
        {
            "concept_id": 4,
            "votes": 5,
            "size": 9,
            "purity": 5 / 9,
            "clusters": 2,
            "runner_up": 2,
            "runner_up_votes": 3,
            "examples": [6, 1, 2, 7, 0],
        },
        {
            "concept_id": 2,
            "votes": 3,
            "size": 3,
            "purity": 1.0,
            "clusters": 1,
            "runner_up": -1,
            "runner_up_votes": 0,
            "examples": [9, 10, 11],
        },
    ]


def test_ties_go_to_the_larger_cosine_sum_then_to_the_lower_id():
    larger_sum = clustermine(evidence([1, 1, 0, 0], [0.25, 0.5, 0.25, 0.25], [0] * 4))
    assert larger_sum["concept_id"].tolist() == [1]
    assert larger_sum["runner_up"].tolist() == [0]
    lower_id = clustermine(evidence([1, 1, 0, 0], [0.5, 0.25, 0.25, 0.5], [0] * 4))
    assert lower_id["concept_id"].tolist() == [0]
    # Votes count before cosines.
    votes_first = clustermine(evidence([1, 0, 0], [0.9, 0.1, 0.1], [0] * 3))
    assert votes_first["concept_id"].tolist() == [0]


@pytest.mark.parametrize("seed", range(12))
def test_clustermine_matches_the_definition(seed):
    rng = np.random.default_rng(seed)
    n, k, v = rng.integers(1, 300), rng.integers(1, 30), rng.integers(1, 12)
    votes, clusters = rng.integers(0, v, n), rng.integers(0, k, n)
    cosines = rng.integers(0, 5, n) / 8  # exact sums, many ties
    purity, size = rng.choice([0, 0.4]), int(rng.choice([1, 6]))
    named = {}
    for c in sorted(set(clusters.tolist())):
        name, its_votes, its_size = slow_name(votes.tolist(), cosines, clusters, c)
        if its_size >= size and its_votes >= purity * its_size:
            named.setdefault(name, set()).add(c)
    data = evidence(votes, cosines, clusters, n_concepts=v + 3)
    if not named:
        with pytest.raises(InputError, match="lower minimum_size"):
            clustermine(data, purity, size)
        return
    expected = slow_describe(votes.tolist(), cosines.tolist(), (clusters, named))
    assert rows(clustermine(data, purity, size)) == expected


def test_describe_takes_several_names_per_cluster():
    rng = np.random.default_rng(0)
    votes, clusters = rng.integers(0, 6, 200), rng.integers(0, 5, 200)
    cosines = rng.integers(0, 5, 200) / 8
    named = {0: {1, 2}, 3: {1}, 5: {0, 1, 4}}
    concept_ids = np.array([j for j, its in named.items() for _ in its])
    cluster_ids = np.array([c for its in named.values() for c in its])
    columns = describe(evidence(votes, cosines, clusters), concept_ids, cluster_ids)
    assert rows(columns) == slow_describe(votes.tolist(), cosines.tolist(), (clusters, named))


def test_thresholds_are_inclusive_and_per_cluster():
    # Cluster 0: 2 of 4 for concept 1; cluster 1: 1 of 1 for concept 1; cluster 2: 3 of 3.
    data = evidence([1, 1, 0, 2, 1, 0, 0, 0], [0.5] * 8, [0, 0, 0, 0, 1, 2, 2, 2])

    def names(**settings):
        return clustermine(data, **settings)["concept_id"].tolist()

    assert names(minimum_purity=0.5) == [0, 1]
    assert clustermine(data, minimum_purity=0.51)["clusters"].tolist() == [1, 1]
    assert names(minimum_size=3) == [0, 1]
    assert names(minimum_size=4) == [1]
    assert names(minimum_purity=0.6, minimum_size=2) == [0]


def test_frequency_counts_all_images():
    data = evidence([3, 3, 3, 1, 1, 0, 0, 2], [0.1, 0.3, 0.2, 0.5, 0.5, 0.9, 0.4, 0.2])
    columns = frequency(data)
    assert columns["concept_id"].tolist() == [3, 0, 1, 2]
    assert columns["votes"].tolist() == [3, 2, 2, 1]
    assert [e.tolist() for e in columns["examples"]] == [[1, 2, 0], [5, 6], [3, 4], [7]]
    assert columns["size"].tolist() == columns["clusters"].tolist() == [0] * 4
    assert np.isnan(columns["purity"]).all()
    assert columns["runner_up"].tolist() == [-1] * 4
    assert sorted(frequency(data, minimum_count=2)["concept_id"]) == [0, 1, 3]
    # Concepts 0 and 1 tie at two votes; 0 has the larger sum of cosines.
    assert sorted(frequency(data, top_n=2)["concept_id"]) == [0, 3]
    assert sorted(frequency(data, top_n=99)["concept_id"]) == [0, 1, 2, 3]
    with pytest.raises(InputError, match="lower minimum_count"):
        frequency(data, minimum_count=4)


def test_frequency_never_takes_a_concept_without_votes():
    assert frequency(evidence([2], [0.5], n_concepts=9), 0)["concept_id"].tolist() == [2]


def test_ground_truth_keeps_every_true_name_once():
    data = evidence([3, 3, 1], [0.1, 0.3, 0.2], n_concepts=9, true_ids=np.array([8, 3, 8]))
    columns = ground_truth(data)
    assert columns["concept_id"].tolist() == [3, 8]
    assert columns["votes"].tolist() == [2, 0]
    assert [e.tolist() for e in columns["examples"]] == [[1, 0], []]


def test_large_ids_do_not_overflow():
    # cluster * n_concepts exceeds int32
    columns = clustermine(evidence([99_999, 5], [0.5, 0.5], [40_000, 2], n_concepts=100_000))
    assert columns["concept_id"].tolist() == [5, 99_999]
    assert columns["size"].tolist() == [1, 1]


@pytest.mark.parametrize("method", sorted(mining.METHODS))
def test_all_methods_return_the_same_table(method):
    rng = np.random.default_rng(1)
    function, needs_clusters = mining.METHODS[method]
    clusters = rng.integers(0, 4, 50) if needs_clusters else None
    data = evidence(rng.integers(0, 9, 50), rng.random(50), clusters, 9, np.array([2, 5]))
    columns = function(data)
    schema = pa.table(columns).schema
    assert [f"{field.name}: {field.type}" for field in schema] == [
        "concept_id: int64",
        "votes: int64",
        "size: int64",
        "purity: double",
        "clusters: int64",
        "runner_up: int64",
        "runner_up_votes: int64",
        "examples: list<item: int64>",
    ]
    assert (np.diff(columns["votes"]) <= 0).all()


def test_refuses_evidence_that_does_not_fit():
    with pytest.raises(InputError, match="no images"):
        Evidence(np.empty((0, 1), np.int32), np.empty((0, 1), np.float32), 5)
    with pytest.raises(InputError, match="ids and cosines differ"):
        Evidence(np.zeros((2, 1), np.int32), np.zeros((2, 3), np.float32), 5)
    with pytest.raises(InputError, match="1 cluster assignments for 2 images"):
        evidence([0, 1], [0.5, 0.5], [0])
    with pytest.raises(InputError, match="not be negative"):
        evidence([0, 1], [0.5, 0.5], [0, -1])
    with pytest.raises(InputError, match=r"outside 0\.\.2"):
        evidence([0, 3], [0.5, 0.5], n_concepts=3)
    with pytest.raises(InputError, match=r"outside 0\.\.2"):
        evidence([0, 2], [0.5, 0.5], n_concepts=3, true_ids=np.array([-1]))
    with pytest.raises(InputError, match="needs the true classes"):
        ground_truth(evidence([0], [0.5]))
