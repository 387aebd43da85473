"""Names of clusters: against slow loops over the definition, and a full sort of the images."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mining_references import evidence, rows, scene, slow_name, unit

from workflow_scripts.average_clusters import average_clusters
from workflow_scripts.lib.artifacts import read_meta, read_table, write_array, write_table
from workflow_scripts.lib.concepts.evidence import cluster_centres
from workflow_scripts.lib.concepts.mining import clustermine
from workflow_scripts.lib.concepts.naming import concept_of_clusters, named_clusters, votes_won
from workflow_scripts.lib.embeddings import IMAGE_INDEX
from workflow_scripts.lib.errors import InputError
from workflow_scripts.name_clusters import name_clusters


def with_images(data, seed=0, dim=3):
    """The evidence with centres of random images and random texts; and the images."""
    rng = np.random.default_rng(seed)
    images = unit(rng.normal(size=(len(data.clusters), dim)))
    centres = cluster_centres([images], data.clusters, int(data.clusters.max()) + 1)
    texts = unit(rng.normal(size=(data.n_concepts, dim)))
    return replace(data, centres=centres, texts=texts), images


def slow_ballot(votes, cosines, clusters, c):
    """[concept, votes] of one cluster, most votes first, from the definition."""
    ballots = {}
    for vote, cosine, cluster in zip(votes, cosines, clusters, strict=True):
        if cluster == c:
            n, total = ballots.get(vote, (0, 0.0))
            ballots[vote] = n + 1, total + cosine
    order = sorted(ballots, key=lambda j: (-ballots[j][0], -ballots[j][1], j))
    return [[j, ballots[j][0]] for j in order]


def test_worked_example():
    data, images = with_images(
        evidence(
            #      cluster 0        | 1 | cluster 3
            votes=[4, 4, 2, 2, 7, 4, 1, 5, 6],
            cosines=[0.1, 0.3, 0.5, 0.5, 0.9, 0.1, 0.2, 0.3, 0.4],
            clusters=[0, 0, 0, 0, 0, 0, 1, 3, 3],
        )
    )
    table = rows(named_clusters(data, [images], 5))
    names = ["cluster", "size", "concept_id", "votes", "share", "runners_up", "runner_up_votes"]
    assert [[row[name] for name in names] for row in table if row["size"]] == [
        [0, 6, 4, 3, 0.5, [2, 7], [2, 1]],
        [1, 1, 1, 1, 1.0, [], []],
        [3, 2, 6, 1, 0.5, [5], [1]],
    ]
    one = table[1]
    assert one["nearest"] == one["farthest"] == [6]
    assert one["spread"] == pytest.approx(1)
    for empty in (table[2], table[4]):
        assert [empty[name] for name in ("size", "concept_id", "votes")] == [0, -1, 0]
        assert np.isnan([empty[name] for name in ("share", "cosine", "spread")]).all()
        lists = ("runners_up", "runner_up_votes", "nearest", "farthest")
        assert all(empty[name] == [] for name in lists)


@pytest.mark.parametrize("seed", range(12))
def test_votes_and_runners_up_match_the_definition(seed):
    rng = np.random.default_rng(seed)
    n, k, v = rng.integers(1, 300), rng.integers(1, 30), rng.integers(1, 12)
    votes, clusters = rng.integers(0, v, n), rng.integers(0, k, n)
    cosines = rng.integers(0, 5, n) / 8  # exact sums, many ties
    data, images = with_images(evidence(votes, cosines, clusters), seed)
    table = rows(named_clusters(data, [images], k))
    assert [row["cluster"] for row in table] == list(range(k))
    for c, row in enumerate(table):
        ballot = slow_ballot(votes.tolist(), cosines.tolist(), clusters.tolist(), c)
        assert row["size"] == (clusters == c).sum()
        if not ballot:
            continue
        found = [row["concept_id"], *row["runners_up"]], [row["votes"], *row["runner_up_votes"]]
        assert [list(pair) for pair in zip(*found, strict=True)] == ballot[:5]
        name, its_votes, size = slow_name(votes.tolist(), cosines, clusters, c)
        assert (row["concept_id"], row["share"]) == (name, its_votes / size)


@pytest.mark.parametrize("seed", range(3))
def test_votes_won_by_names_match_the_definition(seed):
    data = scene(seed)
    won, names = 0, set()
    for c in set(data.clusters.tolist()):
        name = slow_ballot(data.votes, data.cosines, data.clusters, c)[0][0]
        own = data.votes[data.clusters == c].tolist()
        won, names = won + own.count(name), names | {name}
    share, distinct = votes_won(data)
    assert (share, distinct) == (pytest.approx(won / len(data.votes)), len(names))


def test_names_are_those_of_clustermine():
    data, images = with_images(scene(seed=4, n=400, k=20, v=9))
    columns = named_clusters(data, [images], 20)
    mined = clustermine(data)
    found = concept_of_clusters(
        dict(enumerate(columns["concept_id"])),
        zip(mined["concept_id"], mined["cluster_ids"], strict=True),
    )
    used = np.flatnonzero(columns["size"])
    assert [found[c] for c in used] == columns["concept_id"][used].tolist()


@pytest.mark.parametrize("blocks", [1, 7, 150])
def test_images_match_a_full_sort(blocks):
    data, images = with_images(scene(seed=2, n=150, k=6))
    images[40:60] = images[40]  # ties
    data = replace(data, centres=cluster_centres([images], data.clusters, 6))
    table = rows(named_clusters(data, np.array_split(images, blocks), 6))
    cosines = np.einsum("nd,nd->n", images, data.centres[data.clusters])
    assert len(table) == 6
    for c, row in enumerate(table):
        members = np.flatnonzero(data.clusters == c).tolist()
        assert row["nearest"] == sorted(members, key=lambda i: (-cosines[i], i))[:10]
        assert row["farthest"] == sorted(members, key=lambda i: (cosines[i], i))[:10]
        assert row["spread"] == pytest.approx(cosines[members].mean())
        name = data.texts[row["concept_id"]]
        assert row["cosine"] == pytest.approx(float(name @ data.centres[c]))


def test_images_must_be_those_of_the_clusters():
    data, images = with_images(scene(seed=2))
    with pytest.raises(InputError, match="199 images but 200 cluster"):
        named_clusters(data, [images[1:]], 6)


def test_clusters_find_the_positive_that_they_were_merged_into():
    named = {0: "cat", 1: "cat", 2: "dog", 3: "cow", 4: None}
    positives = [("cat", [0, 1]), ("dog", [2])]
    assert concept_of_clusters(named, positives) == {0: "cat", 1: "cat", 2: "dog"}
    # With several names per cluster its own comes first; else the one with the most votes.
    positives = [("dog", [0, 2]), ("cat", [0, 3]), ("hen", [3])]
    assert concept_of_clusters(named, positives) == {0: "cat", 2: "dog", 3: "cat"}


def test_the_script_writes_names_and_image_ids(tmp_path):
    words = ["disc", "box", "star"]
    images = unit(np.array([[1, 0.1], [1, 0], [1, 0.3], [0, 1]]))
    paths = {name: f"{tmp_path}/{name}" for name in ("similarity", "clusters", "concepts")} | {
        name: f"{tmp_path}/{name}.npy" for name in ("centres", "texts")
    }
    clusters = np.array([1, 1, 1, 0], np.int32)
    embeddings, index = [f"{tmp_path}/0.npy", f"{tmp_path}/1.npy"], []
    for shard, part in enumerate((slice(0, 1), slice(1, 4))):
        write_array(embeddings[shard], images[part].astype(np.float16))
        ids = [f"{i}.png" for i in range(4)][part]
        index.append(f"{tmp_path}/{shard}.parquet")
        nothing = [None] * len(ids)
        write_table(index[-1], pa.table([ids, nothing, nothing], schema=IMAGE_INDEX))
    ids = pa.FixedSizeListArray.from_arrays(pa.array([2, 2, 0, 1], pa.int32()), 1)
    cosines = pa.FixedSizeListArray.from_arrays(pa.array([0.5] * 4, pa.float32()), 1)
    image_ids = pa.array([f"{i}.png" for i in range(4)])
    columns = {"image_id": image_ids, "concept_ids": ids, "cosines": cosines}
    write_table(paths["similarity"], columns)
    write_table(paths["clusters"], {"image_id": image_ids, "cluster": clusters}, {"k": 3})
    write_table(paths["concepts"], {"concept": words})
    paths["about_centres"] = f"{tmp_path}/centres.json"
    files = (paths["clusters"], paths["centres"], paths["about_centres"])
    average_clusters(embeddings, index, *files)
    write_array(paths["texts"], unit(np.array([[1, 1], [0, 1], [1, 0]])))
    inputs = SimpleNamespace(embeddings=embeddings, index=index, **paths)
    name_clusters(inputs, {"seed": 3}, tmp_path / "names.parquet")

    assert read_meta(tmp_path / "names.parquet") == {"seed": 3}
    table = read_table(tmp_path / "names.parquet").to_pandas()
    assert table["name"].tolist()[:2] == ["box", "star"]
    assert pd.isna(table["name"][2])
    assert table["runners_up"][1].tolist() == ["disc"]
    assert table["runner_up_votes"][1].tolist() == [1]
    assert table["nearest"][1].tolist() == ["0.png", "1.png", "2.png"]
    assert table["farthest"][1].tolist() == ["2.png", "1.png", "0.png"]
    assert table["nearest"][2].tolist() == []
