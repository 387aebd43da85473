"""Holding images out: who falls into which part."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import binom

from workflow_scripts.lib.benchmarks.derived import holdout
from workflow_scripts.lib.errors import InputError

IDS = [f"class_{i % 7}/{i:05d}.jpg" for i in range(2000)]


def part(ids, name, share=0.2, seed=0, labels=None):
    """The ids of one part."""
    cfg = {"from": "train", "share": share, "seed": seed, "part": name}
    images = SimpleNamespace(ids=ids, rows=len(ids))
    rows = holdout(images, labels, cfg)
    assert (np.diff(rows) > 0).all()
    return [ids[row] for row in rows]


@pytest.mark.parametrize("share", [0.05, 0.2, 0.7])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_parts_are_disjoint_complete_and_as_large_as_asked(share, seed):
    fit, calibration = (part(IDS, name, share, seed) for name in ("fit", "calibration"))
    assert sorted(fit + calibration) == sorted(IDS)
    assert len(set(fit) & set(calibration)) == 0
    low, high = binom.ppf([0.0001, 0.9999], len(IDS), share)
    assert low <= len(calibration) <= high


def test_an_added_or_removed_image_moves_no_other():
    before = part(IDS, "calibration")
    shuffled = np.random.default_rng(0).permutation([*IDS[100:], "new/a.jpg", "new/b.jpg"]).tolist()
    after = part(shuffled, "calibration")
    assert set(before) & set(IDS[100:]) == set(after) - {"new/a.jpg", "new/b.jpg"}


def test_the_seed_matters_and_labels_do_not():
    first = part(IDS, "calibration", labels=np.array(["a", "b"] * 1000, object))
    assert first == part(IDS, "calibration", labels=np.array([None] * 2000, object))
    assert first != part(IDS, "calibration", seed=1)


def test_a_larger_share_keeps_the_images_of_a_smaller_one():
    assert set(part(IDS, "calibration", 0.1)) < set(part(IDS, "calibration", 0.3))


def test_an_empty_part_is_refused():
    with pytest.raises(InputError, match="no image of train falls into the part 'calibration'"):
        part(IDS[:3], "calibration", share=1e-9)
