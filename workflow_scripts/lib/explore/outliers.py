"""The page of one scored set: the images that belong least, by every detector."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

LOWEST = 200  # images of a list
HIGHEST = 60  # images of an OOD set that look most in-distribution


@dataclass
class Ranking:
    """The images of a set by one detector.

    name: the detector's column. lowest, highest: rows of the set's list, the lowest and the highest
    score first; highest is empty unless asked for. flagged: number of flagged images, or None.
    scores: float64 [N].
    """

    name: str
    lowest: pd.DataFrame
    highest: pd.DataFrame
    flagged: int | None
    scores: np.ndarray


def rankings(outliers, deciding, others, highest=False):
    """The `Ranking` by the deciding detector, then by the others.

    outliers: the table of `list_outliers`. deciding: the name of its column `score`. others: names
    of the other columns with scores. highest: whether to list the highest scores too.
    """
    columns = {deciding: ("score", "p_value", "flagged")}
    columns |= {name: (name, f"{name} p", f"{name} flagged") for name in others}
    return [_ranking(outliers, name, parts, highest) for name, parts in columns.items()]


def _ranking(outliers, name, parts, highest):
    score, p, is_flagged = (outliers[part] for part in parts)
    shown = outliers.drop(columns=["score", "p_value", "flagged"])
    shown = shown.assign(score=score, p=p, is_flagged=is_flagged)
    order = np.argsort(shown["score"].to_numpy(), kind="stable")
    flags = shown["is_flagged"]
    return Ranking(
        name,
        shown.iloc[order[:LOWEST]],
        shown.iloc[order[::-1][: HIGHEST if highest else 0]],
        None if flags.isna().any() else int(flags.sum()),
        shown["score"].to_numpy(np.float64),
    )


def shown_images(ranked):
    """(ids of the images, ids of their nearest training images) that a page shows."""
    rows = pd.concat([part for one in ranked for part in (one.lowest, one.highest)])
    ids = list(dict.fromkeys(rows["image_id"]))
    nearest = rows["training_id"].dropna()
    return ids, list(dict.fromkeys(nearest))
