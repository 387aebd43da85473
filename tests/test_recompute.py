"""The product's promise: for each change, exactly these rules run (README, "What runs again")."""

import os
import re
import shutil
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")

TABLES_OF_OOD = {"evaluate_ood": 1, "plot_ood": 1, "write_table": 2, "summarise": 1}
FROM_CONCEPTS = {
    "mine_negatives": 3,
    "score_images": 3,
    "evaluate_ood": 1,
    "plot_ood": 1,
    "evaluate_concepts": 1,
}
FROM_MATCHES = {"match_concepts": 1, "mine_concepts": 3, **FROM_CONCEPTS}
FROM_MATCHES |= {"write_table": 4, "summarise": 1, "draw_concepts": 1}
FROM_CLUSTERS = {
    "mine_concepts": 2,
    "mine_negatives": 2,
    "score_images": 2,
    "evaluate_ood": 1,
    "plot_ood": 1,
}
FROM_CLUSTERS |= {"evaluate_concepts": 1, "evaluate_clustering": 1, "write_table": 5}
FROM_CLUSTERS |= {"summarise": 1}
ONE_CLUSTERING = FROM_CLUSTERS | {"mine_concepts": 1, "mine_negatives": 1, "score_images": 1}
# The sheet of concepts is drawn of the study's first encoder, clustering and seed.
FIRST_CLUSTERING = ONE_CLUSTERING | {"draw_concepts": 1}
FROM_TRAINING = FROM_MATCHES | {"find_neighbours": 1, "cluster_kmeans": 1, "cluster_temi": 1}
FROM_TRAINING |= {"evaluate_clustering": 1, "write_table": 5}
OTHER_ENCODER = {rule: n for rule, n in FROM_TRAINING.items() if rule != "draw_concepts"}


def replace(path, old, new):
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")


def script(project, name):
    return project.folder / "workflow_scripts" / name


def change_config(project, path, value):
    config = project.read_config()
    *parents, key = path.split(".")
    block = config
    for parent in parents:
        block = block.setdefault(parent, {})
    block[key] = value
    project.write_config(config)


def nothing(project):
    pass


def comment(project):
    replace(script(project, "mine_concepts.py"), "\n\n\n", "\n\n\n# A remark.\n")
    replace(script(project, "mine_concepts.py"), '"""Mine', '"""We mine')


def script_changed(project):
    replace(script(project, "mine_negatives.py"), "\n\n\n", "\n\nUNUSED = 1\n\n\n")


def helper_of_one_stage(project):
    with script(project, "lib/clustering/temi.py").open("a") as file:
        file.write("\nUNUSED = 1\n")


def unrelated_helper(project):
    script(project, "lib/unrelated.py").write_text("X = 1\n")


def first_image(project):
    return sorted((project.folder / "photos/train").rglob("*.png"))[0]


def image_edited(project):
    other = sorted((project.folder / "photos/strange").rglob("*.png"))[0]
    shutil.copyfile(other, first_image(project))


def image_added(project):
    other = sorted((project.folder / "photos/strange").rglob("*.png"))[0]
    shutil.copyfile(other, first_image(project).with_name("new.png"))


def image_removed(project):
    first_image(project).unlink()


def edit_test_image(project):
    other = sorted((project.folder / "photos/strange").rglob("*.png"))[0]
    shutil.copyfile(other, sorted((project.folder / "photos/test").rglob("*.png"))[0])


def edit_ood_image(project):
    other = sorted((project.folder / "photos/stranger").rglob("*.png"))[0]
    shutil.copyfile(other, sorted((project.folder / "photos/strange").rglob("*.png"))[0])


def images_touched(project):
    for image in (project.folder / "photos/train").rglob("*.png"):
        os.utime(image)


def word_added(project):
    with (project.folder / "words.txt").open("a") as file:
        file.write("mountain\n")


def word_list_touched(project):
    os.utime(project.folder / "words.txt")


def prompt_changed(project):
    change_config(project, "corpora.words.prompts", {"default": ["a drawing of a {}."]})


def encoder_prompt_changed(project):
    change_config(project, "encoders.tinyclip.prompts", {"default": ["a drawing of a {}."]})
    change_config(project, "ablate", [])  # one ablates prompts, which would have no effect now


def tokenizer_added(project):
    (project.folder / "config/demo/tinyclip/spiece.model").touch()


def k_changed(project):
    change_config(project, "clusterings.kmeans_3.k", 4)


def k_changed_and_back(project):
    change_config(project, "clusterings.kmeans_3.k", 4)
    project.run("-n")
    change_config(project, "clusterings.kmeans_3.k", 3)


def values_swapped(project):
    change_config(project, "clusterings.kmeans_3.restarts", 9)
    change_config(project, "clusterings.kmeans_3.iterations", 2)


def threads_changed(project):
    change_config(project, "clusterings.kmeans_3.threads", 2)
    change_config(project, "encoders.tinyclip", {"threads": 2})


def mining_changed(project):
    change_config(project, "minings.clustermine", {"minimum_size": 2})


def negatives_changed(project):
    change_config(project, "negatives.rest", {"limit": 0.999})


def detector_changed(project):
    change_config(project, "detectors.mcm", {"temperature": 0.5})


def ood_set_added(project):
    change_config(project, "studies.mini.far", ["strange", "stranger"])


def seed_added(project):
    change_config(project, "studies.mini.seeds", [0, 1])


def encoder_added(project):
    checkpoint = project.folder / "config/demo/tinyclip"
    change_config(
        project, "encoders.second", {"method": "open_clip", "checkpoint": str(checkpoint)}
    )
    change_config(project, "studies.mini.encoders", ["tinyclip", "second"])


def table_deleted(project):
    (project.folder / "results/tables/ood.csv").unlink()


def intermediate_deleted(project):
    for file in (project.folder / "results/similarity").rglob("*.parquet"):
        file.unlink()


LIST_AND_EMBED = {"list_images": 1, "embed_images": 1}
# (what the README calls the change, what is done, the rules that run, in a dry run)
CHANGES = [
    ("nothing", nothing, {}, True),
    ("a comment or docstring in a script", comment, {}, True),
    ("code of a script", script_changed,
     {"mine_negatives": 3, "score_images": 3, **TABLES_OF_OOD}, True),
    ("code of a helper of one stage", helper_of_one_stage,
     {"cluster_temi": 1} | ONE_CLUSTERING, True),
    ("a helper that no script imports", unrelated_helper, {}, True),
    ("one training image edited", image_edited,
     LIST_AND_EMBED | FROM_TRAINING | {"collect_quarantine": 1}, False),
    ("one training image added", image_added,
     LIST_AND_EMBED | FROM_TRAINING | {"collect_quarantine": 1}, False),
    ("one training image removed", image_removed,
     LIST_AND_EMBED | FROM_TRAINING | {"collect_quarantine": 1}, False),
    ("one test image edited", edit_test_image,
     LIST_AND_EMBED | {"score_images": 3, "evaluate_concepts": 1, **TABLES_OF_OOD,
                       "write_table": 4, "collect_quarantine": 1}, False),
    ("one OOD image edited", edit_ood_image,
     LIST_AND_EMBED | {"score_images": 3, **TABLES_OF_OOD, "collect_quarantine": 1}, False),
    ("all training images touched", images_touched, {"list_images": 1}, False),
    ("a word added to the corpus", word_added,
     {"build_corpus": 1, "embed_texts": 1} | FROM_MATCHES, True),
    ("the word list touched", word_list_touched, {}, True),
    ("a prompt", prompt_changed, {"embed_texts": 1} | FROM_MATCHES, True),
    ("a prompt of one encoder", encoder_prompt_changed, {"embed_texts": 1} | FROM_MATCHES, True),
    ("a file of a checkpoint's tokenizer", tokenizer_added,
     {"embed_texts": 1} | FROM_MATCHES, True),
    ("k of a clustering", k_changed, {"cluster_kmeans": 1} | FIRST_CLUSTERING, True),
    ("k changed and changed back before a run", k_changed_and_back, {}, True),
    ("two values of a clustering swapped", values_swapped,
     {"cluster_kmeans": 1} | FIRST_CLUSTERING, True),
    ("a number of threads", threads_changed, {}, True),
    ("a parameter of a mining", mining_changed,
     {"mine_concepts": 2, "mine_negatives": 2, "score_images": 2, "evaluate_ood": 1, "plot_ood": 1,
      "evaluate_concepts": 1, "write_table": 4, "summarise": 1, "draw_concepts": 1}, True),
    ("a parameter of negatives", negatives_changed,
     {"mine_negatives": 3, "score_images": 3, **TABLES_OF_OOD}, True),
    ("a parameter of a detector", detector_changed, {"score_images": 3, **TABLES_OF_OOD}, True),
    ("a new OOD set", ood_set_added,
     LIST_AND_EMBED | {"score_images": 3, **TABLES_OF_OOD, "collect_quarantine": 1}, False),
    ("a seed added", seed_added,
     {"cluster_kmeans": 1, "cluster_temi": 1} | FROM_CLUSTERS, True),
    ("a new encoder", encoder_added,
     {"embed_images": 4, "embed_texts": 1, "collect_quarantine": 1} | OTHER_ENCODER, True),
    ("a table deleted", table_deleted, {"write_table": 1, "summarise": 1}, True),
    ("an intermediate file deleted", intermediate_deleted, {}, True),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "change", "expected", "dry"), CHANGES, ids=[c[0].replace(" ", "-") for c in CHANGES]
)
def test_exactly_these_rules_run(finished, tmp_path, name, change, expected, dry):
    project = finished.copy(tmp_path / "project")
    change(project)
    assert project.rules_run(*(["-n"] if dry else [])) == expected
    if not dry:
        assert project.rules_run("-n") == {}, "a second run does nothing"


def test_no_test_or_ood_image_reaches_mining():
    """Of all changes, those of test and OOD images re-run nothing before the scores."""
    allowed = {"list_images", "embed_images", "score_images", "evaluate_ood", "plot_ood"}
    allowed |= {"evaluate_concepts", "write_table", "collect_quarantine", "summarise"}
    expected = {name: set(rules) for name, _, rules, _ in CHANGES}
    for name in ("one test image edited", "one OOD image edited", "a new OOD set"):
        assert expected[name] <= allowed, name


def readme_rows():
    """The README's table: change -> set of rules."""
    section = README.split("## What runs again")[1].split("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+) \| ([^|]*) \|$", section, re.MULTILINE)
    return {name.strip(): set(re.findall(r"`(\w+)`", rules)) for name, rules in rows[2:]}


def test_readme_shows_the_same_table():
    assert readme_rows() == {name: set(expected) for name, _, expected, _ in CHANGES}
