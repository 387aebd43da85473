"""`snakemake score`: new images of every kind, scored by a stored detector."""

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from changes import edit, set_key, word_added
from detectors import COLUMNS, FOLDER, TEXTS, embeddings_of, scores_of
from projects import MINI

from workflow_scripts.lib.artifacts import read_meta, write_table
from workflow_scripts.lib.config.scored import check_name, scored_name
from workflow_scripts.lib.detection import load_detector
from workflow_scripts.lib.detection.models import IMAGE_COLUMNS
from workflow_scripts.lib.errors import InputError

ENDS = {"embeddings": ".npy", "index": ".parquet"}

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
    assert list(found["image_id"]) == ids
    scores = found.rename(columns={"score": "mahalanobis"})
    for column in [*COLUMNS, "mahalanobis"]:  # shards are other batches of the encoder
        np.testing.assert_allclose(scores[column], rows.loc[ids, column], rtol=0.01, atol=0.001)
    assert list(found["rank"]) == [*range(1, 11)]
    assert found["score"].is_monotonic_increasing
    assert set(found["cluster"]) <= set(load_detector(scored.folder / FOLDER).meta["positives"])
    assert {*found.columns} - {*COLUMNS, "knn", "adaneg:rest"} <= IMAGE_COLUMNS
    made = pd.read_parquet(scored.folder / "results/scored/incoming/outliers.parquet")
    assert list(made["path"]) == list(found["path"])
    log = (scored.folder / "results/logs/score_with_detector/incoming.log").read_text()
    assert "no calibration scores: images are ranked, none is flagged" in log


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
    assert outliers(project)["score"].is_monotonic_increasing
    made = read_meta(project.folder / "results/scored/incoming/outliers.parquet")
    assert made["decide_by"] == "neglabel:rest"
    assert made["images"] == ["folder", "incoming"]
    other = [*SCORE[:3], "--config", "list=few.csv", f"detector={FOLDER}"]
    names = [str(path.relative_to(project.folder)) for path in (image, image.parent / "000.png")]
    (project.folder / "few.csv").write_text("\n".join(["path", *names]) + "\n")
    project.run(*other)
    assert set(outliers(project, "few")["path"]) == {f"./{name}" for name in names}


def in_detector(key, value):
    """A change of what a stored detector says."""

    def change(project):
        path = project.folder / FOLDER / "detector.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {key: value, "crc32": None}))

    return change


SCORED = {"score_with_detector": 1, "score": 1}
STORED = {"save_detector": 1}
NAMED = {"build_corpus": 1, "embed_texts": 1, "match_concepts": 1, "mine_concepts": 1}
NAMED |= {"mine_negatives": 1}


@pytest.mark.parametrize(
    "change, expected",
    [
        (in_detector("rate", 0.2), SCORED),
        (edit("lib/detection/stored.py"), SCORED),
        (edit("lib/detection/texts.py"), SCORED),
        (edit("lib/clustering/kmeans.py"), SCORED),
        (edit("lib/clustering/temi.py"), {}),
        (edit("save_detector.py"), {}),
        (set_key("detectors.mcm.temperature", 0.5), {}),
        (set_key("studies.mini.false_alarm_rate", 0.2), {}),
    ],
)
def test_scores_run_again_for_another_detector_and_its_code(scored, tmp_path, change, expected):
    project = scored.copy(tmp_path / "project")
    change(project)
    assert project.rules_run("-n", *SCORE) == expected


@pytest.mark.parametrize(
    "change, expected",
    [
        (set_key("studies.mini.false_alarm_rate", 0.2), STORED),
        (set_key("studies.mini.decide_by", {"detector": "energy"}), STORED),
        (set_key("detectors.mcm.temperature", 0.5), STORED),
        (edit("save_detector.py"), STORED),
        (edit("lib/detection/stored.py"), {}),
        (edit("score_with_detector.py"), {}),
        (word_added, NAMED | STORED),
    ],
)
def test_a_detector_is_stored_again_for_what_it_is_made_of(stored, tmp_path, change, expected):
    project = stored.copy(tmp_path / "project")
    assert project.rules_run("-n", f"{FOLDER}/detector.json") == {}
    change(project)
    assert project.rules_run("-n", f"{FOLDER}/detector.json") == expected


def test_images_of_archives_are_named_by_archive_and_member(scored, tmp_path):
    project = scored.copy(tmp_path / "project")
    files = sorted((project.folder / "incoming").rglob("*.png"))
    (project.folder / "tars").mkdir()
    for number in range(2):
        with tarfile.open(project.folder / f"tars/part{number}.tar", "w") as archive:
            for file in files[number::2]:
                archive.add(file, f"./{file.relative_to(project.folder / 'incoming')}")
    content = [{"bytes": file.read_bytes(), "path": file.name} for file in files[:3]]
    pq.write_table(pa.table({"image": content}), project.folder / "table.parquet")
    plain = outliers(scored).assign(id=lambda frame: frame["path"].str.removeprefix("incoming/"))
    plain = plain.set_index("id")

    project.run(*SCORE[:3], "--config", "tar=tars", f"detector={FOLDER}")
    found = outliers(project, "tars")
    assert sorted(found["image_id"]) == sorted(plain.index)
    np.testing.assert_allclose(found["score"], plain.loc[found["image_id"], "score"], rtol=0.01)
    for row in found.itertuples():
        with tarfile.open(project.folder / row.path) as archive:
            original = project.folder / "incoming" / row.image_id
            assert archive.extractfile(row.member).read() == original.read_bytes()

    project.run(*SCORE[:3], "--config", "parquet=table.parquet", f"detector={FOLDER}")
    found = outliers(project, "table")
    assert set(found["path"]) == {"./table.parquet"}
    assert sorted(found["member"]) == sorted({file.name for file in files[:3]})


def precomputed(project):
    """The project where all embeddings are the user's own, and a detector stored."""
    own, blocks = project.folder / "own", {}
    own.mkdir()
    for name, shards in {"photos": 2, "photos_test": 1, "strange": 1}.items():
        images = embeddings_of(project, name, shards)
        np.save(own / f"{name}.npy", images.array())
        pq.write_table(images.index.take(np.arange(images.rows)), own / f"{name}.parquet")
        blocks[name] = {key: f"own/{name}{end}" for key, end in ENDS.items()}
    texts = {key: f"own/words{end}" for key, end in ENDS.items()}
    for end in ENDS.values():
        shutil.copy(project.folder / f"{TEXTS}{end}", own / f"words{end}")
    encoder = {"method": "precomputed", "images": blocks, "texts": {"words": [texts]}}
    study = MINI["studies"]["mini"] | {"encoders": ["mine"], "clusterings": ["kmeans_3"]}
    study["minings"] = ["clustermine"]
    project.write_config(MINI | {"encoders": {"mine": encoder}, "studies": {"mini": study}})
    detector = FOLDER.replace("tinyclip", "mine")
    project.run("--cores", "1", f"{detector}/detector.json")
    return detector


def test_embeddings_that_were_computed_elsewhere(stored, tmp_path):
    project = stored.copy(tmp_path / "project")
    detector = precomputed(project)
    score = [*SCORE[:3], "--config", f"detector={detector}"]
    new = ["embeddings=own/strange.npy", "index=own/strange.parquet"]
    project.run(*score, *new)
    found = outliers(project, "strange")
    images = embeddings_of(stored, "strange")
    expected = load_detector(project.folder / detector).rank(images.ids, images)
    assert list(found["image_id"]) == list(expected["image_id"])
    np.testing.assert_allclose(found["score"], expected["score"], rtol=1e-3)
    assert found[["path", "member"]].isna().all(axis=None)

    refused = project.run("-n", *score, "folder=photos/strange", check=False).stdout
    assert "config: folder: the detector's embeddings were computed elsewhere" in refused
    refused = project.run("-n", *score, "embeddings=own/strange.npy", check=False).stdout
    assert "config: index: give it beside embeddings" in refused
    np.save(project.folder / "own/strange.npy", np.eye(10, 63))
    assert project.run(*score, *new, check=False).returncode
    log = (project.folder / "results/logs/score_with_detector/strange.log").read_text()
    assert "dim: it has 63, the detector 64" in log


def test_score_says_what_is_missing(scored, tmp_path):
    project = scored.copy(tmp_path / "project")

    def said(*options):
        done = project.run("-n", "score", *options, check=False)
        assert done.returncode
        return done.stdout

    assert "score needs a detector and images" in said()
    detector = f"detector={FOLDER}"
    assert "give the images to score by one of folder, list" in said("--config", detector)
    both = said("--config", detector, "folder=incoming", "tar=a.tar")
    assert "give the images to score by one of folder, list" in both
    embedded = said("--config", detector, "embeddings=a.npy", "index=a.parquet")
    assert "config: embeddings: the detector embeds images itself; give them by one of" in embedded
    assert "folder: gone does not exist" in said("--config", detector, "folder=gone")
    assert "~/gone does not exist: write ~ out" in said("--config", detector, "folder=~/gone")
    assert "has the scores of folder=incoming" in said(
        "--config", detector, "folder=photos/incoming"
    )
    assert "is no stored detector" in said("--config", "detector=incoming", "folder=incoming")
    gone = said("--config", "detector=results/detectors/gone", "folder=incoming")
    assert "results/detectors/gone is no stored detector: no such file" in gone
    assert "`snakemake results/detectors/.../detector.json` stores one" in gone
    done = project.run(*SCORE, "decide_by=best", check=False)
    assert done.returncode
    log = (project.folder / "results/logs/score_with_detector/incoming.log").read_text()
    assert "the detector has no score 'best'; it has mcm" in log


@pytest.mark.parametrize(
    "kind, path, name",
    [
        ("folder", "in/batch.1", "batch.1"),
        ("folder", "/data/2024.01.05/", "2024.01.05"),
        ("folder", "my photos (2)", "my_photos_2"),
        ("folder", "photos.tar", "photos.tar"),
        ("folder", "фото", "images"),
        ("folder", "..", Path.cwd().parent.name),
        ("tar", "in/batch.1.tar.gz", "batch.1"),
        ("tar", "in/batch.1", "batch.1"),
        ("list", "few.v2.CSV", "few.v2"),
        ("embeddings", "own/new.npy", "new"),
    ],
)
def test_scores_are_called_as_the_images(kind, path, name):
    assert scored_name({kind: path}) == name
    assert scored_name({kind: path, "name": "march"}) == "march"


@pytest.mark.parametrize("key", ["folder", "name"])
@pytest.mark.parametrize("value", [2024.1, True, None, {"a": "b"}, ""])
def test_what_snakemake_took_for_no_text_is_named(key, value):
    with pytest.raises(InputError, match=rf"config: {key}: .* is no text: begin a path with \./"):
        scored_name({"folder": "new"} | {key: value})


def test_scores_of_other_images_are_not_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = tmp_path / "results/scored/new/outliers.parquet"
    made.parent.mkdir(parents=True)
    check_name({"folder": "monday/new"})  # nothing is there
    write_table(made, pa.table({"rank": [1]}), {"images": ["folder", "monday/new"]})
    for same in ("monday/new", "./monday//new/", str(tmp_path / "monday/new")):
        check_name({"folder": same})
    for other in ({"folder": "tuesday/new"}, {"tar": "monday/new"}, {"list": "x", "name": "new"}):
        with pytest.raises(InputError, match=r"results/scored/new has the scores of folder=monday"):
            check_name(other)
    check_name({"folder": "tuesday/new", "name": "tuesday"})
