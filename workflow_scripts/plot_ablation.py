"""Plot the AUROC of an ablation over its values: a line each if they are numbers, else dots.

Out: SVG. Means over all OOD sets and the seeds; the bars are 95 % bootstrap intervals over images.
"""

import logging

from workflow_scripts.lib.job import job
from workflow_scripts.lib.report.plots import dot_plot, line_plot
from workflow_scripts.lib.report.tables import read_frame

SERIES = 6  # more colours cannot be told apart
COLUMNS = ["auroc", "auroc_low", "auroc_high"]


def series_of(frame):
    """Name -> rows of the mean over all OOD sets, for lists of positives found by mining."""
    frame = frame[(frame["condition"] == "clean") & (frame["ood_group"] == "all")]
    frame = frame[frame["mining"] != "none"].copy()
    # What tells the lists of one value apart; what differs between values is on the axis.
    several = [
        key
        for key in ("encoder", "clustering", "mining", "negatives", "detector")
        if frame.groupby(["value", *({"mining"} - {key})])[key].nunique().max() > 1
    ] or ["mining"]
    names = frame[several].agg(lambda row: ", ".join(v for v in row if v != "none"), axis=1)
    return dict(list(frame.groupby(names, sort=False)))


def plot_ablation(table, ablation, axis, output):
    frame = read_frame(table)
    # The last two detectors only: each brings a line per mining.
    detectors = frame["detector"].unique()
    every = series_of(frame[frame["detector"].isin(detectors[-2:])])
    shown = dict(list(every.items())[:SERIES])
    left_out = [*detectors[:-2], *list(every)[SERIES:]]
    if left_out:
        logging.warning("not drawn: %s", ", ".join(left_out))
    values = list(frame["value"].unique())
    label = "AUROC, mean over all OOD sets"
    if all(value.replace(".", "", 1).isdigit() for value in values):
        lines = {
            name: ([float(value) for value in rows["value"]], *(rows[c].tolist() for c in COLUMNS))
            for name, rows in shown.items()
        }
        line_plot(output, lines, axis, label, f"Ablation {ablation}", log_x=len(values) > 2)
    else:
        dots = {
            name: tuple(rows.set_index("value").reindex(values)[c].tolist() for c in COLUMNS)
            for name, rows in shown.items()
        }
        dot_plot(output, values, dots, label, f"Ablation {ablation}: {axis}")


if __name__ == "__main__":
    with job(snakemake):
        plot_ablation(
            snakemake.input[0],
            snakemake.wildcards.ablation,
            snakemake.params.cfg["axis"],
            snakemake.output[0],
        )
