"""Image sets in archives, tables and lists give the results of the folder they were made from."""

import copy
import json
import os
import shutil
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from changes import PAGES

from workflow_scripts.lib.config.paths import paths_in_run
from workflow_scripts.lib.config.resolve import resolve_config
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images.containers import open_container
from workflow_scripts.lib.images.folder import list_folder
from workflow_scripts.lib.images.kinds import ARCHIVES, LABELS

ROOT = Path(__file__).parent.parent
CONFIG = yaml.safe_load((ROOT / "config/config.yaml").read_text("utf-8"))


def resolved(image_set):
    """The demo config with its test set replaced."""
    config = copy.deepcopy(CONFIG)
    config["image_sets"]["test"] = image_set
    return resolve_config(config)


@pytest.mark.parametrize(
    ("image_set", "labels", "paths"),
    [
        ({"folder": "a"}, "subfolder", ["a"]),
        ({"tar": "a"}, "subfolder", ["a"]),
        ({"tar": "a.tar", "labels": "shard"}, "shard", ["a.tar"]),
        ({"list": {"path": "a.csv"}}, "column", ["a.csv"]),
        ({"list": {"path": "a.csv", "root": "b"}}, "column", ["a.csv", "b"]),
        ({"parquet": {"path": "a"}, "labels": "none"}, "none", ["a"]),
    ],
)
def test_config_of_image_sets(image_set, labels, paths):
    config = resolved(image_set)
    assert config["image_sets"]["test"]["labels"] == labels
    found = dict.fromkeys(
        p for key, p in paths_in_run(config) if key.startswith("image_sets.test.")
    )
    assert list(found) == paths


@pytest.mark.parametrize(
    ("image_set", "message"),
    [
        ({"folder": "a", "tar": "b"}, r"image_sets.test: give one of folder, tar, not both"),
        ({"folder": "a", "labels": "cls"}, r"test.labels: 'cls' does not go with folder; valid: s"),
        ({"list": {"path": "a", "labels": "cls"}}, r"unknown key 'image_sets.test.list.labels'"),
        ({"list": {"root": "a"}}, r"image_sets.test.list needs the key 'path'"),
        ({"parquet": {"path": "a", "ids": "name"}}, r"test.parquet.ids: 'name' is not valid"),
    ],
)
def test_mistakes_in_image_sets(image_set, message):
    with pytest.raises(InputError, match=message):
        resolved(image_set)


def test_config_and_containers_know_the_same_labels(tmp_path):
    for kind, labels in LABELS.items():
        container = open_container(kind, tmp_path)
        assert container.label_modes == labels
        assert container.archived == (kind in ARCHIVES)


def make_tars(folder, target, step=1):
    """Two tar files with the files of a folder, in order or (step -1) backwards."""
    target.mkdir(exist_ok=True)
    names = list_folder(folder)[::step]
    for shard in range(2):
        with tarfile.open(target / f"{shard}.tar", "w") as archive:
            for name in names[shard::2]:
                archive.add(folder / name, name)


def make_list(folder, path):
    rows = [f"{name},{name.split('/')[0]}" for name in list_folder(folder)]
    path.write_text("\n".join(["path,label", *rows]) + "\n")


def make_parquet(folder, path):
    rows = [{"bytes": (folder / n).read_bytes(), "path": n} for n in list_folder(folder)]
    labels = [row["path"].split("/")[0] for row in rows]
    pq.write_table(pa.table({"image": rows, "label": labels}), path, row_group_size=4)


# What depends on files' times or places, too.
NOT_OF_THE_IMAGES = ("hashes.parquet", "state.json", "sources.json", "locators.parquet")
NOT_OF_THE_IMAGES += ("tables/quarantine.parquet",)  # its recipe tells where the files are


def results_of(project):
    """The bytes of what came of the images, by path."""
    top = project.folder / "results"
    folders = ("images", "embeddings", "concepts", "scores", "tables", "figures")
    return {
        str(file.relative_to(top)): file.read_bytes()
        for folder in folders
        for file in sorted((top / folder).rglob("*"))
        if file.is_file() and not str(file).endswith(NOT_OF_THE_IMAGES)
    }


@pytest.fixture(scope="session")
def moved(finished, shared):
    """The finished project, run again after all its images moved into containers; what ran."""
    project = shared("moved", lambda folder: move(finished.copy(folder)))
    return project, json.loads((project.folder / "ran.json").read_text())


def move(project):
    photos, config = project.folder / "photos", project.read_config()
    make_tars(photos / "train", project.folder / "tars")
    make_list(photos / "test", project.folder / "test.csv")
    make_parquet(photos / "strange", project.folder / "strange.parquet")
    config["image_sets"] |= {
        "photos": {"tar": "tars", "shards": 2},
        "photos_test": {"list": {"path": "test.csv", "root": "photos/test"}},
        "strange": {"parquet": {"path": "strange.parquet"}},
    }
    project.write_config(config)
    shutil.rmtree(photos / "train")
    shutil.rmtree(photos / "strange")
    project.environment |= {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "PYTHONHASHSEED": "7"}
    (project.folder / "ran.json").write_text(json.dumps(project.rules_run("--cores", "2")))


def test_all_results_stay_the_same(finished, moved):
    project, ran = moved
    assert ran["list_images"] == 3
    assert ran["embed_images"] == 3  # two shards of tars, one of Parquet; the list's files stayed
    assert ran["draw_concepts"] == 1
    before, after = results_of(finished), results_of(project)
    assert before.keys() == after.keys()
    assert any(name.endswith(".png") for name in before)
    assert [name for name in before if before[name] != after[name]] == []
    assert project.rules_run("-n") == {}


def test_repacked_archives_are_listed_and_no_more(moved, tmp_path):
    project = moved[0].copy(tmp_path / "project")
    archives = project.folder / "tars"
    with tarfile.open(archives / "0.tar") as first, tarfile.open(archives / "1.tar") as second:
        for archive in (first, second):
            archive.extractall(tmp_path / "train", filter="data")
    make_tars(tmp_path / "train", archives, step=-1)
    ran = project.rules_run("--cores", "2")
    assert ran == {
        "list_images": 1, "collect_quarantine": 1, "summarise": 1, **PAGES,
    }  # fmt: skip
    assert results_of(project) == results_of(moved[0])

    sorted((tmp_path / "train").rglob("*.png"))[3].unlink()  # moves all that come after it
    make_tars(tmp_path / "train", archives)
    stem = "results/embeddings/tinyclip/images/photos"
    index = [f"{stem}/{shard}.parquet" for shard in ("00000", "00001")]
    assert project.rules_run("--cores", "2", *index) == {"list_images": 1, "embed_images": 1}
    assert sum(pq.read_table(project.folder / path).num_rows for path in index) == 23


def test_an_archive_with_one_member_more_hides_no_other_change(moved, tmp_path):
    project = moved[0].copy(tmp_path / "project")
    stem = "results/embeddings/tinyclip/images/photos"
    index = [f"{stem}/{shard}.parquet" for shard in ("00000", "00001")]
    with tarfile.open(project.folder / "tars/1.tar", "a") as archive:
        archive.addfile(tarfile.TarInfo("notes.txt"))
    assert project.rules_run("-n", *index) == {}
    assert project.rules_run("-n")["list_images"] == 1
    config = project.read_config()
    config["encoders"] = {"tinyclip": {"batch_size": 7}}
    project.write_config(config)
    assert project.rules_run("-n", *index) == {"list_images": 1, "embed_images": 2}


@pytest.mark.parametrize("file", ["photos/test/{}", "test.csv", "tars/1.tar", "strange.parquet"])
def test_a_touched_file_runs_nothing(moved, tmp_path, file):
    project = moved[0].copy(tmp_path / "project")
    file = project.folder / file.format(list_folder(project.folder / "photos/test")[0])
    os.utime(file)
    assert project.rules_run("-n") == {}


def test_missing_files_are_named(moved, tmp_path):
    project = moved[0].copy(tmp_path / "project")
    (project.folder / "strange.parquet").unlink()
    done = project.run("-n", check=False)
    assert done.returncode != 0
    assert "image_sets.strange.parquet.path: strange.parquet does not exist" in done.stdout


def test_a_path_with_braces_and_a_key_given_twice_are_named(moved, tmp_path):
    project = moved[0].copy(tmp_path / "project")
    config = project.read_config()
    (project.folder / "strange.parquet").rename(project.folder / "{x}.parquet")
    config["image_sets"]["strange"]["parquet"]["path"] = "{x}.parquet"
    project.write_config(config)
    done = project.run("-n", check=False)
    assert done.returncode != 0 and "Traceback" not in done.stdout
    assert "image_sets.strange.parquet.path: {x}.parquet holds a brace" in done.stdout
    with (project.folder / "mini.yaml").open("a") as file:
        file.write("\nrun: [demo]\n")
    done = project.run("-n", check=False)
    assert done.returncode != 0
    assert "the key 'run' is there twice" in done.stdout


NUMBERS = {"solid_red_circle": "7", "solid_blue_square": "0", "striped_green_star": "12"}
JUDGED = ["results/studies/mini/ood.parquet", "results/studies/mini/label_quality.parquet",
          "results/contamination/mini.parquet"]  # fmt: skip
NAMES = "label,name\n7,Solid_Red Circle\n0,solid blue square\n12,striped green star\n3,disc\n"


def judged_by_labels(project):
    """The tables that compare labels with concepts, and those that labels alone make."""
    folder = project.folder / "results"
    files = [*(folder / "studies/mini").glob("*.parquet")]
    files += (folder / "concepts").rglob("ground_truth/*.parquet")
    return {str(path.relative_to(folder)): str(pq.read_table(path).to_pydict()) for path in files}


@pytest.fixture(scope="session")
def numbered(finished, shared):
    """The finished project with the oracle and flags by label, whose classes became numbers with a
    table of names; its tables before that."""
    project = shared("numbered", lambda folder: number(finished.copy(folder)))
    return project, json.loads((project.folder / "before.json").read_text())


def number(project):
    config = project.read_config()
    config["studies"]["mini"] |= {
        "minings": ["clustermine", "ground_truth"],
        "clusterings": ["kmeans_3"],
        "contamination": "by_label",
    }
    config["contaminations"] = {"by_label": {"method": "label"}}
    project.write_config(config)
    project.run("--cores", "2", *JUDGED)
    (project.folder / "before.json").write_text(json.dumps(judged_by_labels(project)))
    (project.folder / "names.csv").write_text(NAMES)
    for image_set, folder in [("photos", "photos/train"), ("photos_test", "photos/test")]:
        rows = [f"{n},{NUMBERS[n.split('/')[0]]}" for n in list_folder(project.folder / folder)]
        path = project.folder / f"{image_set}.csv"
        path.write_text("\n".join(["path,label", *rows]) + "\n")
        listed = {"list": {"path": path.name, "root": folder}, "label_names": "names.csv"}
        config["image_sets"][image_set] = config["image_sets"][image_set] | listed
        del config["image_sets"][image_set]["folder"]
    project.write_config(config)
    project.run("--cores", "2", *JUDGED)


def test_numbered_classes_with_names_give_the_results_of_names(numbered):
    project, before = numbered
    folder = project.folder / "results"
    index = folder / "embeddings/tinyclip/images/photos/00000.parquet"
    assert set(pq.read_table(index)["label"].to_pylist()) <= {"7", "0", "12"}
    assert sum(path.startswith("concepts/") for path in before) == 1
    assert judged_by_labels(project) == before
    flags = pq.read_table(folder / "contamination/mini.parquet").to_pandas()
    assert flags.groupby("image_set")["flagged"].mean().to_dict() == {
        "photos_test": 1, "strange": 0,
    }  # fmt: skip


def test_new_names_re_run_what_compares_them(numbered, tmp_path):
    project = numbered[0].copy(tmp_path / "project")
    assert project.rules_run("-n", *JUDGED) == {}
    names = project.folder / "names.csv"
    os.utime(names)
    assert project.rules_run("-n", *JUDGED) == {}
    names.write_text(NAMES.replace("striped green star", "pentagram"))
    assert project.rules_run("-n", *JUDGED) == {
        "mine_ground_truth": 1, "evaluate_concepts": 1, "flag_contamination": 1,
        "mine_negatives": 1, "score_images": 1, "evaluate_ood": 1,
    }  # fmt: skip
    path = "results/concepts/tinyclip/photos/words/none/ground_truth/seed0.parquet"
    assert project.rules_run(path) == {"mine_ground_truth": 1}
    mined = pq.read_table(project.folder / path)["concept"].to_pylist()
    assert sorted(mined) == ["pentagram", "solid blue square", "solid red circle"]
    names.unlink()
    done = project.run("-n", check=False)
    assert "image_sets.photos.label_names.path: names.csv does not exist" in done.stdout
