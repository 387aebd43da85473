"""Heat maps: every value of the tables is in its cell."""

import pandas as pd

from workflow_scripts.lib.detection.table import MEAN
from workflow_scripts.lib.explore.comparison import heat_maps


def rows(*values):
    keys = ["mining", "detector", "negatives", "auroc"]
    frame = pd.DataFrame([dict(zip(keys, one, strict=True)) for one in values])
    return frame.assign(encoder="clip", clustering="none", condition="clean", ood_group="all")


def test_cells_of_methods_and_detectors():
    values = [("truth", "mcm", "none", 0.9), ("mined", "mcm", "none", 0.8)]
    values += [("truth", "neglabel", "rest", 0.7), ("none", "knn", "none", 0.6)]
    comparison = rows(*values).assign(auroc_low=0.5, auroc_high=float("nan"), seeds=3)
    comparison["auroc_low"] = float("nan")
    comparison.loc[0, ["auroc_low", "auroc_high"]] = [0.85, 0.95]
    ood = rows(("truth", "mcm", "none", 0.9), ("truth", "mcm", "none", 0.7)).assign(
        images="all", id_set="test", ood_set=["noise", "textures"]
    )
    ood = pd.concat([ood, ood.assign(ood_set=MEAN, auroc=0.8)])
    overall, by_set = heat_maps(comparison, ood)
    assert overall.title == "clean test set, all OOD sets"
    assert overall.columns == ["mcm", "neglabel, rest", "knn"]
    assert overall.rows == ["truth", "mined", "no names"]
    found = [[cell and cell.value for cell in row] for row in overall.cells]
    assert found == [[0.9, 0.7, None], [0.8, None, None], [None, None, 0.6]]
    assert "85.0 to 95.0" in overall.cells[0][0].note
    assert by_set.title == "mcm, set by set"
    assert by_set.columns == ["noise", "textures"]
    assert [cell.value for cell in by_set.cells[0]] == [0.9, 0.7]
    unscored = ood.assign(auroc=float("nan"))
    _, by_set = heat_maps(comparison, pd.concat([ood, ood, unscored]))
    assert by_set.cells[0][0].note.endswith("mean of 2 seeds")
    assert overall.cells[0][0].colour == "rgb(65, 171, 145)"  # the best
    assert overall.cells[2][2].colour == "rgb(255, 247, 188)"  # the worst
