"""Rankings of a set: the lowest and highest images by every detector, and how many are flagged."""

import numpy as np
import pandas as pd

from workflow_scripts.lib.explore.outliers import HIGHEST, LOWEST, rankings, shown_images


def table(n=500):
    rng = np.random.default_rng(1)
    scores = np.sort(rng.random(n))
    other = rng.random(n)
    return pd.DataFrame(
        {
            "image_id": [f"{i}.jpg" for i in range(n)],
            "score": scores,
            "p_value": (1 + np.arange(n)) / n,
            "flagged": np.arange(n) < 7,
            "mcm": other,
            "mcm p": other,
            "mcm flagged": other < 0.1,
            "training_id": [f"t{i % 3}.jpg" for i in range(n)],
        }
    )


def test_every_detector_ranks_by_its_own_scores():
    frame = table()
    first, second = rankings(frame, "energy", ["mcm"], highest=True)
    assert (first.name, first.flagged) == ("energy", 7)
    assert list(first.lowest["image_id"]) == [f"{i}.jpg" for i in range(LOWEST)]
    assert list(first.highest["image_id"]) == [f"{i}.jpg" for i in range(499, 499 - HIGHEST, -1)]
    assert (second.name, second.flagged) == ("mcm", (frame["mcm"] < 0.1).sum())
    assert list(second.lowest["score"]) == sorted(frame["mcm"])[:LOWEST]
    assert list(second.lowest["p"]) == sorted(frame["mcm"])[:LOWEST]


def test_without_calibration_nothing_is_said_of_flags():
    frame = table(5).assign(p_value=np.nan, flagged=pd.array([pd.NA] * 5, "boolean"))
    (ranking,) = rankings(frame, "energy", [])
    assert ranking.flagged is None and len(ranking.highest) == 0


def test_images_that_are_shown_are_listed_once():
    ids, nearest = shown_images(rankings(table(6), "energy", ["mcm"], highest=True))
    assert sorted(ids) == [f"{i}.jpg" for i in range(6)]
    assert sorted(nearest) == ["t0.jpg", "t1.jpg", "t2.jpg"]
