"""Negatives that name classes of OOD sets."""

from workflow_scripts.lib.artifacts import write_table
from workflow_scripts.lib.detection.leaks import Leaks, names_of_sets
from workflow_scripts.lib.detection.table import table_rows
from workflow_scripts.lib.texts.label_names import naming
from workflow_scripts.lib.texts.trees import noun_tree

CLASSES = {"a": {"sofa", "cat"}, "b": {"owl", "cat"}, "noise": set()}
GROUPS = {"near": ["a"], "far": ["b", "noise"]}


def leaks(negatives, tree=None):
    """(OOD set, group) -> number of leaked names, of the rows on the clean test set."""
    rows = table_rows("test", GROUPS["near"], GROUPS["far"], ["blur"])
    found = Leaks(CLASSES, GROUPS, tree).of_rows(rows, negatives)
    by_row = {}
    for row, number in zip(rows, found, strict=True):
        assert by_row.setdefault((row.ood_set, row.ood_group), number) == number, "of any ID set"
    return by_row


def test_a_name_of_two_sets_counts_once_in_the_mean():
    assert leaks(["cat", "owl", "sky", "couch"]) == {
        ("a", "near"): 1, ("b", "far"): 2, ("noise", "far"): None,
        ("(mean)", "near"): 1, ("(mean)", "far"): 2, ("(mean)", "all"): 2,
    }  # fmt: skip
    assert leaks([])["(mean)", "all"] == 0


def test_synonyms_by_a_tree_count(tmp_path):
    """A synset of two words, sofa and couch, in WordNet's format."""
    licence = "  1 licence\n"
    (tmp_path / "data.noun").write_text(
        licence + "00000001 06 n 02 sofa 0 couch 0 000 | seat\n"
        "00000002 05 n 01 cat 0 000 | animal\n"
    )
    lines = "sofa n 1 0 1 0 00000001\ncouch n 1 0 1 0 00000001\ncat n 1 0 1 0 00000002\n"
    (tmp_path / "index.noun").write_text(licence + lines)
    for name in ("data.adj", "index.adj"):
        (tmp_path / name).write_text(licence)
    tree = noun_tree([tmp_path / name for name in ("data.noun", "index.noun")])
    found = leaks(["couch", "cat", "sky"], tree)
    assert (found["a", "near"], found["b", "far"], found["(mean)", "all"]) == (2, 1, 2)


def test_names_of_classes_are_read_set_by_set(tmp_path):
    for name, labels in (("a0", ["0"]), ("a1", ["1", "0"]), ("b0", ["Owl", None])):
        write_table(tmp_path / f"{name}.parquet", {"label": labels})
    (tmp_path / "names.csv").write_text("label,name\n0,Sofa\n1,cat\n")
    columns = {"label": "label", "name": "name", "coarse": False}
    namings = naming([tmp_path / "names.csv"], [columns, None])
    paths = [tmp_path / f"{name}.parquet" for name in ("a0", "a1", "b0")]
    assert names_of_sets(paths, {"a": 2, "b": 1}, namings) == {"a": {"sofa", "cat"}, "b": {"owl"}}
