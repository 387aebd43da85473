"""Plot the AUROC of a study: a panel per detector and negatives, a row per list of positives.

Out: SVG and PNG. Means over the near and far OOD sets and the seeds, on the clean test set and all
images. Bars span the 95 % bootstrap intervals of all seeds; without bootstrap, the seeds.
"""

from workflow_scripts.lib.detection.table import MEAN
from workflow_scripts.lib.job import job
from workflow_scripts.lib.report.figures import dot_panels
from workflow_scripts.lib.report.tables import NO_NAMES, joined_names, read_frame

CAPTION = """\
Mean over the near and far OOD sets and over the seeds, on the clean test set. Bars span {bars}.
Rows: the lists of positives, best first by their mean over all panels.{extra}"""
INTERVALS = "the 95 % bootstrap intervals (over images) of all seeds"


def means_of(ood):
    """The rows of a study's table that are drawn, with the names of their row and panel."""
    shown = (ood["condition"] == "clean") & (ood["images"] == "all")
    frame = ood[shown & (ood["ood_set"] == MEAN) & (ood["ood_group"] == "all")]
    several = [
        key
        for key in ("clustering", "encoder")
        if frame.loc[frame[key] != "none", key].nunique() > 1
    ]
    return frame.assign(
        row=joined_names(frame, ["mining", *several]),
        panel=joined_names(frame, ["detector", "negatives"]),
        low=frame["auroc_low"].fillna(frame["auroc"]),
        high=frame["auroc_high"].fillna(frame["auroc"]),
    )


def caption_of(frame, reference):
    bars = INTERVALS if frame["auroc_low"].notna().any() else "the seeds"
    drawn = reference in set(frame["mining"])
    extra = f" Dashed: {reference}, the reference." if drawn else ""
    if (frame["mining"] == "none").any():
        extra += f" {NO_NAMES}: the detector uses no names."
    return CAPTION.format(bars=bars, extra=extra)


def plot_ood(ood, study, reference, outputs):
    """ood: path of the study's table. reference: name of the mining to mark, or None."""
    frame = means_of(read_frame(ood))
    values = frame.groupby(["panel", "row"], sort=False).agg(
        mean=("auroc", "mean"), low=("low", "min"), high=("high", "max")
    )
    panels = {name: rows.droplevel("panel") for name, rows in values.groupby("panel", sort=False)}
    best_first = values["mean"].groupby("row").mean().sort_values(ascending=False, kind="stable")
    # The detectors without names have a row of their own, below the lists.
    order = sorted(best_first.index, key=lambda row: row == NO_NAMES)
    is_reference = frame["mining"] == reference
    marked = set(frame.loc[is_reference, "row"])
    rows = {row: f"{row} (reference)" if row in marked else row for row in order}
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
