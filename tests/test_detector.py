"""A detector that is taken away scores as its study does, and refuses what does not fit."""

import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from detectors import (
    CLUSTER_SCORES,
    CLUSTERS,
    COLUMNS,
    FOLDER,
    NAMES,
    SCORES,
    TEXTS,
    detector_of,
    embeddings_of,
    scores_of,
)
from safetensors.numpy import load_file, save_file

from workflow_scripts.lib.artifacts import read_table, write_table
from workflow_scripts.lib.detection import load_detector
from workflow_scripts.lib.detection.stored import Scored
from workflow_scripts.lib.errors import InputError
from workflow_scripts.save_detector import save_detector


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
    assert ranked["score"].is_monotonic_increasing
    ids = [path.removeprefix(f"{folder}/") for path in ranked["path"]]
    scores = ranked.rename(columns={"score": "energy"})
    for column in [*COLUMNS, "mahalanobis"]:
        np.testing.assert_allclose(scores[column], rows.loc[ids, column], rtol=1e-6, atol=1e-6)
    assert list(ranked["concept"]) == list(rows.loc[ids, "concept"])
    assert ranked[["p_value", "flagged", "discovery", "member"]].isna().all(axis=None)


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


def calibrated(project, folder, other=None, **changes):
    """A detector stored with the test images as calibration images; other: files in place of some
    of its score files."""
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
        centres=[],
        train=[f"{stem}/embeddings/tinyclip/images/photos/0000{i}.npy" for i in range(2)],
        train_index=[f"{stem}/embeddings/tinyclip/images/photos/0000{i}.parquet" for i in range(2)],
        scores=[(other or {}).get(p, project.folder / p) for p in (SCORES, CLUSTER_SCORES)],
    )
    cfg = recipe["cfg"] | {"calibration": "photos_test", "rate": 0.2} | changes
    outputs = SimpleNamespace(json=folder / "detector.json", arrays=folder / "detector.safetensors")
    save_detector(inputs, cfg, recipe["wildcards"], outputs)
    return load_detector(folder)


def test_p_values_and_flags(stored, tmp_path):
    detector = calibrated(
        stored, tmp_path, deciders=[{"detector": "neglabel", "negatives": "rest"}]
    )
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
    assert list(ranked["image_id"]) == [str(row) for row in order]
    assert list(ranked.index) == list(order)
    np.testing.assert_allclose(ranked["p_value"], p["neglabel:rest"][order])
    assert list(ranked["flagged"]) == list(p["neglabel:rest"][order] <= 0.2)


@pytest.mark.parametrize(("rate", "why"), [(0.05, "would need 19 .* and has 12$"), (1 / 13, None)])
def test_says_why_no_image_is_flagged(stored, tmp_path, rate, why):
    detector = calibrated(stored, tmp_path, rate=rate)
    scores = dict.fromkeys(detector.meta["columns"], np.array([-1e9]))  # of an image unlike all
    assert detector.flag(Scored(scores, None, None)).any() == (why is None)
    said = detector.why_none_is_flagged()
    assert said is None if why is None else re.search(why, said)
    assert "no calibration" in detector_of(stored).why_none_is_flagged()


def test_a_calibrated_study_hands_its_scores_on(stored, tmp_path):
    project = stored.copy(tmp_path / "project")
    config = project.read_config()
    config["studies"]["mini"] |= {"calibrate": {"set": "stranger"}, "false_alarm_rate": 0.3}
    project.write_config(config)
    listed = "results/outliers/mini/strange.parquet"
    project.run("--cores", "1", f"{FOLDER}/detector.json", listed)
    detector, study = load_detector(project.folder / FOLDER), scores_of(project)
    assert (detector.meta["calibration"], detector.meta["rate"]) == ("stranger", 0.3)
    scored = detector.score(embeddings_of(stored, "strange").array())
    for column, p in detector.p_values(scored).items():
        known = study[study.image_set == "stranger"][column].to_numpy(np.float64)
        assert len(known) == 6
        expected = [(1 + (known <= score).sum()) / 7 for score in scored.scores[column]]
        np.testing.assert_allclose(p, expected)
    images = embeddings_of(stored, "strange")
    ranked = detector.rank(images.ids, images)
    listed = pd.read_parquet(project.folder / listed)
    both = ["rank", "image_id", "score", "p_value", "flagged", "discovery", "concept"]
    pd.testing.assert_frame_equal(
        ranked[both].reset_index(drop=True), listed[both], check_dtype=False, rtol=1e-6
    )


def test_equal_scores_keep_the_order_of_the_images(stored):
    row = embeddings_of(stored, "strange").array()[:1]
    ranked = detector_of(stored).rank(["b", "c", "a"], np.repeat(row, 3, axis=0))
    assert list(ranked["image_id"]) == ["b", "c", "a"]


def test_refuses_what_it_does_not_know(stored, tmp_path):
    detector = detector_of(stored)
    scored = detector.score(np.eye(3, 64))
    with pytest.raises(InputError, match="no calibration scores"):
        detector.flag(scored)
    with pytest.raises(InputError, match=r"no score 'neglabel'; it has mcm, .*neglabel:rest"):
        detector.rank("abc", np.eye(3, 64), by="neglabel")
    with pytest.raises(InputError, match=r"'adaneg' \(learns from the images that it scores\)"):
        detector.rank("abc", np.eye(3, 64), by="adaneg")


def test_a_detector_that_cannot_score_is_left_out_with_its_reason(stored, tmp_path):
    """The study has 9 negatives: NegLabel cannot make 50 groups of them."""
    project, asked = stored.copy(tmp_path / "project"), f"{FOLDER}/detector.json"
    config = project.read_config()
    config["detectors"]["crowded"] = {"method": "neglabel", "groups": 50}
    config["negatives"] = {"no_one": {"method": "rest", "limit": -1}}
    config["studies"]["mini"] |= {"negatives": ["rest", "no_one"], "decide_by": {"detector": "mcm"}}
    config["studies"]["mini"]["detectors"] = ["mcm", "neglabel", "crowded", "adaneg"]
    project.write_config(config)
    project.run("--cores", "1", asked)
    detector = load_detector(project.folder / FOLDER)
    assert detector.meta["columns"] == ["mcm", "neglabel:rest"]
    assert detector.meta["detectors"].keys() == {"mcm", "neglabel"}
    left_out = detector.meta["left_out"]
    assert left_out.keys() == {"adaneg", "crowded:rest", "crowded:no_one", "neglabel:no_one"}
    assert "9 negatives for 50 groups; lower `groups`" in left_out["crowded:rest"]
    assert "no concept of the corpus is left" in left_out["neglabel:no_one"]
    expected = detector_of(stored).score(embeddings_of(stored, "strange").array())
    found = detector.score(embeddings_of(stored, "strange").array())
    for column in detector.meta["columns"]:
        np.testing.assert_array_equal(found.scores[column], expected.scores[column])

    score = ("score", "--config", "folder=photos/strange", f"detector={FOLDER}")
    said = project.run("-n", "--cores", "1", *score).stdout
    assert said.count(f"crowded:rest: {left_out['crowded:rest']}") == 1
    config["studies"]["mini"]["decide_by"] = {"detector": "crowded", "negatives": "rest"}
    project.write_config(config)
    assert project.run("--cores", "1", asked, check=False).returncode
    log = (project.folder / f"results/logs/save_detector/{NAMES}.log").read_text()
    assert "studies.mini: cannot be stored to decide: crowded:rest (NegLabel's score" in log
    assert "name another score in its `decide_by`: mcm, neglabel:rest" in log


def test_calibration_scores_that_the_study_lacks_leave_a_detector_out(stored, tmp_path):
    path = tmp_path / "scores.parquet"
    cell = {"detector": "mahalanobis", "negatives": "none", "reason": "no inverse"}
    table = read_table(stored.folder / CLUSTER_SCORES)
    write_table(path, {"image_set": table["image_set"]}, {"missing": [cell]})
    mcm = {"detector": "mcm", "negatives": "none"}
    detector = calibrated(stored, tmp_path, {CLUSTER_SCORES: path})
    assert detector.meta["left_out"]["mahalanobis"] == "no inverse"
    assert detector.meta["decide_by"] == "neglabel:rest", "the next one"
    assert detector.p_values(detector.score(np.eye(3, 64))).keys() == set(COLUMNS)
    named = [mcm | {"detector": "mahalanobis"}]
    with pytest.raises(InputError, match=r"studies.mini: .* decide: mahalanobis \(no inverse\)"):
        calibrated(stored, tmp_path, {CLUSTER_SCORES: path}, deciders=named)
    few = {"knn": {"method": "knn", "k": 2}}
    with pytest.raises(InputError, match=r"decide: knn .*add a detector that can be stored"):
        calibrated(stored, tmp_path, detectors=few, deciders=[mcm | {"detector": "knn"}])


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
    for content, what in (("[]", "all of it"), ('{"format": 1}', "'arrays': Field required")):
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
