"""Minings that read more than votes: centroid, tac and scd; the cluster centres themselves."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from mining_references import evidence, rows, scene, slow_result, slow_soft_votes, unit

from workflow_scripts.lib.concepts.evidence import Evidence, cluster_centres
from workflow_scripts.lib.concepts.mining import centroid, clustermine, scd, tac
from workflow_scripts.lib.errors import InputError


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
        with pytest.raises(InputError, match="images but 50 cluster"):
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
