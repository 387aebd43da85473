"""Plot the AUROC of a study: a row per list of positives, a colour per detector.

Out: SVG. Means over the near and far OOD sets and the seeds, on the clean test set and all images.
Lines span the 95 % bootstrap intervals of all seeds; without bootstrap, the seeds.
"""

import logging

from workflow_scripts.lib.detection.table import MEAN
from workflow_scripts.lib.job import job
from workflow_scripts.lib.report.plots import dot_plot
from workflow_scripts.lib.report.tables import read_frame

SERIES = 6  # more colours cannot be told apart


def plot_ood(ood, study, output):
    frame = read_frame(ood)
    shown = (frame["condition"] == "clean") & (frame["images"] == "all")
    shown &= (
        (frame["ood_set"] == MEAN) & (frame["ood_group"] == "all") & (frame["mining"] != "none")
    )
    frame = frame[shown].copy()
    frame["row"] = [
        mining if clustering == "none" else f"{mining}, {clustering}"
        for mining, clustering in zip(frame["mining"], frame["clustering"], strict=True)
    ]
    if frame["encoder"].nunique() > 1:
        frame["row"] = frame["encoder"] + ": " + frame["row"]
    frame["series"] = [
        detector if negatives == "none" else f"{detector}: {negatives}"
        for detector, negatives in zip(frame["detector"], frame["negatives"], strict=True)
    ]
    for limit in ("auroc_low", "auroc_high"):
        frame[limit] = frame[limit].fillna(frame["auroc"])
    values = frame.groupby(["series", "row"], sort=False).agg(
        mean=("auroc", "mean"), low=("auroc_low", "min"), high=("auroc_high", "max")
    )
    every = values.index.get_level_values("series").unique()
    shown = every[:SERIES]
    if len(every) > SERIES:
        logging.warning("not drawn: %s", ", ".join(every[SERIES:]))
        study = f"{study}, the first {SERIES} of {len(every)} detectors and negatives"
    order = values.loc[shown[0]]["mean"].sort_values(ascending=False).index if len(shown) else []
    series = {}
    for name in shown:
        table = values.loc[name].reindex(order)
        series[name] = tuple(table[column].tolist() for column in ("mean", "low", "high"))
    dot_plot(output, list(order), series, "AUROC, mean over near and far OOD sets", study)


if __name__ == "__main__":
    with job(snakemake):
        plot_ood(snakemake.input[0], snakemake.wildcards.study, snakemake.output[0])
