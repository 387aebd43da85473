"""Plot the AUROC of a study: a panel per detector and negatives, a row per list of positives;
detectors without names are the rows of a panel of their own.

Out: SVG, PNG and PDF. Means over the near and far OOD sets and the seeds, on the clean test set and
all images. Bars span the 95 % bootstrap intervals of all seeds; without bootstrap, the seeds.
"""

import pandas as pd

from workflow_scripts.lib.detection.table import MEAN
from workflow_scripts.lib.job import job
from workflow_scripts.lib.report.figures import dot_panels
from workflow_scripts.lib.report.tables import joined_names, read_frame

CAPTION = """\
Mean over the near and far OOD sets and over the seeds, on the clean test set. {bars}
Rows: {rows}, best first by their mean over all panels.{extra}"""
INTERVALS = "Bars span the 95 % bootstrap intervals (over images) of all seeds."
WITHOUT_NAMES = "detectors without names"


def means_of(ood):
    """The rows of a study's table that are drawn, with the names of their row and panel."""
    shown = (ood["condition"] == "clean") & (ood["images"] == "all")
    shown &= ood["auroc"].notna()
    frame = ood[shown & (ood["ood_set"] == MEAN) & (ood["ood_group"] == "all")]
    several = [
        key
        for key in ("clustering", "encoder")
        if frame.loc[frame[key] != "none", key].nunique() > 1
    ]
    detectors = pd.Series(joined_names(frame, ["detector", "negatives"]), frame.index)
    lists = pd.Series(joined_names(frame, ["mining", *several]), frame.index)
    nameless = frame["mining"] == "none"
    clusters = pd.Series(joined_names(frame, ["detector", *several]), frame.index)
    same = clusters.isin(lists[~nameless])  # a detector may have the name of a mining method
    clusters = clusters.mask(same, clusters + " (detector)")
    return frame.assign(
        row=lists.mask(nameless, clusters),
        panel=detectors.mask(nameless, WITHOUT_NAMES),
        low=frame["auroc_low"].fillna(frame["auroc"]),
        high=frame["auroc_high"].fillna(frame["auroc"]),
    )


def caption_of(frame, reference):
    seeds = frame["seed"].nunique()
    bars = "Bars span the seeds." if seeds > 1 else "One seed and no bootstrap: no bars."
    bars = INTERVALS if frame["auroc_low"].notna().any() else bars
    named = (frame["mining"] != "none").any()
    extra = f" Dashed: {reference}, the reference." if reference in set(frame["mining"]) else ""
    rows = "the lists of positives" if named else "the detectors"
    return CAPTION.format(bars=bars, rows=rows, extra=extra)


def plot_ood(ood, study, reference, outputs):
    """ood: path of the study's table. reference: name of the mining to mark, or None."""
    frame = means_of(read_frame(ood))
    values = frame.groupby(["panel", "row"], sort=False).agg(
        mean=("auroc", "mean"), low=("low", "min"), high=("high", "max")
    )
    panels = {name: rows.droplevel("panel") for name, rows in values.groupby("panel", sort=False)}
    best_first = values["mean"].groupby("row").mean().sort_values(ascending=False, kind="stable")
    is_reference = frame["mining"] == reference
    marked = set(frame.loc[is_reference, "row"])
    rows = {row: f"{row} (reference)" if row in marked else row for row in best_first.index}
    marks = frame[is_reference].groupby("panel")["auroc"].mean().to_dict()
    title = f"{study}: AUROC by detector and list of positives"
    dot_panels(outputs, panels, rows, "AUROC", title, caption_of(frame, reference), marks)


if __name__ == "__main__":
    with job(snakemake):
        plot_ood(
            snakemake.input[0],
            snakemake.wildcards.study,
            snakemake.params.cfg["reference"],
            list(snakemake.output),
        )
