"""The product's promise: for each change, exactly these rules run.

The changes are in tests/changes.py; workflow_scripts/README.md shows them as a matrix.
"""

import pyarrow.parquet as pq
import pytest
from changes import CHANGES, COLUMNS, TARGET, cases, image_edited, matrix, set_key, with_matrix
from projects import make_project
from small_corpora import write_wordnet

CASES = {name: (change, rules) for name, change, rules in cases()}


@pytest.mark.parametrize("name", CASES)
def test_exactly_these_rules_run(finished, tmp_path, name):
    project = finished.copy(tmp_path / "project")
    change, expected = CASES[name]
    change(project)
    assert project.rules_run("-n") == expected


def test_a_dry_run_tells_the_truth_and_a_second_run_does_nothing(finished, tmp_path):
    """The case with most stages, for real: one edited image re-embeds its shard alone."""
    project = finished.copy(tmp_path / "project")
    image_edited("train", "strange")(project)
    foreseen = project.rules_run("-n")
    assert project.rules_run() == foreseen
    assert foreseen["embed_images"] == 1
    assert project.rules_run("-n") == {}


def test_an_index_of_wordnet_is_watched_beside_its_data_file(tmp_path):
    project = make_project(tmp_path / "project")
    index = write_wordnet(project.folder / "wordnet") / "index.noun"
    set_key("corpora.words.files", [{"path": "wordnet/data.noun"}])(project)
    corpus = "results/corpora/words.parquet"
    assert project.rules_run(corpus) == {"build_corpus": 1}
    assert project.rules_run("-n", corpus) == {}
    lines = index.read_text().splitlines(keepends=True)
    index.write_text("".join(line for line in lines if not line.startswith("pet ")))
    assert project.rules_run(corpus) == {"build_corpus": 1}
    concepts = pq.read_table(project.folder / corpus)["concept"].to_pylist()
    assert "pet" not in concepts and "animal" in concepts


def test_no_test_or_ood_image_reaches_mining():
    """Of all changes, those of test and OOD images re-run nothing before the scores."""
    allowed = {"list_images", "embed_images", "score_images", "evaluate_ood", "plot_ood"}
    allowed |= {"evaluate_concepts", "write_table", "collect_quarantine", "summarise"}
    allowed |= {"find_duplicates", "collect_duplicates", "tabulate_means", "draw_map"}
    allowed |= {"explore_study", "explore_provenance"}
    for name in ("a test image edited", "an OOD image edited", "a new OOD set"):
        assert CASES[name][1].keys() <= allowed, name


def test_the_matrix_shows_every_rule_of_every_change():
    assert {rule for _, rules in CASES.values() for rule in rules} <= set(COLUMNS.values())
    assert len(matrix().splitlines()) == len(CHANGES) + 2


def test_the_readme_shows_this_matrix():
    text = TARGET.read_text("utf-8")
    assert matrix() in text
    assert with_matrix(text) == text, "run `python tests/changes.py`"


def note_added(project):
    """A file that is no image: the set is listed again, and nothing is embedded."""
    (project.folder / "photos/train/notes.txt").write_text("x")


# What lists again without embedding, and what changes below.
LISTED = {
    "a file that is no image": note_added,
    "how folders are listed": CASES["how folders are listed"][0],
}


@pytest.mark.parametrize(
    ("listed", "below"),
    [
        ("a file that is no image", "k of a clustering"),
        ("a file that is no image", "how the map is drawn"),
        ("how folders are listed", "a prompt"),
    ],
)
def test_a_new_listing_hides_no_other_change(finished, tmp_path, listed, below):
    project = finished.copy(tmp_path / "project")
    LISTED[listed](project)
    foreseen = project.rules_run("-n")
    assert foreseen["list_images"] and "embed_images" not in foreseen
    change, expected = CASES[below]
    change(project)
    both = project.rules_run("-n")
    assert both.keys() == foreseen.keys() | expected.keys()
    assert {rule: both[rule] for rule in expected if rule not in foreseen} == {
        rule: number for rule, number in expected.items() if rule not in foreseen
    }
