"""The index of standard image sets, their check, and the papers' protocols on a miniature tree."""

import re
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import MINI

from workflow_scripts.lib.inventory import check_set

ROOT = Path(__file__).parent.parent


def read_config(name):
    return yaml.safe_load((ROOT / f"config/{name}.yaml").read_text("utf-8"))


SETS = read_config("benchmark_sets")["image_sets"]


def test_names_of_the_index_are_no_others():
    """Snakemake merges blocks of one name: the demo's would become another set."""
    for name in ("config", "ablations", "deep_clustering", "precomputed"):
        assert not SETS.keys() & read_config(name)["image_sets"].keys(), name


def table_of_sets():
    """Name -> (path, list, images, classes) below `data` by the table of benchmark_sets.md, with
    the corruptions of ImageNet-C written out."""
    text = (ROOT / "config/benchmark_sets.md").read_text("utf-8")
    named = re.search(r"`{corruption}`: ([\w,\s]+);\s+`{severity}`: 1 to 5", text).group(1)
    corruptions = re.split(r",\s+", named)
    rows = {}
    for line in re.findall(r"^\| `.*$", text, re.MULTILINE):
        name, _, path, file, images, classes, *_ = (cell.strip() for cell in line.split("|")[1:])
        cells = [path.strip("`"), file.strip("`")]
        cells += [int(count.split()[0].replace(",", "")) if count else None
                  for count in (images, classes)]  # fmt: skip
        for corruption in corruptions if "{" in name else [""]:
            for severity in range(1, 6) if "{" in name else [0]:
                fill = {"corruption": corruption, "severity": severity}
                path = cells[0].format(**fill)
                rows[name.strip("`").format(**fill)] = (path, *cells[1:])
    return rows


def test_table_of_sets_is_that_of_the_config():
    rows = table_of_sets()
    assert sum(name.startswith("imagenet_c_") for name in rows) == 75
    assert list(rows) == list(SETS)
    for name, block in SETS.items():
        kind = next(kind for kind in ("folder", "list", "tar", "parquet") if kind in block)
        options = {"path": block[kind]} if isinstance(block[kind], str) else block[kind]
        places = [options["root"], options["path"]] if kind == "list" else [options["path"], ""]
        assert all(place.startswith("{data}/") for place in filter(None, places)), name
        expected = block["expected"]
        assert rows[name] == (
            *(place.removeprefix("{data}/") for place in places),
            expected["images"],
            expected.get("classes"),
        ), name


# ---- the check --------------------------------------------------------------------------------


@pytest.fixture
def stored(tmp_path):
    """The same six files, no images by their content, as folder, list, archives and table."""
    names = ["cat/1.png", "cat/2.JPEG", "cat/deep/3.webp", "dog/4.jpg", "dog/5.png", "notes.txt"]
    folder = tmp_path / "folder"
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "cat/.hidden.png").touch()
    (tmp_path / "list.txt").write_text("".join(f"{name} {name[0]}\n" for name in names[:5]))
    (tmp_path / "tars").mkdir()
    for label in ("cat", "dog"):
        with tarfile.open(tmp_path / f"tars/{label}.tar", "w") as archive:
            archive.add(folder / label, ".")
    rows = [{"bytes": name.encode(), "path": name} for name in names[:5]]
    table = pa.table({"image": rows, "label": [name[0] for name in names[:5]]})
    pq.write_table(table, tmp_path / "table.parquet")
    return {
        "folder": ("subfolder", {"path": str(folder)}),
        "list": ("column", {"path": str(tmp_path / "list.txt"), "root": str(folder)}),
        "tar": ("shard", {"path": str(tmp_path / "tars")}),
        "parquet": ("column", {"path": str(tmp_path / "table.parquet")}),
    }


@pytest.mark.parametrize("kind", ["folder", "list", "tar", "parquet"])
def test_images_and_classes_are_counted_without_reading_images(stored, kind):
    labels, options = stored[kind]
    assert check_set(kind, labels, options, {"images": 5, "classes": 2}) == (5, 2, "ok")
    assert check_set(kind, labels, options, {}) == (5, 2, "ok")
    verdict = "1,195 images too few; 1 classes too many"
    assert check_set(kind, labels, options, {"images": 1200, "classes": 1}) == (5, 2, verdict)
    assert check_set(kind, "none" if kind != "tar" else "subfolder", options, {"images": 4}) == (
        5, 1 if kind == "tar" else None, "1 images too many"
    )  # fmt: skip


def test_what_is_missing_or_damaged_is_named(stored, tmp_path):
    labels, options = stored["list"]
    (tmp_path / "folder/dog/4.jpg").unlink()
    (tmp_path / "folder/dog/5.png").unlink()
    images, classes, verdict = check_set("list", labels, options, {"images": 5})
    assert (images, classes) == (3, 2)
    assert verdict.startswith("2 images too few; 2 listed files cannot be used (first: dog/4.jpg: ")
    gone = str(tmp_path / "nowhere")
    for place in ("path", "root"):
        found = check_set("list", labels, options | {place: gone}, {})
        assert found == (None, None, f"missing: {gone}")
    (tmp_path / "tars/dog.tar").write_bytes(b"no archive")
    assert "dog.tar is truncated" in check_set("tar", "shard", stored["tar"][1], {})[2]
    (tmp_path / "empty").mkdir()
    assert check_set("folder", "none", {"path": str(tmp_path / "empty")}, {})[2] == "no images"
    table = stored["parquet"][1]
    assert check_set("folder", "none", table, {})[2].endswith(f"Not a directory: '{table['path']}'")


def expecting(**expected):
    """The miniature config, with its image sets in use expected to hold so many images."""
    sets = MINI["image_sets"]
    return MINI | {
        "ablate": [],
        "compare": [],
        "image_sets": sets | {n: sets[n] | {"expected": e} for n, e in expected.items()},
    }


def test_the_check_counts_what_a_run_reads(finished, tmp_path):
    project = finished.copy(tmp_path / "project")
    counts = {"photos": {"images": 24, "classes": 3}, "photos_test": {"images": 12}}
    project.write_config(expecting(**counts))
    assert project.rules_run("-n") == {}, "what is expected changes no result"
    for _ in range(2):
        done = project.run("check_image_sets")
    rows = [line.split("|")[1:-1] for line in done.stdout.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in row] for row in rows]
    assert ["photos", "photos/train", "folder", "24", "24", "3", "3", "ok"] in rows
    assert ["photos_test", "photos/test", "folder", "12", "12", "3", "", "ok"] in rows
    assert ["strange", "photos/strange", "folder", "10", "", "2", "", "ok"] in rows
    assert not [row for row in rows if row[0] in ("stranger", "imagenet_val")], "not in the run"
    assert ["corpora.words.files[0].path", "words.txt", "ok"] in rows
    assert "All 3 image sets and 2 further files are as they should be." in done.stdout


def test_the_check_fails_on_what_is_missing(finished, tmp_path):
    project = finished.copy(tmp_path / "project")
    config = expecting(photos={"images": 25})
    config["image_sets"]["strange"] = {"folder": "{data}/strange"}
    config["corpora"] = {"words": {"files": [{"path": "{data}/words.txt"}]}}
    project.write_config(config)
    done = project.run("check_image_sets", "--config", "data=gone", check=False)
    assert done.returncode != 0
    assert "missing: " in done.stdout and "gone/strange" in done.stdout
    assert "1 images too few" in done.stdout
    wrong = "photos, strange, corpora.words.files[0].path"
    assert f"Error in check_image_sets: 3 of 5 are wrong: {wrong}" in done.stdout
    assert "Traceback" not in done.stdout
    done = project.run("-n", "--config", "data=gone", check=False)
    assert "image_sets.strange.folder: gone/strange does not exist" in done.stdout
    done = project.run("check_image_sets", "--config", "data=gone", "check=all", check=False)
    assert "stranger" in done.stdout and "gone/imagenet-c/snow/5" in done.stdout
