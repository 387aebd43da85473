"""Which images of a map have a picture."""

import numpy as np
import pytest

from workflow_scripts.lib.explore.projection import chosen_rows

NAN = float("nan")


def test_half_of_the_pictures_are_of_the_lowest_scores():
    scores = np.random.default_rng(0).permutation(1000).astype(float)
    scores[:400] = NAN
    rows = chosen_rows(scores, limit=100)
    assert len(rows) == len(set(rows.tolist())) == 100
    lowest = sorted(range(400, 1000), key=lambda row: scores[row])[:50]
    assert set(lowest) <= set(rows.tolist())
    assert 10 < np.isnan(scores[rows]).sum() < 40, "the others are of all images alike"
    np.testing.assert_array_equal(rows, chosen_rows(scores, limit=100))


@pytest.mark.parametrize("scores", [[NAN] * 30, [1.0] + [NAN] * 29, [2.0, 1.0, NAN]])
def test_as_many_have_a_picture_as_can(scores):
    assert len(chosen_rows(np.array(scores), limit=10)) == min(10, len(scores))
