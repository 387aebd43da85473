from dataclasses import replace
from itertools import permutations

import numpy as np
import pyarrow as pa
import pytest

from workflow_scripts.lib.concepts import mining
from workflow_scripts.lib.concepts.evidence import Evidence, cluster_centres, describe
from workflow_scripts.lib.concepts.mining import (
    centroid,
    clustermine,
    frequency,
    ground_truth,
    ground_truth_and_mined,
    random,
    scd,
    tac,
)
from workflow_scripts.lib.concepts.needs import NEEDS
from workflow_scripts.lib.errors import InputError


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
    """`slow_describe` of (concept, cluster) pairs."""
    its = {}
    for concept, cluster in pairs:
        its.setdefault(concept, set()).add(cluster)
    return slow_describe(data.votes.tolist(), data.cosines.tolist(), (data.clusters.tolist(), its))


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


@pytest.mark.parametrize("seed", range(5))
def test_centroid_is_the_nearest_concept_of_each_mean(seed):
    data = scene(seed, n=40, k=12)  # some clusters are empty
    pairs = [
        (max(range(12), key=lambda j: data.texts[j] @ data.centres[c]), c)
        for c in sorted(set(data.clusters.tolist()))
    ]
    assert rows(centroid(data)) == slow_result(data, pairs)


def test_centroid_takes_the_lower_of_equal_concepts():
    data = scene(seed=0)
    same = replace(data, texts=np.repeat(data.texts[:1], 12, axis=0))
    assert centroid(same)["concept_id"].tolist() == [0]


def slow_tac(data, names, temperature):
    used = sorted(set(data.clusters.tolist()))
    owned = {}
    for j in range(data.n_concepts):
        cosines = [float(data.texts[j] @ data.centres[c]) for c in used]
        masses = [np.exp(s / temperature) for s in cosines]
        best = int(np.argmax(cosines))
        owned.setdefault(used[best], []).append((masses[best] / sum(masses), j))
    return [(j, c) for c, its in owned.items() for _, j in sorted(its, reverse=True)[:names]]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("names", "temperature"), [(1, 0.1), (2, 1.0), (5, 1.0)])
def test_tac_matches_the_definition(seed, names, temperature):
    data = scene(seed, n=20, k=15, v=40)  # some clusters are empty
    assert rows(tac(data, names, temperature)) == slow_result(
        data, slow_tac(data, names, temperature)
    )


def test_tac_prefers_the_discriminative_to_the_near():
    # Concept 0 is nearer to centre 0 than concept 1 is, but as near to centre 1.
    texts = np.array([[0.7, 0.7, 0.14], [0.6, 0, 0.8], [0, 0.6, 0.8]], np.float32)
    data = Evidence(
        np.zeros((2, 1), np.int32),
        np.ones((2, 1), np.float32),
        3,
        np.array([0, 1], np.int32),
        centres=np.eye(3, dtype=np.float32)[:2],
        texts=texts,
    )
    assert sorted(tac(data, names_per_cluster=1)["concept_id"]) == [1, 2]
    # A tie between centres goes to the lower cluster: 0 is the second name of cluster 0.
    assert sorted(tac(data, names_per_cluster=2)["concept_id"]) == [0, 1, 2]
    assert tac(data, names_per_cluster=2)["size"].tolist() == [1, 1, 1]


def test_tac_of_one_cluster_takes_the_nearest_and_ranks_sure_concepts():
    one = scene(seed=2, k=1)
    nearest = np.argsort(-(one.texts @ one.centres[0]))[:3]
    assert set(tac(one, names_per_cluster=3)["concept_id"]) == set(nearest)
    # Both concepts have probability 1 in float32; the surer one wins, though it is farther.
    centres = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    texts = np.array([[0.8, 0.4, 0.45], [0.7, -0.1, 0.7]], np.float32)
    sure = replace(scene(seed=0, n=50, k=2, v=2, m=1), centres=centres, texts=texts)
    assert tac(sure, 1, 0.005)["concept_id"].tolist() == [1]


def test_tac_and_centroid_do_not_depend_on_the_tile(monkeypatch):
    data = scene(seed=4, k=7, v=30)
    whole = rows(tac(data)), rows(centroid(data))
    monkeypatch.setattr("workflow_scripts.lib.concepts.similarity.TILE", 31)
    assert (rows(tac(data)), rows(centroid(data))) == whole


def slow_naming(ballots, n):
    """The one-to-one naming of most votes, then most cosines, by trying every one."""
    clusters = sorted(ballots)
    concepts = sorted({j for ballot in ballots.values() for j in ballot})
    best, names = (-1, -1), None
    for order in permutations([*concepts, *[None] * len(clusters)], len(clusters)):
        pairs = [(c, j) for c, j in zip(clusters, order, strict=True) if j in ballots[c]]
        value = tuple(round(sum(ballots[c][j][x] for c, j in pairs), 9) for x in (0, 1))
        if value > best:
            best, names = value, dict(pairs)
    return best, names


def slow_scd(data, m, temperature):
    """(pairs, clusters) at the fixed point, and the votes after each naming."""
    history = []
    while True:
        votes, names = slow_naming(slow_soft_votes(data, m, temperature), len(data.clusters))
        if history and votes <= history[-1]:
            return data, [(j, c) for c, j in names.items()], history
        history.append(votes)
        cluster_of = {j: c for c, j in names.items()}
        moved = [
            next((cluster_of[j] for j in ids if j in cluster_of), c)
            for ids, c in zip(data.top_ids.tolist(), data.clusters.tolist(), strict=True)
        ]
        data = replace(data, clusters=np.array(moved, np.int32))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("m", "k", "v"), [(1, 3, 5), (2, 3, 4), (1, 4, 3)])
def test_scd_matches_the_definition(seed, m, k, v):
    data = scene(seed, n=40, k=k, v=v, m=min(v, 3))
    final, pairs, history = slow_scd(data, m, 0.05)
    assert history == sorted(history)
    assert rows(scd(data, m, 0.05)) == slow_result(final, pairs)


def test_scd_gives_no_name_twice():
    # Both clusters vote for 0 first. Cluster 1 gives way: 5 + 1 beats 2 + 3, ...
    votes = [0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 2]
    clusters = [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1]
    data = evidence(votes, [0.5] * 11, clusters)
    assert clustermine(data)["concept_id"].tolist() == [0]
    columns = scd(data)
    # ... then its voters of 0 go over to cluster 0, and the 2 left name it.
    assert columns["concept_id"].tolist() == [0, 2]
    assert columns["votes"].tolist() == [8, 1]
    assert columns["size"].tolist() == [10, 1]


def test_scd_iterates_to_another_naming():
    # First naming: cluster 0 -> 0 (3 votes of 0, 2 of 1), cluster 1 -> 2. Its 0s join cluster 0;
    # the 2 voters of 1 left in cluster 1, whose second match is 0, join cluster 0 as well, where
    # then 1 has more votes than 0.
    ids = [[0, 3]] * 3 + [[1, 0]] * 2 + [[2, 3]] * 4 + [[1, 0]] * 3
    cosines = [[0.5, 0.4]] * 12
    clusters = np.array([0] * 5 + [1] * 7, np.int32)
    data = Evidence(np.array(ids, np.int32), np.array(cosines, np.float32), 4, clusters)
    assert clustermine(data)["concept_id"].tolist() == [2, 0]
    columns = scd(data)
    assert columns["concept_id"].tolist() == [1, 2]
    assert columns["votes"].tolist() == [5, 4]
    assert columns["size"].tolist() == [8, 4]


def test_scd_leaves_clusters_without_a_free_name_unnamed():
    columns = scd(evidence([0, 0, 0, 1], [0.5] * 4, [0, 1, 2, 2]))
    assert sorted(columns["concept_id"]) == [0, 1]
    assert columns["clusters"].tolist() == [1, 1]
    # All voters of 0 end in one cluster, the only voter of 1 in its own.
    assert columns["size"].tolist() == [3, 1]


def test_scd_breaks_ties_by_cosines():
    assert scd(evidence([0, 1], [0.5, 0.75], [0, 0]))["concept_id"].tolist() == [1]
    assert scd(evidence([0, 1], [0.75, 0.5], [0, 0]))["concept_id"].tolist() == [0]


def test_ground_truth_and_mined_is_the_union():
    data = scene(seed=0, true_ids=np.array([11, 2, 11]))
    mined = clustermine(data, names_per_cluster=2)
    both = ground_truth_and_mined(data, names_per_cluster=2)
    assert set(both["concept_id"]) == {2, 11} | set(mined["concept_id"])
    counts = np.bincount(data.votes, minlength=12)
    assert both["votes"].tolist() == counts[both["concept_id"]].tolist()
    with pytest.raises(InputError, match="needs the true classes"):
        ground_truth_and_mined(replace(data, true_ids=None))


def test_cluster_centres_are_unit_means_and_stream():
    rng = np.random.default_rng(0)
    images, clusters = unit(rng.normal(size=(50, 4))), rng.integers(0, 6, 50).astype(np.int32)
    clusters[clusters == 3] = 0
    centres = cluster_centres([images[:7], images[:0], images[7:]], clusters, 8)
    assert centres.dtype == np.float32
    for c in range(8):
        members = images[clusters == c].astype(np.float64)
        mean = members.mean(axis=0) if len(members) else np.zeros(4)
        expected = mean / np.linalg.norm(mean) if len(members) else mean
        np.testing.assert_allclose(centres[c], expected, atol=1e-7)
    opposite = np.array([[1, 0], [-1, 0]], np.float32)
    assert cluster_centres([opposite], np.zeros(2, np.int32), 1).tolist() == [[0, 0]]
    for short in ([images[:49]], [images, images[:1]]):
        with pytest.raises(InputError, match="image embeddings but 50 cluster"):
            cluster_centres(short, clusters, 8)
    with pytest.raises(InputError, match="NaN"):
        cluster_centres([images * np.float32(np.nan)], clusters, 8)


def test_refuses_centres_that_do_not_fit():
    data = scene(seed=0, k=6)
    with pytest.raises(InputError, match="do not fit a corpus of 12"):
        replace(data, texts=data.texts[:-1])
    with pytest.raises(InputError, match=r"cluster centres \[6, 4\]"):
        replace(data, centres=data.centres[:, :4])
    with pytest.raises(InputError, match="5 cluster centres, but cluster 5 occurs"):
        replace(data, centres=data.centres[:5])
    with pytest.raises(InputError, match="NaN"):
        replace(data, texts=data.texts * np.float32(np.inf))


def test_large_ids_do_not_overflow():
    # cluster * n_concepts exceeds int32
    columns = clustermine(evidence([99_999, 5], [0.5, 0.5], [40_000, 2], n_concepts=100_000))
    assert columns["concept_id"].tolist() == [5, 99_999]
    assert columns["size"].tolist() == [1, 1]


@pytest.mark.parametrize("method", sorted(mining.METHODS))
def test_all_methods_return_the_same_table_from_no_more_than_they_need(method):
    function, needs = mining.METHODS[method], NEEDS[method]
    assert set(needs) <= {"clusters", "centres", "labels", "seed"}
    parameters = {"seed": 3} if "seed" in needs else {}

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
        "examples: list<item: int64>",
    ]
    assert (np.diff(columns["votes"]) <= 0).all()
    assert len(set(columns["concept_id"].tolist())) == len(columns["concept_id"]) > 0
    assert repr(rows(mine())) == repr(rows(columns))  # repr: NaN is NaN


@pytest.mark.parametrize("method", sorted(mining.METHODS))
@pytest.mark.parametrize(("n", "k", "v"), [(1, 1, 1), (30, 1, 8), (60, 20, 3)])
def test_one_cluster_and_more_clusters_than_concepts(method, n, k, v):
    function, needs = mining.METHODS[method], NEEDS[method]
    data = scene(seed=5, n=n, k=k, v=v, m=min(v, 2), true_ids=np.array([0]))
    columns = function(data, **({"seed": 0} if "seed" in needs else {}))
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
