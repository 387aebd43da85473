"""Clusters of one encoder, names of another; studies of encoders that cannot name."""

import shutil
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import yaml
from changes import set_key
from projects import MINI, WORDS

from workflow_scripts.lib.artifacts import read_meta, write_array, write_table
from workflow_scripts.lib.detection import load_detector

CONCEPTS = "results/concepts/tinyclip/photos/words/{}/{}/seed0.parquet"
TRAIN = "results/embeddings/{}/images/photos"


@pytest.fixture(scope="session")
def spaces(finished, shared):
    """The miniature project where an image model clusters and tinyclip names, after a run."""
    return shared("spaces", lambda folder: run_spaces(finished.copy(folder)))


def run_spaces(project):
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    save_file(timm.create_model("test_vit").state_dict(), project.folder / "vit.safetensors")
    config = yaml.safe_load(yaml.safe_dump(MINI))
    config["encoders"] = {
        "dino": {"method": "timm", "model": "test_vit", "pretrained": "vit.safetensors"}
    }
    config["clusterings"]["kmeans_3"]["encoder"] = "dino"
    config["detectors"] |= {"knn": {"method": "knn", "k": 2}}
    config["studies"]["mini"] |= {
        "minings": ["clustermine", "frequency_1", "centroid", "ground_truth_and_mined"],
        "detectors": ["mcm", "neglabel", "mahalanobis"],
    }
    study = config["studies"]["mini"]
    config["studies"]["visual"] = {key: study[key] for key in ("train", "test", "far")} | {
        "encoders": ["dino"],
        "clusterings": ["kmeans_3", "temi_3"],
        "detectors": ["knn", "mahalanobis"],
    }
    config["compare"] = ["both"]
    config["benchmarks"] = {
        "both": {"axis": "none", "encoders": ["tinyclip", "dino"], "levels": {"all": "photos"},
                 "clusterings": ["kmeans_3", "temi_3"]}
    }  # fmt: skip
    config["run"] = ["mini", "visual"]
    project.write_config(config)
    project.run("all", "results/benchmarks/both/clustering.parquet")


def read(project, path):
    return pd.read_parquet(project.folder / path)


def clusters_of(project, clustering="kmeans_3"):
    """Image id -> cluster."""
    table = read(project, f"results/clusters/dino/photos/{clustering}/seed0.parquet")
    return table.set_index("image_id")["cluster"]


def embeddings(project, encoder):
    """The training images' embeddings, a data frame by image id."""
    folder = project.folder / TRAIN.format(encoder)
    shards = sorted(folder.glob("?????.parquet"))
    ids = np.concatenate([pd.read_parquet(path)["image_id"] for path in shards])
    vectors = np.concatenate([np.load(path.with_suffix(".npy")) for path in shards])
    vectors = vectors.astype(np.float64)
    return pd.DataFrame(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), index=ids)


def names_by_hand(project, clusters):
    """Name -> (votes, images of its clusters) by the vote of tinyclip in the other's clusters."""
    matches = read(project, "results/similarity/tinyclip/photos/words.parquet")
    ballots = {}
    for image, ids, cosines in matches.itertuples(index=False):
        if image in clusters.index:
            ballots.setdefault(clusters[image], []).append((WORDS[ids[0]], cosines[0]))
    found = Counter()
    sizes = Counter()
    for ballot in ballots.values():
        votes, cosines = Counter(), Counter()
        for name, cosine in ballot:
            votes[name] += 1
            cosines[name] += float(cosine)
        best = max(votes, key=lambda name: (votes[name], cosines[name]))
        found[best] += votes[best]
        sizes[best] += len(ballot)
    return {name: (found[name], sizes[name]) for name in found}


def mined(project, mining="clustermine", clustering="kmeans_3"):
    table = read(project, CONCEPTS.format(clustering, mining))
    return {row.concept: (row.votes, row.size_) for row in table.rename(
        columns={"size": "size_"}).itertuples()}  # fmt: skip


def test_one_encoder_clusters_and_another_names(spaces):
    clusters = clusters_of(spaces)
    assert not (spaces.folder / "results/embeddings/dino/texts").exists()
    before = read(spaces, "results/clusters/tinyclip/photos/kmeans_3/seed0.parquet")
    assert not np.array_equal(before["cluster"], clusters)  # of the run before, without `encoder`
    assert mined(spaces) == names_by_hand(spaces, clusters)
    meta = read_meta(spaces.folder / CONCEPTS.format("kmeans_3", "clustermine"))
    assert (meta["encoder"], meta["clustering_encoder"]) == ("tinyclip", "dino")
    other = read_meta(spaces.folder / CONCEPTS.format("temi_3", "clustermine"))
    assert other["clustering_encoder"] == "tinyclip"


def test_centres_are_in_the_space_of_the_names(spaces):
    centres = np.load(spaces.folder / "results/centres/tinyclip/photos/kmeans_3/seed0.npy")
    images = embeddings(spaces, "tinyclip")
    means = images.groupby(clusters_of(spaces).reindex(images.index)).mean().to_numpy(copy=True)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    assert np.allclose(centres, means, atol=1e-6)
    texts = np.load(spaces.folder / "results/embeddings/tinyclip/texts/words.npy")
    nearest = {WORDS[i] for i in (means @ texts.T.astype(np.float64)).argmax(axis=1)}
    assert set(mined(spaces, "centroid")) == nearest


def mahalanobis_by_hand(project, clusters, shrinkage=0.01):
    """The scores of the test images of `mini`, by the formula."""
    images = embeddings(project, "tinyclip")
    images = images[images.index.isin(clusters.index)]
    own = clusters.reindex(images.index).to_numpy()
    means = np.stack([images[own == c].mean(axis=0) for c in np.unique(own)])
    rest = images.to_numpy() - means[np.searchsorted(np.unique(own), own)]
    covariance = rest.T @ rest / len(rest)
    size = len(covariance)
    covariance = (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / size * np.eye(
        size
    )
    inverse = np.linalg.inv(covariance)
    tests = np.load(project.folder / "results/embeddings/tinyclip/images/photos_test/00000.npy")
    gaps = tests.astype(np.float64)[:, None] - means
    return -np.einsum("nkd,de,nke->nk", gaps, inverse, gaps).min(axis=1)


def mahalanobis_scores(project):
    table = read(project, "results/scores/mini/tinyclip/kmeans_3/none/seed0.parquet")
    return table.loc[table["image_set"] == "photos_test", "mahalanobis"].to_numpy()


def test_mahalanobis_measures_in_the_scoring_space(spaces):
    expected = mahalanobis_by_hand(spaces, clusters_of(spaces))
    assert np.allclose(mahalanobis_scores(spaces), expected, rtol=1e-3)


def test_a_detector_takes_the_clusters_of_another_encoder_along_as_means(spaces, tmp_path):
    project = spaces.copy(tmp_path / "project")
    folder = "results/detectors/mini/tinyclip/kmeans_3/clustermine/seed0"
    project.run(f"{folder}/detector.json")
    detector = load_detector(project.folder / folder)
    images = embeddings(project, "tinyclip")
    means = images.groupby(clusters_of(project).reindex(images.index)).mean().to_numpy(copy=True)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    found, names = detector.cluster(images.to_numpy(np.float32))
    assert found.tolist() == (images.to_numpy() @ means.T).argmax(axis=1).tolist()
    named = read(project, "results/names/tinyclip/photos/words/kmeans_3/seed0.parquet")["name"]
    assert names.tolist() == named[found].tolist()
    tests = np.load(project.folder / "results/embeddings/tinyclip/images/photos_test/00000.npy")
    expected = mahalanobis_by_hand(project, clusters_of(project))
    assert np.allclose(detector.score(tests).scores["mahalanobis"], expected, rtol=1e-3)
    project.run("score", "--config", "folder=photos/strange", f"detector={folder}")
    scored = read(project, "results/scored/strange/outliers.parquet")
    assert set(scored["cluster"]) <= set(named) and len(scored) == 10


def test_tables_keep_the_studys_encoder_and_name_the_clusterings(spaces):
    table = read(spaces, "results/tables/clustering.parquet")
    keys = ["study", "encoder", "clustering_encoder", "clustering"]
    assert table[keys].to_numpy().tolist() == [
        ["mini", "tinyclip", "dino", "kmeans_3"],
        ["mini", "tinyclip", "tinyclip", "temi_3"],
        ["visual", "dino", "dino", "kmeans_3"],
        ["visual", "dino", "dino", "temi_3"],
    ]
    assert table["acc"].notna().all()
    for name in ("ood", "concepts", "label_quality"):
        rows = read(spaces, f"results/tables/{name}.parquet")
        assert set(rows.loc[rows["study"] == "mini", "encoder"]) == {"tinyclip"}
    rows = read(spaces, "results/benchmarks/both/clustering.parquet")
    assert rows[["encoder", "clustering"]].to_numpy().tolist() == [
        ["dino", "kmeans_3"], ["tinyclip", "temi_3"], ["dino", "temi_3"]
    ]  # fmt: skip


def test_an_encoder_without_texts_has_a_study_beside_others(spaces):
    ood = read(spaces, "results/tables/ood.parquet").query("study == 'visual'")
    assert set(ood["detector"]) == {"knn", "mahalanobis"}
    assert set(ood["mining"]) == {"none"} and ood["auroc"].notna().all()
    assert set(read(spaces, "results/tables/concepts.parquet")["study"]) == {"mini"}
    summary = (spaces.folder / "results/tables/summary.md").read_text()
    section = summary.split("## Study visual")[1].split("## Where to look")[0]
    assert "AUROC, without names: knn" in section and "names of" not in section
    assert "concepts" in summary.split("## Where to look")[1]


def test_an_encoder_without_texts_runs_alone(spaces, tmp_path):
    project = spaces.copy(tmp_path / "project")
    shutil.rmtree(project.folder / "results/tables")
    set_key("run", ["visual"])(project)
    ran = project.rules_run()
    assert not {"embed_texts", "build_corpus", "match_concepts", "mine_concepts"} & set(ran)
    made = {path.name for path in (project.folder / "results/tables").glob("*.md")}
    assert made == {
        "means.md",
        "ood.md",
        "comparison.md",
        "clustering.md",
        "duplicates.md",
        "quarantine.md",
        "summary.md",
    }
    summary = (project.folder / "results/tables/summary.md").read_text()
    assert "concepts" not in summary and "AUROC, without names: knn" in summary
    assert project.rules_run("-n") == {}
    project.run("results/figures/visual.svg")
    assert "AUROC" in (project.folder / "results/figures/visual.svg").read_text()


def without_images(project, encoder, count):
    """Leave the first images out of the training embeddings of an encoder; return their ids."""
    path = project.folder / TRAIN.format(encoder) / "00000.parquet"
    rows = pd.read_parquet(path)
    meta = read_meta(path)
    array = path.with_suffix(".npy")
    meta["array"] = write_array(array, np.load(array)[count:])
    columns = {name: rows[name].to_list()[count:] for name in rows}
    write_table(path, columns, meta)
    return rows["image_id"].tolist()[:count]


TARGETS = [
    CONCEPTS.format("kmeans_3", "clustermine"),
    CONCEPTS.format("kmeans_3", "ground_truth_and_mined"),
    CONCEPTS.format("kmeans_3", "centroid"),
    "results/scores/mini/tinyclip/kmeans_3/none/seed0.parquet",
]


@pytest.mark.parametrize("encoder", ["dino", "tinyclip"])
def test_an_image_that_one_encoder_lacks(spaces, tmp_path, encoder):
    project = spaces.copy(tmp_path / "project")
    (lost,) = without_images(project, encoder, 1)
    project.run(*TARGETS)
    clusters = clusters_of(project)
    matches = read(project, "results/similarity/tinyclip/photos/words.parquet")
    assert (lost in clusters.index) == (encoder == "tinyclip")
    assert (lost in set(matches["image_id"])) == (encoder == "dino")
    assert mined(project) == names_by_hand(project, clusters)
    expected = mahalanobis_by_hand(project, clusters)
    assert np.allclose(mahalanobis_scores(project), expected, rtol=1e-3)
    log = "results/logs/mine_concepts/tinyclip/photos/words/kmeans_3/clustermine/seed0.log"
    text = (project.folder / log).read_text()
    counts = "1 of 24 images have no cluster, 0 of 23 clustered images are left out"
    if encoder == "tinyclip":
        counts = "0 of 23 images have no cluster, 1 of 24 clustered images are left out"
    assert counts in text


def test_the_encoder_of_a_clustering_concerns_what_uses_its_clusters(spaces, tmp_path):
    """Its embeddings, clusters and below; not the embeddings and matches of the naming encoder."""
    project = spaces.copy(tmp_path / "project")
    set_key("encoders.dino.batch_size", 7)(project)
    ran = project.rules_run("-n", "results/studies/mini/ood.parquet")
    assert "match_concepts" not in ran and "embed_texts" not in ran
    assert ran["embed_images"] == 2  # the two shards of the training images
    assert ran["cluster"] == 1
    assert ran["mine_concepts"] == 2 and ran["mine_ground_truth"] == 1
    assert ran["score_images"] == 4  # with the distances to the clusters


def test_turtle_clusters_two_encoders_at_once(spaces, tmp_path):
    project = spaces.copy(tmp_path / "project")
    block = {"method": "turtle", "k": 3, "heads": 2, "steps": 20, "batch_size": 12, "threads": 1}
    set_key("clusterings.turtle_3", block | {"spaces": ["dino", "tinyclip"]})(project)
    ranks = "results/clusters/dino/photos/turtle_3/seed0.top2.parquet"
    project.run(CONCEPTS.format("turtle_3", "clustermine"), ranks)
    clusters = clusters_of(project, "turtle_3")
    assert mined(project, clustering="turtle_3") == names_by_hand(project, clusters)
    first = [best[0] for best in read(project, ranks)["clusters"]]
    assert first == clusters.tolist()
    set_key("encoders.tinyclip.batch_size", 7)(project)
    ran = project.rules_run("-n", ranks)
    assert ran["embed_images"] == 2 and ran["cluster"] == 1


def test_clusters_are_asked_for_by_the_encoder_that_makes_them(spaces):
    path = "results/clusters/tinyclip/photos/kmeans_3/seed5.parquet"
    done = spaces.run("-n", path, check=False)
    assert done.returncode != 0
    assert "clusterings.kmeans_3.encoder" in done.stdout
