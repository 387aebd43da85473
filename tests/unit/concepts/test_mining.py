from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from mining_references import (
    evidence,
    rows,
    scene,
    slow_columns,
    slow_name,
    slow_result,
    slow_soft_votes,
)

from workflow_scripts.lib.artifacts import write_table
from workflow_scripts.lib.concepts import mining
from workflow_scripts.lib.concepts.evidence import Evidence, mined_columns
from workflow_scripts.lib.concepts.methods import METHODS
from workflow_scripts.lib.concepts.mining import (
    clustermine,
    frequency,
    ground_truth,
    ground_truth_and_mined,
    random,
)
from workflow_scripts.lib.errors import InputError
from workflow_scripts.mine_ground_truth import true_concepts


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
            "cluster_ids": [0, 1],
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
            "cluster_ids": [3],
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
    expected = slow_columns(votes.tolist(), cosines.tolist(), (clusters, named))
    assert rows(clustermine(data, purity, size)) == expected


def test_columns_take_several_names_per_cluster():
    rng = np.random.default_rng(0)
    votes, clusters = rng.integers(0, 6, 200), rng.integers(0, 5, 200)
    cosines = rng.integers(0, 5, 200) / 8
    named = {0: {1, 2}, 3: {1}, 5: {0, 1, 4}}
    concept_ids = np.array([j for j, its in named.items() for _ in its])
    cluster_ids = np.array([c for its in named.values() for c in its])
    columns = mined_columns(evidence(votes, cosines, clusters), concept_ids, cluster_ids)
    assert rows(columns) == slow_columns(votes.tolist(), cosines.tolist(), (clusters, named))


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
    assert [ids.tolist() for ids in columns["cluster_ids"]] == [[]] * 4
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


def test_soft_votes_worked_example():
    # At temperature 1 / ln 3 a gap of 1 in the cosine is a factor of 3 in the weight.
    ids = np.array([[0, 1], [0, 1], [1, 2]], np.int32)
    cosines = np.array([[1, 1], [1, 1], [1, 0]], np.float32)
    data = Evidence(ids, cosines, 3, np.zeros(3, np.int32))
    # Best matches only: two votes for 0. Soft: 1 for 0, 1 + 3/4 for 1, 1/4 for 2.
    assert clustermine(data)["concept_id"].tolist() == [0]
    soft = clustermine(data, top_m=2, temperature=1 / np.log(3))
    assert soft["concept_id"].tolist() == [1]
    # The columns count best matches, whatever the vote.
    assert soft["votes"].tolist() == [1]
    assert soft["runner_up"].tolist() == [0]
    both = {"top_m": 2, "temperature": 1 / np.log(3), "names_per_cluster": 3}
    share = {0.1: {0, 1}, 0.3: {0, 1}, 0.34: {1}, 0.08: {0, 1, 2}}
    for purity, names in share.items():
        assert set(clustermine(data, purity, **both)["concept_id"].tolist()) == names
    with pytest.raises(InputError, match="top_m = 3, but the similarity pass has 2"):
        clustermine(data, top_m=3)


def test_soft_votes_break_ties_by_cosines_in_the_same_proportions():
    # Weights 3/4 and 1/4, so one vote each; cosines .75 * .875 for 1, .25 * .375 + .75 * .5 for 0.
    ids, cosines = [[1, 0], [0, 1]], [[0.875, 0.375], [0.5, 0.0]]
    data = Evidence(
        np.array(ids, np.int32), np.array(cosines, np.float32), 2, np.zeros(2, np.int32)
    )
    soft = clustermine(data, top_m=2, temperature=0.5 / np.log(3))
    assert soft["concept_id"].tolist() == [1]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("m", "names"), [(1, 2), (2, 1), (4, 3)])
def test_soft_votes_and_several_names_match_the_definition(seed, m, names):
    data = scene(seed)
    pairs, size = [], np.bincount(data.clusters)
    for c, ballots in slow_soft_votes(data, m, 0.05).items():
        ranked = sorted(ballots, key=lambda j: (-ballots[j][0], -ballots[j][1], j))[:names]
        pairs += [(j, c) for j in ranked if ballots[j][0] >= 0.2 * size[c]]
    settings = {"minimum_purity": 0.2, "top_m": m, "temperature": 0.05, "names_per_cluster": names}
    assert rows(clustermine(data, **settings)) == slow_result(data, pairs)


def test_a_cold_soft_vote_is_the_hard_vote():
    data = scene(seed=3)
    hard, cold = clustermine(data), clustermine(data, top_m=4, temperature=1e-6)
    assert rows(hard) == rows(cold)


def test_random_names_follow_the_seed_alone():
    data = scene(seed=0, k=6, v=200)
    names = random(data, seed=1)["concept_id"].tolist()
    assert len(names) == 6
    gap = replace(data, clusters=np.where(data.clusters == 2, 0, data.clusters))
    assert len(random(gap, seed=1)["concept_id"]) == 5
    assert sorted(names) == sorted(random(scene(seed=7, k=6, v=200), seed=1)["concept_id"])
    assert sorted(names) != sorted(random(data, seed=2)["concept_id"])
    assert sorted(random(data, seed=0, n=200)["concept_id"]) == list(range(200))
    with pytest.raises(InputError, match="n = 201, but the corpus has 200"):
        random(data, seed=0, n=201)


def test_random_draws_every_concept_alike():
    data = scene(seed=0, v=12)
    drawn = [random(data, seed=seed, n=3)["concept_id"] for seed in range(400)]
    counts = np.bincount(np.concatenate(drawn), minlength=12)  # mean 100, standard deviation 9
    assert counts.min() > 65
    assert counts.max() < 135


def test_ground_truth_and_mined_is_the_union():
    data = scene(seed=0, true_ids=np.array([11, 2, 11]))
    mined = clustermine(data, names_per_cluster=2)
    both = ground_truth_and_mined(data, names_per_cluster=2)
    assert set(both["concept_id"]) == {2, 11} | set(mined["concept_id"])
    counts = np.bincount(data.votes, minlength=12)
    assert both["votes"].tolist() == counts[both["concept_id"]].tolist()
    with pytest.raises(InputError, match="needs the true classes"):
        ground_truth_and_mined(replace(data, true_ids=None))


def test_large_ids_do_not_overflow():
    # cluster * n_concepts exceeds int32
    columns = clustermine(evidence([99_999, 5], [0.5, 0.5], [40_000, 2], n_concepts=100_000))
    assert columns["concept_id"].tolist() == [5, 99_999]
    assert columns["size"].tolist() == [1, 1]


@pytest.mark.parametrize("method", sorted(METHODS))
def test_all_methods_return_the_same_table_from_no_more_than_they_need(method):
    function, needs = getattr(mining, method), METHODS[method]
    assert set(needs) <= {"clusters", "centres", "labels", "seed", "names"}
    arguments = {"seed": 3, "names": np.array([7, 2])}
    parameters = {name: arguments[name] for name in arguments if name in needs}

    def mine():
        full = scene(seed=1, n=80, k=4, v=9, true_ids=np.array([2, 5]))
        fields = {"clusters": "clusters", "centres": "centres", "texts": "centres"}
        fields["true_ids"] = "labels"
        unneeded = {field: None for field, need in fields.items() if need not in needs}
        return function(replace(full, **unneeded), **parameters)

    columns = mine()
    schema = pa.table(columns).schema
    assert [f"{field.name}: {field.type}" for field in schema] == [
        "concept_id: int64",
        "votes: int64",
        "size: int64",
        "purity: double",
        "clusters: int64",
        "runner_up: int64",
        "runner_up_votes: int64",
        "cluster_ids: list<item: int64>",
        "examples: list<item: int64>",
    ]
    assert (np.diff(columns["votes"]) <= 0).all()
    assert len(set(columns["concept_id"].tolist())) == len(columns["concept_id"]) > 0
    assert repr(rows(mine())) == repr(rows(columns))  # repr: NaN is NaN


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize(("n", "k", "v"), [(1, 1, 1), (30, 1, 8), (60, 20, 3)])
def test_one_cluster_and_more_clusters_than_concepts(method, n, k, v):
    function, needs = getattr(mining, method), METHODS[method]
    data = scene(seed=5, n=n, k=k, v=v, m=min(v, 2), true_ids=np.array([0]))
    arguments = {"seed": 0, "names": np.array([0])}
    columns = function(data, **{name: arguments[name] for name in arguments if name in needs})
    assert 1 <= len(columns["concept_id"]) <= v
    assert (columns["votes"] <= n).all()


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


def test_the_oracle_says_that_there_are_no_labels(tmp_path):
    write_table(tmp_path / "index.parquet", {"label": pa.nulls(3, pa.string())})
    with pytest.raises(InputError, match="no training image has a label"):
        true_concepts([tmp_path / "index.parquet"], pa.array(["cat"]), str)
