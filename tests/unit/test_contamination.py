import numpy as np
import pytest

from workflow_scripts.lib.contamination import flagged_by_label, flagged_by_match
from workflow_scripts.lib.errors import InputError

TRUE = [3, 5]
IDS = np.array([[3, 1, 2], [1, 3, 5], [5, 3, 1], [3, 5, 3], [0, 1, 2]], np.int32)
COSINES = np.array(
    [[0.30, 0.25, 0.2], [0.3, 0.29, 0.1], [0.3, 0.28, 0.2], [0.3, 0.29, 0.27], [0.3, 0.2, 0.1]],
    np.float32,
)


def test_flags_images_whose_best_concept_is_a_true_name():
    assert flagged_by_match(IDS, COSINES, TRUE).tolist() == [True, False, True, True, False]
    assert not flagged_by_match(IDS, COSINES, []).any()


def test_the_margin_is_over_the_best_other_concept():
    # Leads: .05 over concept 1; .1 over concept 1 (not .02 over the true name 3); at least .03.
    assert flagged_by_match(IDS, COSINES, TRUE, 0.02).tolist() == [True, False, True, True, False]
    assert flagged_by_match(IDS, COSINES, TRUE, 0.04).tolist() == [True, False, True, False, False]
    assert flagged_by_match(IDS, COSINES, TRUE, 0.08).tolist() == [False, False, True, False, False]


def test_matches_the_rule_over_the_whole_corpus():
    rng = np.random.default_rng(0)
    sims = rng.normal(size=(200, 12))
    order = np.argsort(-sims, axis=1)
    true = [1, 4, 7]
    others = [j for j in range(12) if j not in true]
    for margin in (0, 0.3, 1):
        expected = [row[true].max() - row[others].max() >= margin for row in sims]
        # With m = 4 of 12 and three true names there is always another concept among the m.
        ids = order[:, :4]
        cosines = np.take_along_axis(sims, ids, axis=1)
        assert flagged_by_match(ids, cosines, true, margin).tolist() == expected
    assert 0 < sum(expected) < 200


def test_the_best_concept_alone_proves_no_margin():
    assert flagged_by_match(IDS[:, :1], COSINES[:, :1], TRUE).sum() == 3
    assert not flagged_by_match(IDS[:, :1], COSINES[:, :1], TRUE, 0.01).any()


def test_refuses_bad_input():
    with pytest.raises(InputError, match="margin"):
        flagged_by_match(IDS, COSINES, TRUE, -0.1)
    with pytest.raises(InputError, match="similarity pass"):
        flagged_by_match(IDS, COSINES[:, :2], TRUE)


def test_flags_labels_that_are_true_names():
    labels = ["dog", "river", None, "puppy", "dog"]
    assert flagged_by_label(labels, ["dog", "cat"]).tolist() == [True, False, False, False, True]


def test_flags_synonyms_of_true_names():
    flagged = flagged_by_label(
        ["sofa", "river", None], ["couch"], {"sofa": {"couch"}, "river": {"stream"}}.get
    )
    assert flagged.tolist() == [True, False, False]


def test_an_unlabelled_set_is_not_flagged():
    flagged = flagged_by_label([None, None], ["dog"])
    assert flagged.dtype == bool
    assert not flagged.any()
