import numpy as np
import pytest

from workflow_scripts.lib.concepts.quality import (
    name_agreement,
    text_agreement,
    tree_functions,
    zero_shot_accuracy,
)
from workflow_scripts.lib.concepts.similarity import top_concepts
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.texts.trees import Tree

# entity - animal - dog - dalmatian, entity - furniture - couch (sofa), entity - car (auto,
# automobile). crane is a bird and a machine.
PARENTS = {
    "entity": [], "animal": ["entity"], "furniture": ["entity"], "dog": ["animal"],
    "dalmatian": ["dog"], "couch": ["furniture"], "car": ["entity"], "crane.bird": ["animal"],
    "crane.machine": ["entity"],
}  # fmt: skip
NAMES = {node: (node,) for node in PARENTS if "." not in node} | {
    "sofa": ("couch",), "auto": ("car",), "automobile": ("car",),
    "crane": ("crane.bird", "crane.machine"),
}  # fmt: skip
TREE = Tree(NAMES, PARENTS)


def unit(rows):
    rows = np.asarray(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


# ---- names ---------------------------------------------------------------------------------------


def test_exact_matches_by_hand():
    figures = name_agreement(["dog", "river", "car", "disc"], ["car", "dog", "couch"])
    assert figures == {"exact_match_rate": 0.5, "coverage": pytest.approx(2 / 3)}


def agreement(mined, true):
    return name_agreement(mined, true, *tree_functions(TREE, true))


def test_synonyms_count_once_per_true_name():
    # Both automobile and auto stand for car: 3 of 4 mined names match, 2 of 3 true names are found.
    figures = agreement(["automobile", "auto", "sofa", "river"], ["car", "dog", "couch"])
    assert figures["exact_match_rate"] == 0
    assert figures["coverage"] == 0
    assert figures["synonym_match_rate"] == 0.75
    assert figures["synonym_coverage"] == pytest.approx(2 / 3)


def test_two_true_names_of_one_meaning_are_both_found():
    figures = agreement(["auto"], ["car", "automobile", "dog"])
    assert figures["synonym_match_rate"] == 1
    assert figures["synonym_coverage"] == pytest.approx(2 / 3)


def test_a_name_the_tree_lacks_still_matches_itself():
    figures = agreement(["blob"], ["blob"])
    assert figures["synonym_match_rate"] == figures["synonym_coverage"] == 1
    assert figures["path_similarity"] == figures["path_known"] == 1


def test_path_similarity_is_to_the_nearest_true_name():
    # dalmatian - dog: 1 edge, 1/2. sofa: a synonym, 1. crane as a bird - animal - dog: 2 edges, 1/3
    # (as a machine it is 3 edges away). blob: exact, 1. river: unknown to the tree, left out.
    figures = agreement(["dalmatian", "sofa", "crane", "blob", "river"], ["dog", "couch", "blob"])
    assert figures["path_similarity"] == pytest.approx((1 / 2 + 1 + 1 / 3 + 1) / 4)
    assert figures["path_known"] == 0.8


def test_without_a_tree_its_figures_are_left_out():
    assert name_agreement(["dog"], ["dog"]).keys() == {"exact_match_rate", "coverage"}


def test_nothing_mined_or_nothing_true_is_not_a_number():
    nothing_mined = agreement([], ["dog"])
    assert nothing_mined["coverage"] == nothing_mined["synonym_coverage"] == 0
    assert all(np.isnan(nothing_mined[n]) for n in ("exact_match_rate", "path_similarity"))
    nothing_true = agreement(["dog"], [])
    assert nothing_true["exact_match_rate"] == 0
    assert all(np.isnan(nothing_true[n]) for n in ("coverage", "path_similarity"))
    assert nothing_true["path_known"] == 0


# ---- texts and images ----------------------------------------------------------------------------


def test_text_agreement_finds_the_nearest_true_name():
    nearest, cosines = text_agreement(unit([[1, 0], [0.6, 0.8], [0, -1]]), unit([[0, 1], [1, 0]]))
    assert nearest.tolist() == [1, 0, 1]
    assert cosines.tolist() == pytest.approx([1, 0.8, 0])
    assert cosines.dtype == np.float32


def test_zero_shot_accuracy_by_hand():
    true, mined = ["dog", "car"], ["dog", "automobile", "puppy"]
    # automobile is nearest to car, puppy to dog; dog's own row says car, but it is a true name.
    figures = zero_shot_accuracy(
        [0, 0, 1, 2, 2, 1],
        ["dog", "car", "car", "dog", "river", None],
        mined,
        true,
        nearest_true=np.array([1, 1, 0], np.int32),
    )
    # Of 4 images with a true label: exact gets the first; nearest also automobile and puppy.
    assert figures == {"accuracy_exact": 0.25, "accuracy_nearest": 0.75, "labelled": 4}


def test_zero_shot_accuracy_of_the_true_names_is_plain_zero_shot_accuracy():
    rng = np.random.default_rng(0)
    true = [f"class {i}" for i in range(7)]
    texts, images = unit(rng.normal(size=(7, 5))), unit(rng.normal(size=(90, 5)))
    label = rng.integers(0, 7, 90)
    expected = np.mean((images @ texts.T).argmax(axis=1) == label)
    blocks = (images[start : start + 40] for start in range(0, 90, 40))
    figures = zero_shot_accuracy(
        top_concepts(blocks, texts, 1)[0][:, 0],
        [true[i] for i in label],
        true,
        true,
        text_agreement(texts, texts)[0],
    )
    assert figures["accuracy_exact"] == figures["accuracy_nearest"] == pytest.approx(expected)


def test_zero_shot_accuracy_without_labels():
    figures = zero_shot_accuracy([0, 0], [None, "river"], ["dog"], ["dog"], [0])
    assert figures["labelled"] == 0
    assert np.isnan(figures["accuracy_exact"])


def test_zero_shot_accuracy_refuses_lengths_that_differ():
    with pytest.raises(InputError, match="2 images and 1 labels"):
        zero_shot_accuracy([0, 0], ["dog"], ["dog"], ["dog"], [0])
