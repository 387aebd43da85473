"""Plot the AUROC of an ablation over its values: lines per mining method for numbers, else dots.

Out: SVG, PNG and PDF. Means over all OOD sets and the seeds; the bars are 95 % bootstrap intervals.
"""

from workflow_scripts.lib.job import job
from workflow_scripts.lib.report.figures import dot_panels, line_panels
from workflow_scripts.lib.report.tables import joined_names, read_frame

CAPTION = "Mean over the near and far OOD sets and over the seeds, on the clean test set."
BARS = " Bars: 95 % bootstrap intervals over images, with the seeds as they are."
DETECTOR = ["detector", "negatives"]
COLUMNS = {"auroc": "mean", "auroc_low": "low", "auroc_high": "high"}
VARIED = "positives"  # in place of the names of mining methods that the axis varies


def is_varied(frame, key, within):
    """Whether the names of a key differ between values, but tell no rows of one value apart."""
    names = frame[frame[key] != "none"]
    return names[key].nunique() > 1 and names.groupby(["value", *within])[key].nunique().max() == 1


def means_of(table):
    """The rows that are drawn, with the names of their detector and of their list of positives.

    What differs between values is on the axis, so it is in no name.
    """
    frame = table[(table["condition"] == "clean") & (table["ood_group"] == "all")]
    if is_varied(frame, "mining", []):
        frame = frame.assign(mining=frame["mining"].where(frame["mining"] == "none", VARIED))
    detector = ["detector"] if is_varied(frame, "negatives", ["detector"]) else DETECTOR
    # What tells the lists of one value apart.
    several = [
        key
        for key in ("mining", "clustering", "encoder")
        if frame.groupby(["value", *({"mining"} - {key})])[key].nunique().max() > 1
    ]
    return frame.assign(
        positives=joined_names(frame, several or ["mining"]),
        detector=joined_names(frame, detector),
    ).rename(columns=COLUMNS)


def series_of(frame, keys, index):
    """Values of the keys -> the means over the index, in the order of the table."""
    return {
        name if len(keys) > 1 else name[0]: rows.set_index(index)[list(COLUMNS.values())]
        for name, rows in frame.groupby(keys, sort=False)
    }


def plot_ablation(table, ablation, axis, outputs):
    """table: path of the ablation's table. axis: what its values are, in words."""
    frame = means_of(read_frame(table))
    caption = CAPTION + (BARS if frame["low"].notna().any() else "")
    title = f"Ablation {ablation}: AUROC by {axis}"
    if frame["value"].str.fullmatch(r"\d*\.?\d+").all():
        numbers = frame.assign(value=frame["value"].astype(float))
        panels = {
            detector: series_of(rows, ["positives"], "value")
            for detector, rows in numbers.groupby("detector", sort=False)
        }
        log_x = numbers["value"].nunique() > 2 and numbers["value"].min() > 0
        line_panels(outputs, panels, axis, "AUROC", title, caption, log_x)
    else:
        panels = {
            ", ".join(names): means
            for names, means in series_of(frame, ["detector", "positives"], "value").items()
        }
        rows = {value: value for value in frame["value"].unique()}
        dot_panels(outputs, panels, rows, "AUROC", title, caption)


if __name__ == "__main__":
    with job(snakemake):
        plot_ablation(
            snakemake.input[0],
            snakemake.wildcards.ablation,
            snakemake.params.cfg["axis"],
            list(snakemake.output),
        )
