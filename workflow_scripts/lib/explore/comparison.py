"""Heat maps of AUROC: mining methods against detectors, and against image sets."""

from dataclasses import dataclass

import pandas as pd

from workflow_scripts.lib.detection.table import MEAN
from workflow_scripts.lib.report.tables import NO_NAMES, joined_names

CONDITIONS = {"clean": "clean test set", "shifted": "shifted test sets", "full_spectrum": "both"}
LOWEST, HIGHEST = (255, 247, 188), (65, 171, 145)  # RGB of the colours of a map's ends


@dataclass
class Cell:
    """A value of a heat map: a fraction, what a hover says, and an RGB colour for CSS."""

    value: float
    note: str
    colour: str


@dataclass
class Heat:
    """A heat map: rows and columns are texts, cells the rows' lists of `Cell` or None."""

    title: str
    rows: list
    columns: list
    cells: list


def heat_maps(comparison, ood):
    """Maps of a study, that of the clean test set against all OOD sets first.

    comparison, ood: the tables `comparison` and `ood` of a study.
    """
    found = []
    shown = labelled(comparison)
    for (condition, group), rows in shown.groupby(["condition", "ood_group"], sort=False):
        title = f"{CONDITIONS[condition]}, {group} OOD sets"
        found.append((title, rows, "scorer", _interval(rows)))
    found.sort(key=lambda one: one[0] != f"{CONDITIONS['clean']}, all OOD sets")
    found += list(_by_set(labelled(ood[ood["images"] == "all"])))
    return [_heat(*one) for one in found]


def labelled(frame):
    """The frame with the columns list (what gave the positives) and scorer (what used them)."""
    several = [key for key in ("clustering", "encoder") if frame[key].nunique() > 1]
    lists = joined_names(frame, ["mining", *several])
    return frame.assign(
        list=["no names" if one == NO_NAMES else one for one in lists],
        scorer=joined_names(frame, ["detector", "negatives"]),
    )


def _interval(rows):
    limits = zip(rows["auroc_low"], rows["auroc_high"], rows["seeds"], strict=True)
    return [
        f"95 % interval over images {100 * low:.1f} to {100 * high:.1f}, {seeds} seeds"
        if pd.notna(low)
        else f"{seeds} seeds"
        for low, high, seeds in limits
    ]


def _by_set(ood):
    """Per scorer a map: OOD sets (clean test set), and shifted sets (mean over OOD sets)."""
    clean = ood[(ood["condition"] == "clean") & (ood["ood_set"] != MEAN)]
    shifted = ood[(ood["condition"] == "shifted") & (ood["ood_set"] == MEAN)]
    shifted = shifted[(shifted["id_set"] != MEAN) & (shifted["ood_group"] == "all")]
    sets = pd.concat(
        [clean.assign(column=clean["ood_set"]), shifted.assign(column=shifted["id_set"] + " (ID)")]
    )
    for scorer, rows in sets.groupby("scorer", sort=False):
        values = rows.groupby(["list", "column"], sort=False)["auroc"].agg(["mean", "count"])
        frame = values.reset_index().rename(columns={"mean": "auroc"})
        notes = [f"mean of {n} seeds" for n in frame["count"]]
        yield f"{scorer}, set by set", frame, "column", notes


def _heat(title, frame, column, notes):
    low, high = frame["auroc"].min(), frame["auroc"].max()
    rows, columns = list(dict.fromkeys(frame["list"])), list(dict.fromkeys(frame[column]))
    cells = {
        (row, at): Cell(value, f"{row}, {at}: {100 * value:.1f}; {note}", _colour(value, low, high))
        for row, at, value, note in zip(
            frame["list"], frame[column], frame["auroc"], notes, strict=True
        )
        if pd.notna(value)
    }
    grid = [[cells.get((row, at)) for at in columns] for row in rows]
    return Heat(title, rows, columns, grid)


def _colour(value, low, high):
    """The colour of a value between the map's ends, light enough for black text."""
    share = (value - low) / (high - low) if high > low else 0.5
    mixed = (round(a + share * (b - a)) for a, b in zip(LOWEST, HIGHEST, strict=True))
    return "rgb({}, {}, {})".format(*mixed)
