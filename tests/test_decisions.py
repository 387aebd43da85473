"""Studies that decide which images do not belong: their config, and their results end to end."""

import copy
import itertools
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from projects import MINI, Project

from workflow_scripts.lib.artifacts import read_meta
from workflow_scripts.lib.config.queries import NEEDS, deciders, deciding_scores, scored_sets
from workflow_scripts.lib.config.resolve import resolve_config
from workflow_scripts.lib.detection.methods import METHODS
from workflow_scripts.lib.detection.models import IMAGE_COLUMNS
from workflow_scripts.lib.detection.shares import share_interval
from workflow_scripts.lib.errors import InputError

DEMO = yaml.safe_load((Path(__file__).parent.parent / "config/config.yaml").read_text("utf-8"))
UNSET = {"detector": None, "negatives": None}
HOLDOUT = {"method": "holdout", "from": "train", "share": 0.2, "seed": 0}


def resolved(**keys):
    """The demo with some keys of the study `methods` changed; None leaves a key out."""
    config = copy.deepcopy(DEMO)
    study = config["studies"]["methods"] | keys
    config["studies"] = {"methods": {key: study[key] for key in study if study[key] is not None}}
    return resolve_config(config | {"run": ["methods"]})


def message(**keys):
    with pytest.raises(InputError) as error:
        resolved(**keys)
    return str(error.value)


def test_a_share_is_held_out_of_the_training_images():
    config = resolved(calibrate={"share": 0.2})
    study = config["studies"]["methods"]
    calibrate = {"seed": 0, "set": "train.calibration"}
    assert (study["train"], study["calibrate"]) == ("train.fit", calibrate)
    for part in ("fit", "calibration"):
        assert config["image_sets"][f"train.{part}"]["derive"] == HOLDOUT | {"part": part}
    sets = ["test", *study["near"], *study["far"], "train.calibration"]
    assert scored_sets(study) == sets
    assert resolve_config(config) == config


def test_a_calibration_set_of_its_own():
    config = resolved(calibrate={"set": "blur"})
    study = config["studies"]["methods"]
    assert (study["train"], scored_sets(study)[-1]) == ("train", "blur")
    assert config["image_sets"].keys() == DEMO["image_sets"].keys()


def test_training_images_are_scored_where_no_others_are_named():
    alone = {"test": None, "near": [], "far": [], "detectors": ["mcm"]}
    assert resolved(**alone)["studies"]["methods"]["test"] == "train"
    study = resolved(**alone, calibrate={"share": 0.2})["studies"]["methods"]
    assert (study["train"], study["test"]) == ("train.fit", "train")
    study = resolved(**alone, calibrate={"set": "blur"})["studies"]["methods"]
    assert (study["train"], study["test"]) == ("train", "train")


def test_parts_of_one_holdout_have_no_image_in_common():
    config = copy.deepcopy(DEMO)
    for part in ("fit", "calibration"):
        cut = {"derive": HOLDOUT | {"part": part}}
        config["image_sets"][f"my_{part}"] = cut
    study = config["studies"]["methods"]
    study |= {"train": "my_fit", "calibrate": {"set": "my_calibration"}}
    resolve_config(config)
    config["image_sets"]["my_fit"]["derive"] = HOLDOUT | {"part": "fit", "seed": 1}
    with pytest.raises(InputError, match="'my_calibration' has images that are mined"):
        resolve_config(config)


@pytest.mark.parametrize("role", ["test", "near", "far", "shift"])
@pytest.mark.parametrize("place", ["source", "part of it"])
def test_no_image_that_is_scored_calibrates(role, place):
    """Its p-value would count the image itself; two parts of one holdout have none in common."""
    cut = {"method": "holdout", "from": "photos", "share": 0.5}
    sets = {
        "photos": {"folder": "photos"},
        "half": {"derive": cut | {"part": "fit"}},
        "other_half": {"derive": cut | {"part": "calibration"}},
        "few": {"derive": {"method": "sample", "from": "half", "images": 9}},
    }
    config = copy.deepcopy(DEMO)
    config["image_sets"] |= sets
    study = config["studies"]["methods"]
    scored = "photos" if place == "source" else "half"
    study |= {role: scored if role == "test" else [scored], "calibrate": {"set": "few"}}
    with pytest.raises(InputError, match=rf"'few' has images that are scored \('{scored}'\); use"):
        resolve_config(config)
    study |= {role: "other_half" if role == "test" else ["other_half"]}
    resolve_config(config)


def test_a_share_that_is_held_out_is_not_tested_on_under_another_name():
    """In a study that scores other images than those that it is trained on."""
    config = copy.deepcopy(DEMO)
    config["image_sets"]["mine"] = {"derive": HOLDOUT | {"part": "calibration"}}
    config["studies"]["methods"] |= {"test": "mine", "calibrate": {"share": 0.2}}
    with pytest.raises(InputError, match=r"'train.calibration' has images that are scored"):
        resolve_config(config)


@pytest.mark.parametrize(
    ("keys", "parts"),
    [
        ({"calibrate": {"set": "train"}}, ["'train' has images that are mined"]),
        ({"calibrate": {"set": "test"}}, ["'test' is named twice"]),
        ({"calibrate": {"set": "noise"}}, ["'noise' is named twice"]),
        ({"calibrate": {"set": "tset"}}, ["calibrate.set", "did you mean 'test'"]),
        ({"calibrate": {}}, ["studies.methods.calibrate: give either share or set"]),
        ({"calibrate": {"share": 1}}, ["studies.methods.calibrate.share"]),
        ({"false_alarm_rate": 0}, ["studies.methods.false_alarm_rate: 0"]),
        ({"decide_by": "emergy"}, ["decide_by.detector: 'emergy'", "did you mean 'energy'"]),
        ({"decide_by": "neglabel"}, ["decide_by.detector: 'neglabel' is none of the study's"]),
        ({"decide_by": {"seed": 3}}, ["decide_by.seed: 3 is none of the study's"]),
        ({"decide_by": {"clustering": "temi_60"}}, ["decide_by.clustering: 'temi_60'"]),
        ({"test": None}, ["'train' is mined and must not be tested on"]),
    ],
)
def test_mistakes_are_named(keys, parts):
    text = message(**keys)
    assert all(part in text for part in parts), text


def test_two_studies_cannot_hold_out_different_images_under_one_name():
    config = copy.deepcopy(DEMO)
    config["studies"]["methods"]["calibrate"] = {"share": 0.3}
    with pytest.raises(InputError, match="is another image set already"):
        resolve_config(config)


def test_what_decides_is_chosen_by_the_study():
    def decides(**keys):
        config = resolved(**keys)
        study = config["studies"]["methods"]
        return deciders(study, config)[0], deciding_scores(study, config)

    named = ("tinyclip", "kmeans_60", "clustermine", 0)
    others = [("tinyclip", "kmeans_60", "none", 0), ("tinyclip", "none", "none", 0)]
    assert decides() == ({"detector": "mahalanobis", "negatives": "none"}, [named, *others])
    chosen, places = decides(detectors=["knn", "negrefine"])
    assert chosen == {"detector": "negrefine", "negatives": "neglabel"}
    assert places == [named, others[1]]
    chosen, _ = decides(decide_by={"detector": "adaneg", "negatives": "csp"})
    assert chosen == {"detector": "adaneg", "negatives": "csp"}
    chosen, places = decides(decide_by="knn", detectors=["knn"])
    assert (chosen["detector"], places) == ("knn", [others[1]])
    _, places = decides(decide_by={"mining": "ground_truth"}, detectors=["mcm"])
    assert places == [("tinyclip", "none", "ground_truth", 0)]
    _, places = decides(minings=["ground_truth", "frequency_10"], detectors=["mcm"], reference=None)
    assert places == [("tinyclip", "none", "frequency_10", 0)], "not the oracle"


def test_the_order_of_the_detectors_is_the_documented_one():
    """Of every two detectors the one that config/README.md has first decides, as a study may list
    them."""
    text = (Path(__file__).parent.parent / "config/README.md").read_text("utf-8")
    listed = text.partition("first of\n  these that the study has:")[2].partition(";")[0]
    order = [name.strip("` \n") for name in listed.split(",")]
    assert set(order) == set(METHODS) and len(order) == len(METHODS)
    blocks = {f"my_{method}": {"method": method} for method in order}
    for pair in itertools.combinations(blocks, 2):
        for detectors in (pair, pair[::-1]):
            config = {"detectors": blocks}
            study = {"detectors": detectors, "decide_by": UNSET, "negatives": ["rest"]}
            assert [c["detector"] for c in deciders(study, config)] == [*pair]


def test_of_detectors_of_one_method_the_first_decides_and_a_new_method_is_last(monkeypatch):
    monkeypatch.setitem(METHODS, "margin", METHODS["mcm"])
    monkeypatch.setitem(NEEDS["detectors"], "margin", ("positives",))
    blocks = {name: {"method": "energy"} for name in ("b", "a")} | {"new": {"method": "margin"}}
    config = {"detectors": blocks | {"last": {"method": "entropy"}}}

    def decides(*detectors):
        study = {"detectors": detectors, "decide_by": UNSET, "negatives": []}
        return deciders(study, config)[0]["detector"]

    assert decides("new", "b", "a") == "b"
    assert decides("a", "b") == "a"
    assert decides("new", "last") == "last"
    assert decides("new") == "new"


def test_what_is_named_alone_may_decide_and_else_all_in_their_order():
    blocks = {name: {"method": name} for name in ("mcm", "neglabel", "mahalanobis")}
    study = {"detectors": [*blocks], "negatives": ["rest", "far"]}

    def order(**chosen):
        found = deciders(study | {"decide_by": UNSET | chosen}, {"detectors": blocks})
        return [(one["detector"], one["negatives"]) for one in found]

    last, both = [("mcm", "none")], [("neglabel", "rest"), ("neglabel", "far")]
    assert order() == [("mahalanobis", "none"), *both, *last]
    assert order(negatives="far") == [("mahalanobis", "none"), both[1], *last]
    assert order(detector="neglabel") == both
    assert order(detector="neglabel", negatives="far") == both[1:]
    assert order(detector="mcm") == last


# ---- end to end ---------------------------------------------------------------------------------


def calibrate(project):
    """The miniature with a third of the training images held out, and with one collection alone."""
    mini = MINI["studies"]["mini"] | {"calibrate": {"share": 0.4}, "detectors": ["mcm", "neglabel"]}
    mini |= {"false_alarm_rate": 0.2}
    alone = {key: mini[key] for key in ("encoders", "corpus", "train", "clusterings", "minings")}
    whole = alone | {"test": "photos", "negatives": ["rest"], "detectors": [*DEMO["detectors"]]}
    alone |= {"detectors": ["mcm"], "calibrate": mini["calibrate"]}
    studies = {"mini": mini, "alone": alone, "whole": whole}
    detectors = MINI["detectors"] | {"negrefine": {"groups": 2}, "neglabel_tiny": {"groups": 2}}
    detectors["knn"] = {"k": 3}
    sets = MINI["image_sets"] | {
        "strange": {"folder": "photos/strange", "groups": {"folder": True}}
    }
    project.write_config(
        MINI | {"run": [*studies], "studies": studies, "detectors": detectors, "image_sets": sets}
    )
    project.run("--cores", "all", "results/outliers/whole/photos.csv", "all")


@pytest.fixture(scope="module")
def decided(shared, finished):
    return shared("decided", lambda folder: calibrate(finished.copy(folder)))


def results(project, name):
    return pd.read_parquet(project.folder / "results" / name)


def test_a_calibrated_study_lists_outliers_and_counts_flags(decided):
    held_out = results(decided, "embeddings/tinyclip/images/photos.calibration/00000.parquet")
    fit = results(decided, "embeddings/tinyclip/images/photos.fit/00000.parquet")
    assert len(held_out) + len(fit) == 24
    place = "mini/tinyclip/kmeans_3/clustermine/seed0.parquet"
    scores, decisions = results(decided, f"scores/{place}"), results(decided, f"decisions/{place}")
    calibration = scores[scores["image_set"] == "photos.calibration"]
    assert set(calibration["image_id"]) == set(held_out["image_id"])
    assert set(decisions["image_set"]) == {"photos_test", "strange"}
    outliers = results(decided, "outliers/mini/strange.parquet")
    assert outliers["score"].is_monotonic_increasing and len(outliers) == 10
    assert all((decided.folder / path).is_file() for path in outliers["path"])
    assert all((decided.folder / path).is_file() for path in outliers["training_image"])
    for row in outliers.itertuples():
        below = (calibration["neglabel:rest"] <= row.score).sum()
        assert row.p_value == pytest.approx((1 + below) / (1 + len(calibration)))
        assert row.flagged == (row.p_value <= 0.2)
    meta = read_meta(decided.folder / "results/outliers/mini/strange.parquet")
    assert (meta["detector"], meta["negatives"], meta["mining"]) == (
        "neglabel",
        "rest",
        "clustermine",
    )
    assert meta["n_calibration"] == len(held_out)
    table = (
        pd.read_csv(decided.folder / "results/tables/decisions.csv").set_index("study").loc["mini"]
    )
    key = "clustering == 'kmeans_3' and detector == 'neglabel' and image_set == 'strange'"
    row = table.query(key)
    assert row["flagged"].item() == outliers["flagged"].sum()
    folders = [Path(image_id).parent for image_id in outliers["image_id"]]
    limits = (row["share_low"].item(), row["share_high"].item())
    assert limits == pytest.approx(share_interval(outliers["flagged"].to_numpy(bool), folders))
    page = (decided.folder / "results/explore/mini/outliers/strange.html").read_text()
    assert "{:.1%} to {:.1%}".format(*limits) in " ".join(page.replace(" %", "%").split())
    assert set(table["image_set"]) == {"photos_test", "strange"}


def test_the_table_of_images_has_the_decisions(decided, tmp_path):
    project = decided.copy(tmp_path / "project")
    assert project.rules_run("results/studies/mini/images.csv") == {"describe_images": 1}
    images = results(project, "studies/mini/images.parquet")
    for name in ("photos_test", "strange"):
        found = images[images["image_set"] == name].set_index("image_id")
        listed = results(project, f"outliers/mini/{name}.parquet").set_index("image_id")
        for column in ("p_value", "flagged"):
            assert found[column].to_dict() == listed[column].to_dict()
    rest = images[images["image_set"].isin(["photos.fit", "photos.calibration"])]
    assert len(rest) == 24 and rest[["p_value", "flagged"]].isna().all(axis=None)
    csv = pd.read_csv(project.folder / "results/studies/mini/images.csv")
    assert csv["flagged"].value_counts().to_dict() == images["flagged"].value_counts().to_dict()


def test_a_calibration_set_is_evaluated_as_nothing_else(decided):
    for table in ("ood", "comparison", "decisions"):
        text = (decided.folder / f"results/tables/{table}.csv").read_text()
        assert "calibration," not in text.partition("\n")[2]


def test_outliers_within_one_collection(decided):
    outliers = results(decided, "outliers/alone/photos.parquet")
    assert len(outliers) == 24
    assert (outliers["training_image"] != outliers["path"]).all()
    assert outliers["p_value"].notna().all()
    assert outliers["p_value"].min() > 0.05, "too few images are held out"
    page = (decided.folder / "results/explore/alone/outliers/photos.html").read_text("utf-8")
    assert "No image can be flagged" in page and "are flagged" not in page
    page = (decided.folder / "results/explore/alone/index.html").read_text("utf-8")
    assert "No image can be flagged: the held-out images are too few" in page


def test_a_training_set_that_is_scored_has_one_row_per_image(decided, tmp_path):
    project = decided.copy(tmp_path / "project")
    project.run("--cores", "1", "results/studies/whole/images.parquet")
    images = results(project, "studies/whole/images.parquet")
    clusters = results(project, "clusters/tinyclip/photos/kmeans_3/seed0.parquet")
    assert images["image_id"].tolist() == clusters["image_id"].tolist()
    assert images["cluster"].tolist() == clusters["cluster"].tolist()
    assert images["mcm"].notna().all()


@pytest.mark.parametrize("folder", ["scores", "decisions", "outliers"])
def test_no_detector_can_have_the_name_of_another_column(folder, decided):
    files = sorted((decided.folder / "results" / folder).rglob("*.parquet"))
    found = {re.split("[: ]", name)[0] for file in files for name in pq.read_schema(file).names}
    assert found and found - {*DEMO["detectors"]} <= IMAGE_COLUMNS


def test_every_detector_scores_the_training_images_without_themselves(decided):
    place = "scores/whole/tinyclip"
    named = results(decided, f"{place}/kmeans_3/clustermine/seed0.parquet")
    columns = named.columns.str.partition(":").get_level_values(0)
    assert {*DEMO["detectors"]} - {*columns} == {"knn", "mahalanobis"}
    folder = decided.folder / "results/embeddings/tinyclip/images/photos"
    images = np.concatenate([np.load(path) for path in sorted(folder.glob("*.npy"))])
    images = images.astype(np.float64)
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    clusters = results(decided, "clusters/tinyclip/photos/kmeans_3/seed0.parquet")
    knn = results(decided, f"{place}/none/none/seed0.parquet")
    mahalanobis = results(decided, f"{place}/kmeans_3/none/seed0.parquet")
    assert knn["image_id"].tolist() == mahalanobis["image_id"].tolist() == [*clusters["image_id"]]
    for row in range(len(images)):
        rest = np.delete(images, row, axis=0)
        assert knn["knn"][row] == pytest.approx(np.sort(rest @ images[row])[-3], rel=1e-5)
        means = pd.DataFrame(rest).groupby(np.delete(clusters["cluster"].to_numpy(), row))
        around = rest - means.transform("mean").to_numpy()
        covariance = around.T @ around / len(rest)
        spread = np.trace(covariance) / len(covariance) * np.eye(len(covariance))
        gaps = images[row] - means.mean().to_numpy()
        inverse = np.linalg.inv(0.99 * covariance + 0.01 * spread)
        expected = -np.einsum("kd,de,ke->k", gaps, inverse, gaps).min()
        assert mahalanobis["mahalanobis"][row] == pytest.approx(expected, rel=1e-5)
    outliers = results(decided, "outliers/whole/photos.parquet")
    assert {*DEMO["detectors"]} - {"mahalanobis"} <= {
        *outliers.columns.str.partition(":").get_level_values(0)
    }
    assert outliers["score"].is_monotonic_increasing and outliers["flagged"].isna().all()


def test_labels_decide_nothing(decided, tmp_path):
    """Without labels, everything but the labels is the same."""
    project = decided.copy(tmp_path / "project")
    config = project.read_config()
    for name in ("photos", "photos_test", "strange"):
        config["image_sets"][name] = config["image_sets"][name] | {"labels": "none"}
    project.write_config(config)
    names = [
        f"outliers/{name}.csv" for name in ("mini/strange", "mini/photos_test", "alone/photos")
    ]
    before = [(project.folder / "results" / name).read_bytes() for name in names]
    for name in names:
        (project.folder / "results" / name).unlink()
    ran = project.rules_run(*(f"results/{name}" for name in names))
    assert ran["derive_images"] == 2 and ran["cluster"] >= 1
    assert [(project.folder / "results" / name).read_bytes() for name in names] == before


def test_a_study_without_calibration_has_ranks_when_asked_for(finished, tmp_path):
    project = Project(finished.folder).copy(tmp_path / "project")
    assert not (project.folder / "results/outliers").exists()
    ran = project.rules_run("results/outliers/mini/strange.csv")
    assert ran == {"decide_images": 1, "list_outliers": 1}
    table = pd.read_csv(project.folder / "results/outliers/mini/strange.csv")
    assert table["score"].is_monotonic_increasing and len(table) == 10
    assert table[["p_value", "flagged", "discovery"]].isna().all(axis=None)


def test_a_detector_without_names_decides_by_default(finished, tmp_path):
    """Its scores are of another file than those of the detectors with names."""
    project = finished.copy(tmp_path / "project")
    config = project.read_config()
    detectors = {"detectors": ["neglabel", "mahalanobis"]}
    config["studies"] = {"mini": config["studies"]["mini"] | detectors}
    config["detectors"] = config["detectors"] | {"mahalanobis": {"method": "mahalanobis"}}
    project.write_config(config)
    ran = project.rules_run("results/outliers/mini/strange.csv")
    assert ran == {"score_images": 2, "decide_images": 2, "list_outliers": 1}
    outliers = results(project, "outliers/mini/strange.parquet")
    scores = results(project, "scores/mini/tinyclip/kmeans_3/none/seed0.parquet")
    scores = scores[scores["image_set"] == "strange"].sort_values("mahalanobis", kind="stable")
    assert list(outliers["image_id"]) == list(scores["image_id"])
    assert list(outliers["score"]) == list(scores["mahalanobis"])
    assert outliers["concept"].notna().all() and "neglabel:rest" in outliers
