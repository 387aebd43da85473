"""Rankings of a set: the lowest and highest images by every detector, and how many are flagged."""

import numpy as np
import pyarrow as pa

from workflow_scripts.lib.explore.outliers import HIGHEST, LOWEST, rankings, shown_images


def table(n=500):
    rng = np.random.default_rng(1)
    scores = np.sort(rng.random(n))
    other = rng.random(n)
    return pa.table(
        {
            "image_id": [f"{i}.jpg" for i in range(n)],
            **dict.fromkeys(
                ("path", "member", "concept", "training_image"), pa.nulls(n, pa.string())
            ),
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
    mcm = table()["mcm"].to_numpy()
    first, second = rankings(table(), "energy", ["mcm"], highest=True)
    assert (first.name, first.flags.sum()) == ("energy", 7)
    assert [row["image_id"] for row in first.lowest] == [f"{i}.jpg" for i in range(LOWEST)]
    assert [row["image_id"] for row in first.highest] == [
        f"{i}.jpg" for i in range(499, 499 - HIGHEST, -1)
    ]
    assert (second.name, second.flags.tolist()) == ("mcm", (mcm < 0.1).tolist())
    assert [row["score"] for row in second.lowest] == sorted(mcm)[:LOWEST]
    assert [row["p"] for row in second.lowest] == sorted(mcm)[:LOWEST]


def test_without_calibration_nothing_is_said_of_flags():
    unknown = table(5).drop_columns("flagged").append_column("flagged", pa.nulls(5, pa.bool_()))
    unknown = unknown.drop_columns(["mcm p", "mcm flagged"])
    first, second = rankings(unknown, "energy", ["mcm"])
    assert first.flags is None and first.highest == []
    assert second.flags is None and second.lowest[0]["p"] is None


def test_images_that_are_shown_are_listed_once():
    ids, nearest = shown_images(rankings(table(6), "energy", ["mcm"], highest=True))
    assert sorted(ids) == [f"{i}.jpg" for i in range(6)]
    assert sorted(nearest) == ["t0.jpg", "t1.jpg", "t2.jpg"]
