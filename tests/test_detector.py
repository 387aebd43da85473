"""A detector that is taken away scores as its study does, and refuses what does not fit."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from projects import MINI
from safetensors.numpy import load_file, save_file

from workflow_scripts.lib.detection import load_detector
from workflow_scripts.lib.embeddings import open_embeddings
from workflow_scripts.lib.errors import InputError
from workflow_scripts.save_detector import save_detector

DETECTORS = {
    "mcm": {"method": "mcm"},
    "max_logit": {"method": "max_logit"},
    "energy": {"method": "energy", "temperature": "encoder"},
    "entropy": {"method": "entropy"},
    "neglabel": {"method": "neglabel", "groups": 2},
    "negrefine": {"method": "negrefine", "groups": 2},
    "adaneg": {"method": "adaneg"},
    "knn": {"method": "knn", "k": 2},
    "mahalanobis": {"method": "mahalanobis"},
}
COLUMNS = ["mcm", "max_logit", "energy", "entropy", "neglabel:rest", "negrefine:rest"]
NAMES = "mini/tinyclip/kmeans_3/clustermine/seed0"
FOLDER = f"results/detectors/{NAMES}"
SCORES = f"results/scores/{NAMES}.parquet"
CLUSTER_SCORES = "results/scores/mini/tinyclip/kmeans_3/none/seed0.parquet"
CLUSTERS = "results/clusters/tinyclip/photos/kmeans_3/seed0"
TEXTS = "results/embeddings/tinyclip/texts/words"


@pytest.fixture(scope="session")
def stored(finished, shared):
    """The miniature project with all detectors, and a detector stored."""
    return shared("stored", lambda folder: store(finished.copy(folder)))


def store(project):
    study = MINI["studies"]["mini"] | {"detectors": list(DETECTORS)}
    project.write_config(MINI | {"studies": {"mini": study}, "detectors": DETECTORS})
    temi = FOLDER.replace("kmeans_3", "temi_3")
    stored = [f"{folder}/detector.json" for folder in (FOLDER, temi)]
    project.run("--cores", "1", *stored, SCORES, CLUSTER_SCORES)


def detector_of(project, **options):
    checkpoint = str(project.folder / "config/demo/tinyclip")
    options = {"encoder": {"method": "open_clip", "checkpoint": checkpoint}} | options
    return load_detector(project.folder / FOLDER, **options)


def embeddings_of(project, image_set, shards=1):
    stems = [
        f"{project.folder}/results/embeddings/tinyclip/images/{image_set}/{shard:05d}"
        for shard in range(shards)
    ]
    return open_embeddings([f"{s}.npy" for s in stems], [f"{s}.parquet" for s in stems])


def scores_of(project):
    tables = [pd.read_parquet(project.folder / path) for path in (SCORES, CLUSTER_SCORES)]
    return tables[0].assign(mahalanobis=tables[1]["mahalanobis"])


def test_every_score_is_that_of_the_study(stored):
    detector, study = detector_of(stored), scores_of(stored)
    assert detector.meta["columns"] == [*COLUMNS, "mahalanobis"]
    assert set(detector.meta["left_out"]) == {"adaneg", "knn"}
    assert detector.meta["decide_by"] == "mahalanobis"
    for image_set in ("photos_test", "strange"):
        rows = study[study.image_set == image_set]
        found = detector.score(embeddings_of(stored, image_set).array())
        for column, scores in found.scores.items():
            np.testing.assert_allclose(scores, rows[column], rtol=1e-6, atol=1e-6)
        assert list(found.names) == list(rows["concept"])
        np.testing.assert_allclose(found.cosines, rows["cosine"], atol=1e-6)


def test_a_memory_map_in_float16_and_blocks_score_alike(stored, monkeypatch):
    detector, images = detector_of(stored), embeddings_of(stored, "strange")
    whole = detector.score(images.array())
    monkeypatch.setattr("workflow_scripts.lib.concepts.similarity.TILE", 30)
    parts = detector.score(images.arrays[0])
    for column, scores in whole.scores.items():
        np.testing.assert_allclose(parts.scores[column], scores, rtol=1e-5, atol=1e-6)
    assert list(parts.names) == list(whole.names)


def test_images_of_a_folder_get_the_scores_of_the_study(stored):
    folder, study = stored.folder / "photos/strange", scores_of(stored)
    ranked, unreadable = detector_of(stored).score_images(folder, by="energy")
    rows = study[study.image_set == "strange"].set_index("image_id")
    assert unreadable == {}
    assert list(ranked["rank"]) == [*range(1, 11)]
    assert ranked["energy"].is_monotonic_increasing
    ids = [path.removeprefix(f"{folder}/") for path in ranked["path"]]
    for column in [*COLUMNS, "mahalanobis"]:
        np.testing.assert_allclose(ranked[column], rows.loc[ids, column], rtol=1e-6, atol=1e-6)
    assert list(ranked["name"]) == list(rows.loc[ids, "concept"])
    assert ranked["flagged"].isna().all()
    assert ranked["p_value"].isna().all()


def test_paths_are_scored_and_unreadable_files_named(stored, tmp_path):
    image = next((stored.folder / "photos/strange").rglob("*.png"))
    (tmp_path / "broken.jpg").write_bytes(image.read_bytes()[:200])
    ranked, unreadable = detector_of(stored).score_images([tmp_path / "broken.jpg", image])
    assert list(ranked["path"]) == [str(image)]
    assert list(unreadable) == [str(tmp_path / "broken.jpg")]


@pytest.mark.parametrize("clustering", ["kmeans_3", "temi_3"])
def test_clusters_and_their_names(stored, clustering):
    images = embeddings_of(stored, "photos", 2)
    detector = load_detector(stored.folder / FOLDER.replace("kmeans_3", clustering))
    found, names = detector.cluster(images.array())
    path = CLUSTERS.replace("kmeans_3", clustering)
    clusters = pd.read_parquet(stored.folder / f"{path}.parquet")["cluster"]
    np.testing.assert_array_equal(found, clusters)
    texts = np.load(stored.folder / f"{TEXTS}.npy").astype(np.float32)
    words = pd.read_parquet(stored.folder / f"{TEXTS}.parquet")["concept"]
    best = words.to_numpy()[(images.array() @ texts.T).argmax(axis=1)]
    for cluster in range(3):
        most = pd.Series(best[clusters == cluster]).mode()
        assert set(names[found == cluster]) <= set(most)


def test_names_without_clusters(stored, tmp_path):
    project = stored.copy(tmp_path / "project")
    folder = "results/detectors/mini/tinyclip/none/frequency_1/seed0"
    project.run("--cores", "1", f"{folder}/detector.json")
    detector = load_detector(project.folder / folder / "detector.json")
    assert detector.meta["left_out"]["mahalanobis"] == "needs clusters"
    assert detector.meta["decide_by"] == "neglabel:rest", "not Mahalanobis, as elsewhere"
    with pytest.raises(InputError, match="'frequency_1' knows no clusters"):
        detector.cluster(np.eye(64, dtype=np.float32))
    ranked = detector.rank(["a", "b"], np.eye(2, 64))
    assert ranked["cluster"].isna().all()


def calibrated(project, folder, **changes):
    """A detector stored with the test images as calibration images."""
    stem = str(project.folder / "results")
    recipe = json.loads((project.folder / FOLDER / "detector.json").read_text())["recipe"]
    inputs = SimpleNamespace(
        positives=f"{stem}/concepts/tinyclip/photos/words/kmeans_3/clustermine/seed0.parquet",
        negatives=f"{stem}/negatives/{NAMES}.parquet",
        texts=[str(project.folder / f"{TEXTS}.npy")],
        concepts=[str(project.folder / f"{TEXTS}.parquet")],
        similarity=f"{stem}/similarity/tinyclip/photos/words.parquet",
        clusters=str(project.folder / f"{CLUSTERS}.parquet"),
        model=str(project.folder / f"{CLUSTERS}.safetensors"),
        train=[f"{stem}/embeddings/tinyclip/images/photos/0000{i}.npy" for i in range(2)],
        train_index=[f"{stem}/embeddings/tinyclip/images/photos/0000{i}.parquet" for i in range(2)],
        scores=[str(project.folder / path) for path in (SCORES, CLUSTER_SCORES)],
    )
    cfg = recipe["cfg"] | {"calibration": "photos_test", "rate": 0.2} | changes
    outputs = SimpleNamespace(json=folder / "detector.json", arrays=folder / "detector.safetensors")
    save_detector(inputs, cfg, recipe["wildcards"], outputs)
    return load_detector(folder)


def test_p_values_and_flags(stored, tmp_path):
    detector = calibrated(stored, tmp_path, decide_by={"detector": "neglabel", "negatives": "rest"})
    study = scores_of(stored)
    scored = detector.score(embeddings_of(stored, "strange").array())
    p = detector.p_values(scored)
    for column in [*COLUMNS, "mahalanobis"]:
        known = study[study.image_set == "photos_test"][column].to_numpy(np.float64)
        expected = [(1 + (known <= score).sum()) / 13 for score in scored.scores[column]]
        np.testing.assert_allclose(p[column], expected)
    assert detector.meta["decide_by"] == "neglabel:rest"
    np.testing.assert_array_equal(detector.flag(scored), p["neglabel:rest"] <= 0.2)
    np.testing.assert_array_equal(detector.flag(scored, 0.5, "mcm"), p["mcm"] <= 0.5)
    ranked = detector.rank(range(10), embeddings_of(stored, "strange").array())
    order = np.argsort(scored.scores["neglabel:rest"], kind="stable")
    assert list(ranked["path"]) == list(order)
    np.testing.assert_allclose(ranked["p_value"], p["neglabel:rest"][order])
    assert list(ranked["flagged"]) == list(p["neglabel:rest"][order] <= 0.2)


def test_a_calibrated_study_hands_its_scores_on(stored, tmp_path):
    project = stored.copy(tmp_path / "project")
    config = project.read_config()
    config["studies"]["mini"] |= {"calibrate": {"set": "stranger"}, "false_alarm_rate": 0.3}
    project.write_config(config)
    project.run("--cores", "1", f"{FOLDER}/detector.json")
    detector, study = load_detector(project.folder / FOLDER), scores_of(project)
    assert (detector.meta["calibration"], detector.meta["rate"]) == ("stranger", 0.3)
    scored = detector.score(embeddings_of(stored, "strange").array())
    for column, p in detector.p_values(scored).items():
        known = study[study.image_set == "stranger"][column].to_numpy(np.float64)
        assert len(known) == 6
        expected = [(1 + (known <= score).sum()) / 7 for score in scored.scores[column]]
        np.testing.assert_allclose(p, expected)


def test_refuses_what_it_does_not_know(stored, tmp_path):
    detector = detector_of(stored)
    scored = detector.score(np.eye(3, 64))
    with pytest.raises(InputError, match="no calibration scores"):
        detector.flag(scored)
    with pytest.raises(InputError, match=r"no score 'neglabel'; it has mcm, .*neglabel:rest"):
        detector.rank("abc", np.eye(3, 64), by="neglabel")
    with pytest.raises(InputError, match="'knn' decides in the study, but is not among"):
        calibrated(stored, tmp_path, decide_by={"detector": "knn", "negatives": "none"})


@pytest.mark.parametrize("shape", [(3, 63), (64,), (2, 3, 64)])
def test_refuses_arrays_of_another_shape(stored, shape):
    for use in ("score", "cluster"):
        with pytest.raises(InputError, match=r"the detector needs \[images, 64\]"):
            getattr(detector_of(stored), use)(np.ones(shape, np.float32))


def test_refuses_rows_without_unit_norm(stored):
    rows = np.eye(5, 64, dtype=np.float32)
    for bad in (1.1, 0, np.nan):
        with pytest.raises(InputError, match="unit norm"):
            detector_of(stored).score(rows * np.array([[1], [1], [bad], [1], [1]], np.float32))


def test_refuses_another_encoder(stored, tmp_path):
    images = stored.folder / "photos/strange"
    own = stored.folder / "config/demo/tinyclip"
    block = {"method": "open_clip", "checkpoint": str(own)}
    with pytest.raises(InputError, match="precision: it has 'bf16', the detector 'fp32'"):
        detector_of(stored, encoder=block | {"precision": "bf16"}).score_images(images)

    changed = tmp_path / "tinyclip"
    shutil.copytree(own, changed)
    weights = load_file(changed / "open_clip_model.safetensors")
    weights["visual.conv1.weight"][0, 0, 0, 0] += 1
    save_file(weights, changed / "open_clip_model.safetensors")
    with pytest.raises(InputError, match=r"sha256: it has '[0-9a-f]{64}', the detector 'e5b4"):
        detector_of(stored, encoder=block | {"checkpoint": str(changed)}).score_images(images)

    shutil.copy(own / "open_clip_model.safetensors", changed)
    config = json.loads((changed / "open_clip_config.json").read_text())
    config["preprocess_cfg"]["mean"] = [0.1, 0.1, 0.1]
    (changed / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"preprocess: it has .*0\.1, 0\.1"):
        detector_of(stored, encoder=block | {"checkpoint": str(changed)}).score_images(images)
    with pytest.raises(InputError, match="no encoder is known"):
        detector_of(stored, encoder={"method": "precomputed"}).score_images(images)


def test_refuses_damaged_files(stored, tmp_path):
    json_file, arrays = tmp_path / "detector.json", tmp_path / "detector.safetensors"

    def restore():
        for name in (json_file.name, arrays.name):
            shutil.copy(stored.folder / FOLDER / name, tmp_path)

    restore()
    arrays.write_bytes(arrays.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match=r"is not what detector.json was stored with"):
        load_detector(tmp_path)
    arrays.unlink()
    with pytest.raises(InputError, match=r"detector.safetensors cannot be read"):
        load_detector(tmp_path)
    restore()
    json_file.write_text(json_file.read_text()[:900])
    with pytest.raises(InputError, match=r"detector.json is no stored detector that can be read"):
        load_detector(tmp_path)
    for content, what in (("[]", "without"), ('{"format": 2}', "without 'arrays'")):
        json_file.write_text(content)
        with pytest.raises(InputError, match=what):
            load_detector(tmp_path)
    restore()
    json_file.write_text(json_file.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(InputError, match="of format 2"):
        load_detector(json_file)
    with pytest.raises(InputError, match="nowhere"):
        load_detector(tmp_path / "nowhere")


def test_equal_inputs_give_equal_bytes(stored, tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        calibrated(stored, folder)
    for file in ("detector.json", "detector.safetensors"):
        assert (one / file).read_bytes() == (other / file).read_bytes()


def test_a_copy_of_both_files_and_of_the_weights_is_enough(stored, tmp_path):
    shutil.copytree(stored.folder / FOLDER, tmp_path / "taken")
    shutil.copytree(stored.folder / "photos/strange", tmp_path / "new")
    shutil.copytree(stored.folder / "config/demo/tinyclip", tmp_path / "weights")
    block = {"method": "open_clip", "checkpoint": str(tmp_path / "weights")}
    ranked, _ = load_detector(tmp_path / "taken", encoder=block).score_images(tmp_path / "new")
    assert len(ranked) == 10


# ---- snakemake score ----------------------------------------------------------------------------

SCORE = ["--cores", "1", "score", "--config", "folder=incoming", f"detector={FOLDER}", "shards=3"]


@pytest.fixture(scope="session")
def scored(stored, shared):
    """A project with a detector, without training images and other results, and new images."""
    return shared("scored", lambda folder: score(stored.copy(folder)))


def score(project):
    (project.folder / "photos/strange").rename(project.folder / "incoming")
    shutil.rmtree(project.folder / "photos")
    (project.folder / "results/detectors").rename(project.folder / "kept")
    shutil.rmtree(project.folder / "results")
    (project.folder / "results").mkdir()
    (project.folder / "kept").rename(project.folder / "results/detectors")
    (project.folder / "words.txt").unlink()
    project.run(*SCORE)


def outliers(project, name="incoming"):
    return pd.read_csv(project.folder / f"results/scored/{name}/outliers.csv")


def test_score_ranks_new_images_without_training_images(scored, stored):
    found, study = outliers(scored), scores_of(stored)
    rows = study[study.image_set == "strange"].set_index("image_id")
    ids = [path.removeprefix("incoming/") for path in found["path"]]
    assert sorted(ids) == sorted(rows.index)
    assert all((scored.folder / path).is_file() for path in found["path"])
    for column in [*COLUMNS, "mahalanobis"]:  # shards are other batches of the encoder
        np.testing.assert_allclose(found[column], rows.loc[ids, column], rtol=0.01, atol=0.001)
    assert list(found["rank"]) == [*range(1, 11)]
    assert found["mahalanobis"].is_monotonic_increasing
    assert set(found["cluster"]) <= set(load_detector(scored.folder / FOLDER).meta["positives"])
    made = pd.read_parquet(scored.folder / "results/scored/incoming/outliers.parquet")
    assert list(made["path"]) == list(found["path"])


def test_score_embeds_new_images_only(scored, tmp_path):
    project = scored.copy(tmp_path / "project")
    assert project.rules_run(*SCORE) == {}
    image = next((project.folder / "incoming").rglob("*.png"))
    shutil.copy(image, image.with_name("another.png"))
    ran = {"list_images": 1, "embed_images": 1, "score_with_detector": 1, "score": 1}
    assert project.rules_run(*SCORE) == ran
    assert len(outliers(project)) == 11
    ran = {"score_with_detector": 1, "score": 1}
    assert project.rules_run(*SCORE, "decide_by=neglabel:rest") == ran
    assert outliers(project)["neglabel:rest"].is_monotonic_increasing
    other = [*SCORE[:3], "--config", "list=few.csv", f"detector={FOLDER}"]
    names = [str(path.relative_to(project.folder)) for path in (image, image.parent / "000.png")]
    (project.folder / "few.csv").write_text("\n".join(["path", *names]) + "\n")
    project.run(*other)
    assert set(outliers(project, "few")["path"]) == {f"./{name}" for name in names}


def test_score_says_what_is_missing(scored):
    def said(*options):
        done = scored.run("-n", "score", *options, check=False)
        assert done.returncode
        return done.stdout

    assert "score needs a detector and images" in said()
    detector = f"detector={FOLDER}"
    assert "give the images to score by one of folder, list" in said("--config", detector)
    both = said("--config", detector, "folder=incoming", "tar=a.tar")
    assert "give the images to score by one of folder, list" in both
    assert "folder: gone does not exist" in said("--config", detector, "folder=gone")
    assert "is no stored detector" in said("--config", "detector=incoming", "folder=incoming")
    gone = said("--config", "detector=results/detectors/gone", "folder=incoming")
    assert "results/detectors/gone is no stored detector: no such file" in gone
    assert "`snakemake results/detectors/.../detector.json` stores one" in gone
    done = scored.run(*SCORE, "decide_by=best", check=False)
    assert done.returncode
    log = (scored.folder / "results/logs/score_with_detector/incoming.log").read_text()
    assert "the detector has no score 'best'; it has mcm" in log
