"""Join the studies of an ablation into one table, a column `value` telling them apart.

Out: Parquet and CSV, the studies' comparisons (see evaluate_ood) row by row; Markdown, to read.
"""

import pandas as pd

from workflow_scripts.lib.job import job
from workflow_scripts.lib.report.tables import read_frame, write_tables

LIST = ["value", "encoder", "clustering", "mining"]
ROW = [*LIST, "negatives", "detector", "seeds"]
NAMES = {"exact_match_rate": "true names", "coverage": "found", "n_positives": "positives"}


def joined(paths, values):
    """The tables of the studies below each other, with their value first."""
    frames = [read_frame(path) for path in paths]
    frames = [frame.assign(value=value) for frame, value in zip(frames, values, strict=True)]
    frame = pd.concat(frames, ignore_index=True)
    return frame[["value", *(column for column in frame if column != "value")]]


def readable(comparisons, quality):
    """AUROC in percent by kind of OOD set and under shift, beside the quality of any names."""
    frame = comparisons[(comparisons["condition"] == "clean") | (comparisons["ood_group"] == "all")]
    column = frame["ood_group"].where(frame["condition"] == "clean", frame["condition"])
    shown = (100 * frame["auroc"]).groupby([*(frame[key] for key in ROW), column], sort=False)
    shown = shown.first().unstack(sort=False)
    clean = frame[(frame["condition"] == "clean") & (frame["ood_group"] == "all")].set_index(ROW)
    shown["± (seeds)"] = 100 * clean["auroc_std"]
    shown["± (images)"] = 100 * (clean["auroc_high"] - clean["auroc_low"]) / 2
    shown = shown.reset_index()
    if quality is not None:
        names = quality.groupby(LIST, sort=False)[list(NAMES)].mean().rename(columns=NAMES)
        names[["true names", "found"]] *= 100
        shown = shown.join(names, on=LIST)
    return shown.sort_values(["detector", "negatives", "mining"], kind="stable")


def tabulate_ablation(comparisons, label_quality, ablation, cfg, parquet, csv, md, html):
    """cfg: values (their names, in the order of the comparisons), named (those of the files of
    label_quality) and vary (the key of the study)."""
    frame = joined(comparisons, cfg["values"])
    title = f"Ablation {ablation}: {cfg['vary']} varied. AUROC in percent, means over seeds"
    quality = joined(label_quality, cfg["named"]) if label_quality else None
    write_tables(frame, parquet, csv, md, html, title, readable(frame, quality), digits=1)


if __name__ == "__main__":
    with job(snakemake):
        tabulate_ablation(
            snakemake.input.comparisons,
            snakemake.input.label_quality,
            snakemake.wildcards.ablation,
            snakemake.params.cfg,
            *snakemake.output,
        )
