"""Scientific guards: what would make numbers mean something else is refused, counted, or told."""

import copy
import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from campaign import Case, main
from inputs.configs import shipped
from inputs.images import picture
from inputs.outcomes import ending, refused

from workflow_scripts.lib.artifacts import write_table
from workflow_scripts.lib.config.resolve import resolve_config
from workflow_scripts.lib.embeddings import IMAGE_INDEX, check_same_encoder, open_embeddings
from workflow_scripts.lib.images.duplicates import duplicates
from workflow_scripts.lib.report.headline import StudyTables
from workflow_scripts.lib.report.reservations import reservations
from workflow_scripts.list_images import list_images

TITLE = "Scientific guards"
FOUND = {
    "a new listing hid all other changes of the run": (
        "test_recompute.py::test_a_new_listing_hides_no_other_change"
    ),
    "parts of a set that are apart were refused as train and test": (
        "test_config.py::test_a_part_of_the_images_is_mined_and_the_other_one_tested"
    ),
    "scores of new images replaced those of a folder of the same name": (
        "test_score.py::test_scores_of_other_images_are_not_replaced"
    ),
    "one folder under two names was trained and tested on": (
        "test_config.py::test_one_folder_under_two_names_is_refused"
    ),
    "sets of a few images were reported without a word": (
        "unit/report/test_headline.py::test_small_sets_are_told_with_the_width_of_an_interval"
    ),
    "flags were counted where too few images were held out for any": (
        "unit/report/test_headline.py::"
        "test_too_few_held_out_images_are_said_in_place_of_flags_that_cannot_be"
    ),
}
STUDY = {"oracles": [], "passed_over": []}
SECTIONS = ("test", "near", "far", "calibrate")


def same_folder(section, spelling):
    """The training images under another name are refused as a study's test, OOD or calibration."""

    def check(_):
        config = copy.deepcopy(shipped())
        folder = config["image_sets"]["train"]["folder"]
        config["image_sets"]["again"] = {"folder": spelling.format(folder)}
        value = {"test": "again", "calibrate": {"set": "again"}}.get(section, ["again"])
        study = config["studies"]["methods"] | {section: value}
        config |= {"studies": config["studies"] | {"methods": study}}
        refused(lambda: resolve_config(config), "studies.methods", "'train' and 'again'")

    return check


def same_name(section):
    def check(_):
        config = copy.deepcopy(shipped())
        value = {"test": "train", "calibrate": {"set": "train"}}.get(section, ["train"])
        config["studies"]["methods"] |= {section: value}
        refused(lambda: resolve_config(config), "studies.methods", "'train'")

    return check


def stored(folder, name, rows, ids, model="a", hashes=None):
    """Embeddings of an image set on disk."""
    folder.mkdir(exist_ok=True)
    np.save(folder / f"{name}.npy", rows.astype(np.float16))
    columns = [pa.array(ids), pa.nulls(len(ids), pa.string()), pa.array(hashes or ids)]
    index = pa.table(columns, schema=IMAGE_INDEX)
    write_table(folder / f"{name}.parquet", index, {"encoder": {"model": model, "dim": 8}})
    return [folder / f"{name}.npy"], [folder / f"{name}.parquet"]


def copies(kind, other):
    """Images of the training set that are in another one too, by file or nearly, are all told."""

    def check(folder):
        rng = np.random.default_rng(0)
        train, more = rng.normal(size=(2, 20, 8))
        ids = [f"t{i}.png" for i in range(20)]
        own = [f"x{i}.png" for i in range(20)]
        hashes = [f"h{i}" for i in range(20)]
        again = np.array([3, 7, 11])
        more[again] = train[again] * (1.5 if kind == "near" else 1)
        theirs = list(own)
        for row in again if kind == "exact" else ():
            theirs[row] = hashes[row]
        sets = {
            "train": open_embeddings(*stored(folder, "train", train, ids, hashes=hashes)),
            other: open_embeddings(*stored(folder, other, more, own, hashes=theirs)),
        }
        found = duplicates(sets, {"train": "train", other: other}, 0.99)
        assert set(found["other_id"]) == {ids[row] for row in again}, found
        assert set(found["kind"]) == {kind}
        told = reservations(STUDY, StudyTables(duplicates=found))
        assert f"3 of {other} and train" in told, told

    return check


def mixed_shards(folder):
    rows = np.eye(8)[:3]
    one = stored(folder, "0", rows, ["a", "b", "c"])
    other = stored(folder, "1", rows, ["d", "e", "f"], model="b")
    paths = [x + y for x, y in zip(one, other, strict=True)]
    refused(lambda: open_embeddings(*paths), "1.parquet", "different encoders")


def mixed_texts(key, value):
    def check(_):
        images = {
            "encoder": {"model": "a", "sha256": "x", "precision": "fp32", "versions": {"v": 1}}
        }
        texts = copy.deepcopy(images)
        texts["encoder"][key] = value
        message = ending(lambda: check_same_encoder(images, texts))
        assert (message is None) == (key == "versions"), message
        assert message is None or key in message

    return check


def prompt(section, template):
    def check(_):
        config = copy.deepcopy(shipped())
        name = {"corpora": "demo_words", "encoders": "tinyclip"}[section]
        config[section][name]["prompts"] = {"default": ["a photo of a {}.", template]}
        refused(lambda: resolve_config(config), f"{section}.{name}.prompts.default")

    return check


def lost_images(share, limit):
    """A set that lost more than its limit is refused; else each loss is counted."""

    def check(folder):
        (folder / "set").mkdir()
        for i in range(20):
            content = b"" if i < share * 20 else picture(i)
            (folder / f"set/{i}.png").write_bytes(content)
        cfg = {"kind": "folder", "labels": "none", "options": {}, "shards": 1, "state": None}
        paths = [folder / f"out/test/{n}.parquet" for n in ("manifest", "locators", "quarantine")]
        cfg |= {"maximum_quarantine": limit}
        message = ending(lambda: list_images(folder / "set", *paths, cfg, None))
        if share > limit or share == 1:
            assert message, "it was accepted"
        else:
            lost = pd.read_parquet(paths[2])
            assert message is None and lost["lost"].sum() == share * 20
            lost = lost.assign(image_set="test")
            told = reservations(STUDY, StudyTables(quarantine=lost, images={"test": 20}))
            assert not share or f"{int(share * 20)} of 20 images of test" in told

    return check


def tiny(number):
    def check(_):
        told = reservations(STUDY, StudyTables(images={"incoming": number}))
        assert (f"incoming ({number} images" in told) == (number <= 92), told

    return check


def without_recipe(path):
    """What a file holds but for digests of its inputs, which hold the labels."""
    if path.suffix != ".parquet":
        return path.read_bytes()
    table = pq.read_table(path)
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(None), sink)
    return sink.getvalue().to_pybytes()


# What reads no labels: every stage up to the lists of outliers.
LABEL_FREE = (
    "embeddings/**/*.npy",
    "corpora/*.parquet",
    "clusters/**/*.parquet",
    "clusters/**/*.safetensors",
    "similarity/**/*.parquet",
    "concepts/**/*.parquet",
    "negatives/**/*.parquet",
    "neighbours/**/*.npy",
    "scores/**/*.parquet",
    "decisions/**/*.parquet",
    "outliers/**/*.csv",
)


MADE = ["results/studies/mini/ood.parquet"]  # of all scores
MADE += [f"results/outliers/mini/{name}.csv" for name in ("photos_test", "strange")]


def permuted_labels(folder):
    """All that is label-free has the same bytes whatever the labels are."""
    from projects import MINI, make_project

    from workflow_scripts.lib.images.folder import list_folder

    project, sets, found = make_project(folder / "project"), {}, []
    study = MINI["studies"]["mini"] | {"calibrate": {"share": 0.25}}
    rng = np.random.default_rng(0)
    for round_ in range(2):
        for name, place in (("photos", "train"), ("photos_test", "test"), ("strange", "strange")):
            root = project.folder / "photos" / place
            names = list_folder(root)
            labels = [path.partition("/")[0] for path in names]
            labels = rng.permutation(labels) if round_ else labels
            with (project.folder / f"{name}.csv").open("w", newline="") as file:
                rows = [("path", "label"), *zip(names, labels, strict=True)]
                csv.writer(file).writerows(rows)
            sets[name] = {"list": {"path": f"{name}.csv", "root": f"photos/{place}"}}
        project.write_config(MINI | {"studies": {"mini": study}, "image_sets": sets})
        project.run("--cores", "2", *MADE, *(["--forceall"] if round_ else []))
        results = project.folder / "results"
        files = {path for pattern in LABEL_FREE for path in results.glob(pattern)}
        files = {path for path in files if "ground_truth" not in str(path)}
        found.append({str(path.relative_to(results)): without_recipe(path) for path in files})
    before, after = found
    assert before.keys() == after.keys(), before.keys() ^ after.keys()
    assert len(before) > 15, sorted(before)
    assert not (differing := [name for name in before if before[name] != after[name]]), differing
    index = pd.read_parquet(Path(project.folder, "results/images/photos/manifest.parquet"))
    assert any(index["label"] != index["image_id"].str.partition("/")[0]), "nothing was permuted"


def cases(short, seed):
    made = {}
    for section in SECTIONS:
        made[f"the training set as {section}"] = same_name(section)
        for spelling in ("{}", "{}/", "./{}", "{}/../" + "train"):
            made[f"the training folder as {section}, {spelling}"] = same_folder(section, spelling)
    for kind in ("exact", "near"):
        for other in ("test", "strange"):
            made[f"{kind} copies in {other}"] = copies(kind, other)
    made["shards of two encoders"] = mixed_shards
    for key, value in (("model", "b"), ("sha256", "y"), ("precision", "bf16"), ("versions", {})):
        made[f"texts of another {key}"] = mixed_texts(key, value)
    for section in ("corpora", "encoders"):
        for template in ("a photo", "{} and {}", "{name}", "", "{ }"):
            made[f"prompt {template!r} of {section}"] = prompt(section, template)
    for share in (0, 0.1, 0.25, 0.5, 1):
        for limit in (0.2, 0.5, 1):
            made[f"{share:.0%} of a set lost, limit {limit:.0%}"] = lost_images(share, limit)
    made |= {f"a set of {number} images": tiny(number) for number in (1, 2, 10, 92, 93, 10_000)}
    if not short:
        made["permuted labels"] = permuted_labels
    return [Case(name, check) for name, check in made.items()]


if __name__ == "__main__":
    main(TITLE, cases)
