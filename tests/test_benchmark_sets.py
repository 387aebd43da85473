"""The index of standard image sets, their check, and the papers' protocols on a miniature tree."""

import re
import tarfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from projects import MINI, make_project
from small_corpora import database
from snakemake.utils import update_config

from workflow_scripts.lib.config.paths import files_in_use
from workflow_scripts.lib.config.queries import image_sets_in_use
from workflow_scripts.lib.config.resolve import resolve_config
from workflow_scripts.lib.images.inventory import check_set

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
    assert (images, classes) == (3, 1)
    assert verdict.startswith("2 images too few; 2 files cannot be used (first: dog/4.jpg: ")
    gone = str(tmp_path / "nowhere")
    for place in ("path", "root"):
        found = check_set("list", labels, options | {place: gone}, {})
        assert found == (None, None, f"missing: {gone}")
    (tmp_path / "tars/dog.tar").write_bytes(b"no archive")
    assert "dog.tar is truncated" in check_set("tar", "shard", stored["tar"][1], {})[2]
    (tmp_path / "empty").mkdir()
    verdict = check_set("folder", "none", {"path": str(tmp_path / "empty")}, {})[2]
    assert "empty holds no files" in verdict
    table = stored["parquet"][1]
    assert "table.parquet is a file" in check_set("folder", "none", table, {})[2]


def test_own_embeddings_are_files_to_find_and_no_images_to_count():
    config = read_config("config")
    update_config(config, read_config("precomputed"))
    config["image_sets"]["caltech101_train"] = {"folder": "images"}
    config = resolve_config(config)
    assert image_sets_in_use(config) == []
    found = files_in_use(config)
    assert found["embeddings/texts_lvis.npy"].startswith("encoders.clip_vitb32.texts.object_names")
    assert "embeddings/images_caltech101_train.npy" in found and "images" not in found


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
    assert "config: corpora.words.files[0].path: gone/words.txt does not exist" in done.stdout
    config["corpora"] = MINI["corpora"]
    project.write_config(config)
    done = project.run("-n", "--config", "data=gone", check=False)
    assert "config: image_sets.strange.folder: gone/strange does not exist" in done.stdout
    done = project.run("check_image_sets", "--config", "data=gone", "check=all", check=False)
    assert "stranger" in done.stdout and "gone/imagenet-c/snow/5" in done.stdout


# ---- the papers' protocols --------------------------------------------------------------------

# Our miniature WordNet: eight classes below two kinds of shape, things, and adjectives.
CLASSES = ["solid red circle", "solid blue circle", "dotted green circle", "striped pink circle"]
CLASSES += ["solid red square", "solid blue square", "dotted green square", "striped pink square"]
WNIDS = [f"n{i:08d}" for i in range(10, 10 + len(CLASSES))]
CORRUPTIONS = ["gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur",
               "motion_blur", "zoom_blur", "snow", "frost", "fog", "brightness", "contrast",
               "elastic_transform", "pixelate", "jpeg_compression"]  # fmt: skip


def write_wordnet(folder):
    folder.mkdir()
    nouns = [("00000001", 3, ["entity"], [], [])]
    nouns += [(f"0000000{i}", 3, [kind], ["00000001"], []) for i, kind in ((2, "disc"), (3, "box"))]
    for wnid, name in zip(WNIDS, CLASSES, strict=True):
        parent = "00000002" if "circle" in name else "00000003"
        nouns.append((wnid[1:], 6, [name.replace(" ", "_")], [parent], []))
    nouns += [(f"{i:08d}", 6, [f"thing_{i}"], ["00000001"], []) for i in range(100, 120)]
    database(folder, "noun", "n", nouns)
    database(folder, "adj", "a", [(f"{i:08d}", 0, [f"kind{i}"], [], []) for i in range(1, 20)])


def draw(folder, classes, number):
    """Draw images of the classes by turns: JPEG files below `folder`, `number` for each name.

    classes: name of a class folder ("" for none) -> which of CLASSES it shows.
    Returns the paths relative to the folder.
    """
    import numpy as np
    from PIL import Image

    from workflow_scripts.lib.demo import drawing

    names = []
    for name, shown in classes.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(number):
            rng = np.random.default_rng([shown, i, len(folder.name)])
            pixels = drawing.to_uint8(drawing.draw_concept(tuple(CLASSES[shown].split()), rng))
            names.append(str(Path(name, f"{name or 'image'}_{i}.JPEG")))
            Image.fromarray(pixels.transpose(1, 2, 0)).save(folder / names[-1], "JPEG")
    return names


def draw_data_sets(data):
    """A miniature of every data set in the layout in which it is published or commonly unpacked.

    Returns image set -> {"images": number, "classes": number, if it has labels}.
    """
    four = dict(zip(WNIDS[:4], range(4), strict=True))
    known, more = four | {WNIDS[4]: 4}, {f"kind_{i}": i for i in (5, 6)}
    held = {}

    def one(name, folder, classes, number):
        draw(data / folder, classes, number)
        held[name] = {"images": number * len(classes), "classes": len(classes)}
        if "" in classes:
            del held[name]["classes"]

    one("imagenet_train", "imagenet/train", known, 6)
    one("imagenet_val", "imagenet/val", known, 2)
    one("ninco", "NINCO/NINCO_OOD_classes", more, 2)
    one("clean", "NINCO/NINCO_popular_datasets_subsamples", {"Places": 5, "Textures": 6}, 2)
    del held["clean"]["classes"]  # folders are the sets that the images come from
    one("textures_dtd", "dtd/images", more, 3)
    for name in ("iNaturalist", "SUN", "Places"):
        one(name.lower(), f"{name}/images", {"": 6}, 3)
    one("imagenet_o", "imagenet-o", {WNIDS[0]: 7, WNIDS[1]: 6}, 2)
    one("imagenet_v2", "imagenetv2-matched-frequency-format-val", {str(i): i for i in range(5)}, 1)
    one("imagenet_r", "imagenet-r", four, 1)
    one("imagenet_a", "imagenet-a", four, 2)
    (data / "imagenet-a/README.txt").write_text("no image\n")
    one("imagenet_sketch", "sketch", known, 1)
    for corruption in CORRUPTIONS:
        one(f"imagenet_c_{corruption}_3", f"imagenet-c/{corruption}/3", four, 1)
    lists = data / "benchmark_imglist/imagenet"
    lists.mkdir(parents=True)
    large, hard = "images_largescale", dict(zip(WNIDS[5:], range(5, 8), strict=True))
    for name, listed_as, root, folder, classes in [
        ("ssb_hard", "ssb_hard", large, "ssb_hard", hard),
        ("openimage_o", "openimage_o", large, "openimage_o/images", {"": 7}),
        ("openood_imagenet", "imagenet", large, "imagenet_1k/val", {"": 3}),
        ("openood_ninco", "ninco", large, "ninco", more),
        ("openood_inaturalist", "inaturalist", large, "inaturalist/images", {"": 6}),
        ("openood_textures", "textures", "images_classic", "texture", more),
        ("openood_imagenet_v2", "imagenet_v2", large, "imagenet_v2", {"0": 0}),
        ("openood_imagenet_r", "imagenet_r", large, "imagenet_r", four),
        ("openood_imagenet_c", "imagenet_c", large, "imagenet_c/fog/1", {"": 1}),
    ]:
        drawn = draw(data / root / folder, classes, 4)
        listed = [f"{folder}/{path} -1\n" for path in drawn[:-1]]  # lists leave images out
        (lists / f"test_{listed_as}.txt").write_text("".join(listed))
        held[name] = {"images": len(listed)}
    held["openimage_o_whole"] = {"images": 4}
    every = {wnid: i for i, wnid in enumerate(WNIDS)}
    one("imagenet21k_train", "imagenet21k_resized/imagenet21k_train", every, 4)
    one("imagenet21k_val", "imagenet21k_resized/imagenet21k_val", every, 2)
    names = [f"{wnid} {name}, thing\n" for wnid, name in zip(WNIDS[:5], CLASSES, strict=False)]
    (data / "imagenet/LOC_synset_mapping.txt").write_text("".join(names))
    (data / "words.txt").write_text("table\nriver\nsolid red circle\n")
    return held


@pytest.fixture(scope="module")
def protocols(tmp_path_factory):
    """A project with miniatures of all data sets, and what these hold."""
    project = make_project(tmp_path_factory.mktemp("protocols") / "project")
    write_wordnet(project.folder / "wordnet")
    return project, draw_data_sets(project.folder / "datasets")


def protocol(name, held):
    """A shipped protocol with what is unlike in the miniature: WordNet and the expected counts."""
    config = {}
    for file in ("imagenet1k", name) if name == "imagenet1k_openood" else (name,):
        text = (ROOT / f"config/{file}.yaml").read_text("utf-8")
        update_config(config, yaml.safe_load(text.replace("/usr/share/wordnet", "wordnet")))
    sets = config.setdefault("image_sets", {})
    for image_set, expected in held.items():
        sets[image_set] = sets.get(image_set, {}) | {"expected": expected, "shards": 1}
    return config | {"data": "datasets"}


def made_small(config):
    """The protocol with the demo's encoder and little training; same sets, corpora and studies."""
    tiny = {"method": "open_clip", "checkpoint": "config/demo/tinyclip", "threads": 1}
    config["encoders"] = dict.fromkeys(config["encoders"], tiny)
    for block in config["clusterings"].values():
        block["threads"] = 1
        block["k"] = block["k"] if block["k"] == "classes" else 4
        if block["method"] in ("temi", "scan"):
            block |= {"neighbours": 3, "heads": 2, "hidden": 16, "bottleneck": 8, "steps": 20,
                      "warmup_steps": 4, "batch_size": 8}  # fmt: skip
    for block in config.get("detectors", {}).values():
        block |= {"groups": 2} if block["method"] != "mcm" else {}
    return config


@pytest.mark.parametrize(
    "name, targets",
    [
        pytest.param("imagenet1k", ["all", "ablations", "reproduce"], marks=pytest.mark.slow),
        pytest.param("imagenet1k_openood", ["all"], marks=pytest.mark.slow),
        ("imagenet21k", ["deep_clustering"]),
    ],
)
def test_protocols_find_all_they_need(protocols, name, targets):
    project, held = protocols
    project.write_config(protocol(name, held))
    done = project.run("check_image_sets")
    assert "missing" not in done.stdout and "are as they should be" in done.stdout
    planned = project.rules_run("-n", *targets)
    assert planned["list_images"] >= 2


def test_a_gap_in_the_data_sets_is_found(protocols):
    project, held = protocols
    more = held["inaturalist"] | {"images": held["inaturalist"]["images"] + 12}
    config = protocol("imagenet1k", held | {"inaturalist": more})
    config["image_sets"]["imagenet_sketch"]["folder"] = "{data}/imagenet-sketch"
    project.write_config(config)
    done = project.run("check_image_sets", check=False)
    assert done.returncode != 0
    assert "inaturalist: 12 images too few" in done.stdout
    assert re.search(r"imagenet_sketch: missing: \S*datasets/imagenet-sketch", done.stdout)
    assert re.search(r"Error in .* 2 of \d+ are wrong: inaturalist, imagenet_sketch\n", done.stdout)


@pytest.mark.slow
def test_protocol_of_imagenet1k_runs(protocols):
    """With few of the sets: an image set of each layout, labelled or not."""
    project, held = protocols
    config = made_small(protocol("imagenet1k", held))
    few = {"near": ["ssb_hard"], "far": ["sun", "textures_dtd"], "resamples": 0}
    mined = {"shift": ["imagenet_v2"], "minings": ["ground_truth", "clustermine"], "seeds": [0]}
    config["studies"]["imagenet1k"] |= few | mined | {"clusterings": ["temi_1000"]}
    config["studies"]["imagenet1k_true_names"] |= few
    project.write_config(config)
    tables = [f"results/studies/{n}/ood.parquet" for n in ("imagenet1k", "imagenet1k_true_names")]
    project.run("--cores", "2", *tables)
    mined, published = (pd.read_parquet(project.folder / path) for path in tables)
    for ood, detectors in (
        (mined, {"mcm", "neglabel"}),
        (published, {"mcm", "neglabel", "negrefine_clip", "adaneg_clip"}),
    ):
        clean = ood[ood["group"].isin(["near", "far"]) & (ood["ood_set"] != "(mean)")]
        found = dict(zip(clean["ood_set"], clean["n_ood"], strict=True))
        assert found == {name: held[name]["images"] for name in ("ssb_hard", "sun", "textures_dtd")}
        assert set(ood["detector"]) == detectors and ood["auroc"].between(0, 1).all()
    assert set(mined["mining"]) == {"ground_truth", "clustermine"}
    assert config["reproductions"]["imagenet1k"]["study"] == "imagenet1k_true_names"
    project.run("--cores", "2", "reproduce")
    beside = pd.read_csv(project.folder / "results/tables/reproduction.csv")
    compared = beside[beside["ours"].notna()]
    assert set(compared["method"]) == {"MCM", "NegLabel", "CSP", "NegRefine", "AdaNeg"}
    assert set(compared["ood_set"]) == {"sun", "textures_dtd"}
    assert set(beside[beside["test_time"]]["method"]) == {"AdaNeg"}
    for corpus in ("wordnet", "wordnet_neglabel"):
        path = f"results/concepts/vit_b16_openai/imagenet_train/{corpus}/none/ground_truth"
        names = pd.read_parquet(project.folder / path / "seed0.parquet")["concept"]
        assert sorted(names) == sorted(CLASSES[:5])


@pytest.mark.slow
def test_protocol_of_imagenet21k_runs(protocols):
    """With few levels: every benchmark's own way to make image sets, and every method once."""
    project, held = protocols
    config = made_small(protocol("imagenet21k", held))
    for benchmark in config["benchmarks"].values():
        level = next(iter(benchmark["levels"]))
        benchmark |= {"levels": {level: benchmark["levels"][level]}, "seeds": [0]}
        if benchmark["axis"] != "multiple_classes":
            benchmark["clusterings"] = ["kmeans_21k"]
    several = config["benchmarks"]["imagenet21k_several"]
    several["clusterings"] = ["kmeans_21k", "temi_21k", "scan_21k"]
    config["compare"] = ["imagenet21k_equal_size", "imagenet21k_leaves", "imagenet21k_easy",
                         "imagenet21k_several"]  # fmt: skip
    project.write_config(config)
    project.run("--cores", "2", "results/tables/deep_clustering.parquet")
    table = pd.read_parquet(project.folder / "results/tables/deep_clustering.parquet")
    assert set(table["benchmark"]) == set(config["compare"])
    full = table[table["benchmark"] == "imagenet21k_several"]
    assert set(full["method"]) == {"kmeans", "temi", "scan"}
    assert (full["n"] == held["imagenet21k_train"]["images"]).all() and (full["k"] == 8).all()
