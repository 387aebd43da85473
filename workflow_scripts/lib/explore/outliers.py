"""The page of one scored set: the images that belong least, by every detector."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

LOWEST = 200  # images of a list
HIGHEST = 60  # images of an OOD set that look most in-distribution


@dataclass
class Ranking:
    """The images of a set by one detector.

    name: the detector's column. lowest, highest: rows of the set's list as dicts, the lowest and
    the highest score first; highest is empty unless asked for. Beside the list's columns they have
    score, p and is_flagged of this detector, None where unknown. flags: bool [N], the flagged
    images, or None. scores: float64 [N].
    """

    name: str
    lowest: list
    highest: list
    flags: np.ndarray | None
    scores: np.ndarray


def rankings(outliers, deciding, others, highest=False):
    """The `Ranking` by the deciding detector, then by the others.

    outliers: the pyarrow Table of `list_outliers`. deciding: what its column `score` is of.
    others: names of the other columns with scores. highest: whether to list these too.
    """
    columns = {deciding: ("score", "p_value", "flagged")}
    columns |= {name: (name, f"{name} p", f"{name} flagged") for name in others}
    return [_ranking(outliers, name, parts, highest) for name, parts in columns.items()]


def _ranking(outliers, name, parts, highest):
    kinds = (pa.float64(), pa.float64(), pa.bool_())  # without calibration, only scores are known
    score, p, flagged = (
        outliers[part] if part in outliers.column_names else pa.nulls(len(outliers), kind)
        for part, kind in zip(parts, kinds, strict=True)
    )
    shown = outliers.select(
        ["image_id", "path", "member", "concept", "training_id", "training_image"]
    )
    shown = shown.append_column("score", score).append_column("p", p)
    shown = shown.append_column("is_flagged", flagged)
    scores = score.to_numpy().astype(np.float64)
    order = np.argsort(scores, kind="stable")
    return Ranking(
        name,
        shown.take(order[:LOWEST]).to_pylist(),
        shown.take(order[::-1][:HIGHEST]).to_pylist() if highest else [],
        None if flagged.null_count else flagged.to_numpy().astype(bool),
        scores,
    )


def shown_images(ranked):
    """(ids of the images, ids of their nearest training images) that a page shows, each once."""
    rows = [row for one in ranked for row in (*one.lowest, *one.highest)]
    nearest = (row["training_id"] for row in rows if row["training_id"] is not None)
    return list(dict.fromkeys(row["image_id"] for row in rows)), list(dict.fromkeys(nearest))
