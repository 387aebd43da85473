"""The workflow end to end: the demo, bad input, the user's own embeddings."""

import json
import shutil

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from changes import set_key
from projects import MINI, WORDS, make_project
from scipy.stats import betabinom
from sklearn.metrics import roc_auc_score

from workflow_scripts.lib.images.manifest import shard_of


@pytest.fixture(scope="session")
def demo(shared):
    """The demo as shipped, run from nothing."""

    def make(folder):
        project = make_project(folder)
        project.write_config({})
        project.run()

    return shared("demo", make)


def test_demo_compares_the_minings(demo):
    ood = pd.read_csv(demo.folder / "results/tables/ood.csv", keep_default_na=False)
    columns = "study encoder id_set ood_set group clustering mining negatives detector seed"
    columns += " n_id n_ood auroc auroc_low auroc_high fpr95 fpr95_ood_pos aupr_in aupr_out tied"
    assert set(columns.split()) <= set(ood.columns)
    groups = {"near", "far", "all", "shift", "full_spectrum", "unflagged"}
    assert set(ood["group"]) == groups
    assert set(ood["study"]) == {"demo", "methods", "screening"}
    mcm = ood[(ood["study"] == "demo") & (ood["detector"] == "mcm") & (ood["group"] == "all")]
    auroc = mcm.groupby("mining")["auroc"].mean()  # over OOD sets, clusterings and seeds
    assert auroc["clustermine"] > auroc[auroc.index.str.startswith("frequency")].max()
    assert 0.6 < auroc["ground_truth"] < 0.95, "neither hopeless nor saturated"
    assert set(mcm[mcm["mining"] == "clustermine"]["seed"]) == {0, 1, 2}


def test_demo_shows_every_method(demo):
    ood = pd.read_csv(demo.folder / "results/tables/ood.csv", keep_default_na=False)
    from workflow_scripts.lib.concepts import methods as mining
    from workflow_scripts.lib.concepts import negatives
    from workflow_scripts.lib.detection import methods as detectors

    config = yaml.safe_load((demo.folder / "config/config.yaml").read_text())

    def methods(section, names):
        return {config[section][name]["method"] for name in set(names) - {"none"}}

    assert methods("minings", ood["mining"]) == set(mining.METHODS) - {"given"}
    assert methods("detectors", ood["detector"]) == set(detectors.METHODS)
    assert methods("negatives", ood["negatives"]) == set(negatives.METHODS) - {"given"}
    assert {"csp", "distinct"} <= set(ood["negatives"])


def test_demo_numbers_follow_from_its_score_files(demo):
    """One row of the table recomputed with scikit-learn from the scores of single images."""
    scores = pd.read_parquet(
        demo.folder / "results/scores/demo/tinyclip/kmeans_60/clustermine/seed1.parquet"
    ).set_index("image_set")
    ood = pd.read_parquet(demo.folder / "results/tables/ood.parquet")
    for detector, negatives, column in [
        ("mcm", "none", "mcm"),
        ("neglabel_tiny", "rest", "neglabel_tiny:rest"),
    ]:
        row = ood.query(
            "id_set == 'blur' and ood_set == 'unseen_shapes' and clustering == 'kmeans_60' and "
            f"mining == 'clustermine' and seed == 1 and detector == '{detector}' and "
            f"negatives == '{negatives}'"
        )  # fmt: skip
        positive, negative = scores.loc["blur", column], scores.loc["unseen_shapes", column]
        truth = np.repeat([1, 0], [len(positive), len(negative)])
        expected = roc_auc_score(truth, np.concatenate([positive, negative]))
        assert row["auroc"].item() == pytest.approx(expected, abs=1e-9)
        assert row["n_id"].item() == len(positive)


def test_demo_oracle_is_the_reference(demo):
    ood = pd.read_parquet(demo.folder / "results/tables/ood.parquet")
    oracle = ood[ood["mining"] == "ground_truth"]
    assert (oracle["auroc_minus_oracle"] == 0).all()
    assert ood[ood["study"] == "demo"]["auroc_minus_oracle"].notna().all()


def test_demo_keeps_the_asked_false_alarm_rate(demo):
    """Flags among m images like the n calibration images are beta-binomial: of the n + 1 places for
    an image, l = floor(rate (n + 1)) are flagged. The demo's test classes are balanced and its
    training classes are not, which these bounds forgive."""
    table = pd.read_csv(demo.folder / "results/tables/decisions.csv").set_index("group")
    assert set(table["study"]) == {"screening"} and set(table["asked_rate"]) == {0.05}
    assert set(table["detector"]) == {"energy", "mcm", "neglabel_tiny", "knn"}
    for row in table.loc["test"].itertuples():
        places = int(0.05 * (row.n_calibration + 1))
        expected = betabinom(row.images, places, row.n_calibration + 1 - places)
        assert expected.ppf(0.0001) <= row.flagged <= expected.ppf(0.9999), row.detector
    energy = table[table["detector"] == "energy"]
    assert energy.loc[["near", "far"], "share"].min() > 0.5
    noise = pd.read_csv(demo.folder / "results/outliers/screening/noise.csv")
    assert noise["discovery"].mean() > 0.9, "of a folder that shows nothing known"


def test_second_run_of_the_demo_does_nothing(demo):
    assert demo.rules_run() == {}


def test_embeddings_match_their_index_and_are_unit_norm(demo):
    folder = demo.folder / "results/embeddings/tinyclip/images"
    for array in folder.rglob("*.npy"):
        vectors = np.load(array)
        index = pq.read_table(array.with_suffix(".parquet"))
        assert vectors.dtype == np.float16
        assert len(vectors) == len(index) > 0
        norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
        assert norms == pytest.approx(1, abs=2e-3)


def test_artifacts_say_what_made_them(demo):
    path = demo.folder / "results/clusters/tinyclip/train/kmeans_60/seed2.parquet"
    meta = json.loads(pq.read_schema(path).metadata[b"clustermine"])
    assert meta["method"] == "kmeans"
    assert (meta["k"], meta["seed"], meta["encoder"]) == (60, 2, "tinyclip")


def test_unreadable_images_are_quarantined_with_their_reason(finished, tmp_path):
    project = finished.copy(tmp_path / "project")
    folder = project.folder / "photos/train/solid_red_circle"
    (folder / "notes.txt").write_text("no image")
    (folder / "empty.png").touch()
    image = (folder / "000.png").read_bytes()
    (folder / "cut.png").write_bytes(image[: len(image) // 2])
    project.run()
    quarantine = pd.read_csv(project.folder / "results/tables/quarantine.csv")
    assert set(quarantine["image_set"]) == {"photos"}
    assert all((project.folder / path).is_file() for path in quarantine["path"])
    lost = dict(zip(quarantine["image_id"].str.split("/").str[-1], quarantine["lost"], strict=True))
    assert lost == {"notes.txt": False, "empty.png": True, "cut.png": True}
    summary = (project.folder / "results/tables/summary.md").read_text()
    assert "- 2 of 26 images of photos could not be used;" in summary
    assert set(quarantine["image_id"].str.split("/").str[-1]) == {
        "notes.txt", "empty.png", "cut.png",
    }  # fmt: skip
    assert set(quarantine["stage"]) == {"list", "decode"}
    assert quarantine["reason"].str.len().min() > 5
    rows = sum(
        len(np.load(path))
        for path in (project.folder / "results/embeddings/tinyclip/images/photos").glob("*.npy")
    )
    assert rows == 24, "the good images are all there"

    set_key("image_sets.photos.maximum_quarantine", 0.05)(project)
    done = project.run(check=False)
    assert done.returncode == 1
    assert "photos: 2 of 26 files cannot be used (limit 5 %): 1 x empty file" in done.stdout


def test_a_damaged_shard_of_200_images_fails_with_the_reasons_counted(finished, tmp_path):
    project = finished.copy(tmp_path / "project")
    folder = project.folder / "photos/many"
    folder.mkdir()
    content = next((project.folder / "photos/train").rglob("*.png")).read_bytes()
    names = [f"{i:03d}.png" for i in range(200)]
    damaged = [name for name in names if shard_of(name, 8) == 3]
    for name in names:
        (folder / name).write_bytes(content[:-40] if name in damaged else content)
    set_key("image_sets.many", {"folder": "photos/many", "labels": "none", "shards": 8})(project)
    index = "results/embeddings/tinyclip/images/many/{}.parquet"
    done = project.run(index.format("00003"), check=False)
    assert done.returncode == 1
    n = len(damaged)
    assert 20 <= n <= 40
    assert f"many (shard 3): {n} of {n} files cannot be used (limit 20 %): {n} x" in done.stdout
    assert "image_sets.many.maximum_quarantine" in done.stdout
    set_key("image_sets.many.maximum_quarantine", 1)(project)
    assert project.rules_run(index.format("00003")) == {"list_images": 1, "embed_images": 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"detectors": {"mcm": {"method": "mcm", "temprature": 1}}}, "did you mean 'temperature'?"),
        ({"run": ["mimi"]}, "did you mean 'mini'?"),
        ({"image_sets": {"photos": {"folder": "fotos"}}}, "fotos"),
        ({"corpora": {"words": {"files": [{"path": "wrods.txt"}]}}}, "wrods.txt"),
    ],
)
def test_mistake_in_the_config_is_one_clear_message(finished, tmp_path, change, message):
    project = finished.copy(tmp_path / "project")
    config = dict(MINI)
    for key, value in change.items():
        config[key] = MINI.get(key, {}) | value if isinstance(value, dict) else value
    project.write_config(config)
    done = project.run("-n", check=False)
    assert done.returncode != 0
    assert message in done.stdout
    assert "Traceback" not in done.stdout


def precomputed(finished, folder):
    """A project whose only input are embeddings, those of the finished project."""
    project = make_project(folder)
    shutil.rmtree(project.folder / "photos")
    source = finished.folder / "results/embeddings/tinyclip"
    images = {}
    for name in ("photos", "photos_test", "strange"):
        shards = sorted((source / "images" / name).glob("?????.npy"))
        np.save(project.folder / f"{name}.npy", np.concatenate([np.load(s) for s in shards]))
        index = pd.concat([pd.read_parquet(s.with_suffix(".parquet")) for s in shards])
        index.to_parquet(project.folder / f"{name}.parquet", index=False)
        images[name] = {"embeddings": f"{name}.npy", "index": f"{name}.parquet"}
    shutil.copy(source / "texts/words.npy", project.folder)
    shutil.copy(source / "texts/words.parquet", project.folder)
    texts = {"words": [{"embeddings": "words.npy", "index": "words.parquet"}]}
    config = dict(MINI)
    config["encoders"] = {"mine": {"method": "precomputed", "images": images, "texts": texts}}
    config["studies"] = {"mini": MINI["studies"]["mini"] | {"encoders": ["mine"]}}
    project.write_config(config)
    return project


def test_own_embeddings_give_the_same_table_as_the_images_they_came_from(finished, tmp_path):
    project = precomputed(finished, tmp_path / "project")
    project.run()
    own, images = (
        pd.read_csv(p.folder / "results/tables/ood.csv").drop(columns="encoder")
        for p in (project, finished)
    )
    pd.testing.assert_frame_equal(own, images)


def test_embeddings_of_different_encoders_are_refused(finished, tmp_path):
    project = precomputed(finished, tmp_path / "project")
    words = np.load(project.folder / "words.npy")
    np.save(project.folder / "words.npy", words[:, :-1])
    done = project.run(check=False)
    assert done.returncode != 0
    assert "different encoders" in done.stdout
    assert "Traceback" not in done.stdout.split("Logfile")[-1]


def test_collection_without_labels_and_ood_sets_is_scored(finished, tmp_path):
    """What an engineer has: images that are normal, and images to look through."""
    project = finished.copy(tmp_path / "project")
    config = dict(MINI)
    config["image_sets"] = {
        name: block | {"labels": "none"} for name, block in MINI["image_sets"].items()
    }
    study = {"far": [], "minings": ["clustermine"], "clusterings": ["kmeans_3"]}
    config["studies"] = {"mini": MINI["studies"]["mini"] | study}
    project.write_config(config)
    project.run()
    scores = pd.read_parquet(
        project.folder / "results/scores/mini/tinyclip/kmeans_3/clustermine/seed0.parquet"
    )
    assert set(scores["image_set"]) == {"photos_test"}
    assert len(scores) == 12
    assert scores[["mcm", "neglabel:rest", "concept"]].notna().all(axis=None)
    assert len(pd.read_csv(project.folder / "results/tables/ood.csv")) == 0
    quality = pd.read_csv(project.folder / "results/tables/label_quality.csv")
    assert quality["exact_match_rate"].isna().all() and (quality["n_positives"] > 0).all()
    summary = (project.folder / "results/tables/summary.md").read_text()
    assert "24 images of photos make 3 clusters (kmeans_3) with" in summary
    assert "- Images are ranked, none is flagged." in summary
    assert "AUROC" not in summary.split("## Where to look")[0] and "nan" not in summary


def test_every_method_runs_and_the_filters_of_negatives_work(finished, tmp_path):
    """The demo's study of all methods on the miniature project, with a tree as a table."""
    project = finished.copy(tmp_path / "project")
    methods = yaml.safe_load((project.folder / "config/config.yaml").read_text())
    tree = (
        "child,parent\ndotted green ring,ring\nsolid red circle,circle\ncircle,shape\ntable,thing\n"
    )
    (project.folder / "tree.csv").write_text(tree)
    (project.folder / "words.csv").write_text(
        "concept,pos\n" + "\n".join(f"{word},noun" for word in [*WORDS, "circle", "shape"])
        + "\nshiny,adjective\nheavy,adjective\n"
    )  # fmt: skip
    config = MINI | {key: MINI.get(key, {}) | methods[key] for key in ("minings", "detectors")}
    config["corpora"] = {
        "words": {"files": [{"path": "words.csv"}]},
        "phrases": {"conjugate": {"corpus": "words"}},
    }
    config["negatives"] = {
        "csp": {"method": "rest", "corpora": ["words", "phrases"], "parts": ["noun", "conjugated"]},
        "far": {"method": "rest", "tree": "tree.csv", "related": False},
        "theirs": {"method": "given", "file": "theirs.txt", "exclude_positives": False},
        "from_images": {"method": "neglabel", "share": 0.9, "distance_to": "images"},
    }
    (project.folder / "theirs.txt").write_text("River\nTable\nsolid red circle\n")
    config["minings"]["mine"] = {"method": "given", "file": "mine.txt", "missing": "skip"}
    (project.folder / "mine.txt").write_text("solid red circle\nsolid  blue_square\nmoon\n")
    for detector in ("neglabel_tiny", "negrefine", "adaneg"):
        method = detector.removesuffix("_tiny")
        config["detectors"][detector] = {"method": method, "groups": 2}
    config["detectors"]["knn"] = {"method": "knn", "k": 3}
    config["minings"]["clustermine_pure"] = {"method": "clustermine", "minimum_purity": 0.2}
    config["studies"] = {
        "mini": MINI["studies"]["mini"]
        | {
            "clusterings": ["kmeans_3"],
            "minings": [name for name in methods["studies"]["methods"]["minings"]
                        if name != "frequency_10"] + ["mine"],
            "negatives": list(config["negatives"]),
            "detectors": methods["studies"]["methods"]["detectors"],
            "reference": "clustermine",
        }
    }  # fmt: skip
    project.write_config(config)
    project.run()

    ood = pd.read_csv(project.folder / "results/tables/ood.csv", keep_default_na=False)
    assert set(ood["detector"]) == set(methods["studies"]["methods"]["detectors"])
    assert set(ood["mining"]) == {*config["studies"]["mini"]["minings"], "none"}
    paired = ood["detector"] == "adaneg"  # a stream per pair of sets, and so no bootstrap
    assert (ood.loc[paired, ["auroc_low", "auroc_high", "p_value"]] == "").all(axis=None)
    resampled = ood.loc[~paired, ["auroc_low", "auroc", "auroc_high"]].astype(float)
    low, auroc, high = resampled.to_numpy().T
    assert (low <= auroc).all() and (auroc <= high).all()
    oracle = project.folder / "results/negatives/mini/tinyclip/none/ground_truth/seed0.parquet"
    negatives = pd.read_parquet(oracle).groupby("negatives")["concept"].apply(set)
    assert {"circle", "shape"} <= negatives["csp"], "only `far` asks the tree"
    assert not {"circle", "shape"} & negatives["far"], "hypernyms of the positive solid red circle"
    assert "table" in negatives["far"]
    assert negatives["theirs"] == {"river", "table", "solid red circle"}
    assert len(negatives["from_images"]) < len(negatives["csp"])
    mine = "results/concepts/tinyclip/photos/words/none/mine/seed0.parquet"
    assert set(pd.read_parquet(project.folder / mine)["concept"]) == {
        "solid red circle", "solid blue square",
    }  # fmt: skip
    (project.folder / "theirs.txt").write_text("River\nTable\n")
    ran = project.rules_run("-n")
    assert ran["mine_negatives"] and not ran.keys() & {"mine_concepts", "build_corpus"}
    assert any(name.startswith("shiny ") for name in negatives["csp"])
    assert "shiny" not in negatives["csp"], "adjectives enter joined to a superclass only"


@pytest.mark.slow
def test_retraining_the_demo_encoder_reaches_the_shipped_accuracy(tmp_path):
    project = make_project(tmp_path / "project")
    project.run("results/demo/encoders/tinyclip/report.json")
    report = json.loads((project.folder / "results/demo/encoders/tinyclip/report.json").read_text())
    from workflow_scripts.lib.demo.tinyclip import zero_shot_accuracy

    shipped = zero_shot_accuracy(project.folder / "config/demo/tinyclip")
    for name, accuracy in shipped.items():
        assert report["zero_shot_accuracy"][name] == pytest.approx(accuracy, abs=0.05), name
