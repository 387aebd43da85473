"""Join one table over the studies in `run` and write it as Parquet, CSV, Markdown and LaTeX.

Parquet and CSV hold every row; the others show what a person can read: means over the seeds.
"""

import pandas as pd

from workflow_scripts.lib.detection.table import MEAN
from workflow_scripts.lib.job import job
from workflow_scripts.lib.report.tables import (
    over_seeds,
    read_frames,
    with_joined,
    write_latex,
    write_tables,
)

TITLES = {
    "ood": "OOD detection, mean over seeds (every seed and pair of sets: ood.csv)",
    "comparison": "AUROC over seeds, and against the reference mining (every row: comparison.csv)",
    "contamination": "Images that show an in-distribution class",
    "concepts": "Mined concepts of the first seed (all: concepts.csv)",
    "cluster_names": "Names of clusters, first seed: the {shown} clusters whose names have the "
    "smallest share of the votes, worst first (all, with example images: cluster_names.csv)",
    "number_of_clusters": "Number of clusters: how stable they are, and how their images vote",
    "label_quality": "Mined names against true names, mean over seeds",
    "decisions": "Flagged images, mean over seeds (every seed, with intervals: decisions.csv)",
    "clustering": "Clustering against labels, mean and standard deviation over seeds",
}
# Columns with lists, which are texts in CSV and Markdown.
LISTS = {
    "concepts": ["cluster_ids"],
    "cluster_names": ["runners_up", "runner_up_votes", "nearest", "farthest"],
}
REMARKS = ("reason", "note")
WORST = 60  # clusters in the Markdown


def is_readable(ood):
    """Which rows of the OOD table: single OOD sets on the clean test set; means over groups of OOD
    sets; on a single shifted test set only the mean over all OOD sets."""
    single, mean = ood["ood_set"] != MEAN, ood["ood_set"] == MEAN
    shifted = (ood["condition"] == "shifted") & (ood["id_set"] != MEAN)
    return (single & (ood["condition"] == "clean")) | (
        mean & (~shifted | (ood["ood_group"] == "all"))
    )


def of_first_seed(frame, by):
    """The rows of the first seed of each group."""
    return frame[frame["seed"] == frame.groupby(by)["seed"].transform("min")]


def readable(table, frame):
    """The part of a table that its Markdown shows."""
    if table == "concepts":
        rows = of_first_seed(frame, ["study", "encoder", "clustering", "mining"])
        return rows.drop(columns=["cluster_ids", "examples", "seed"])
    if table == "cluster_names":
        rows = of_first_seed(frame, ["study", "encoder", "clustering"])
        worst = rows.sort_values("share", kind="stable").head(WORST)
        return with_joined(worst, LISTS[table]).drop(columns=["nearest", "farthest", "seed"])
    if table == "comparison":
        return frame[(frame["condition"] == "clean") | (frame["ood_group"] == "all")]
    if table in ("contamination", "number_of_clusters"):
        return frame
    if table == "ood":
        frame = frame[is_readable(frame)]
    # Intervals and p-values belong to one seed: a mean over seeds would not be one.
    frame = frame[[c for c in frame if not c.endswith(("_low", "_high")) and c != "p_value"]]
    texts = [c for c in frame if not pd.api.types.is_numeric_dtype(frame[c])]
    keys = [*texts, "k"] if table == "clustering" else texts
    values = [c for c in frame if c not in {*keys, "seed"}]
    means = over_seeds(frame, keys, values)
    if table == "clustering":
        keep = {"acc_std", "nmi_std", "ari_std"}
        return means[[c for c in means if not c.endswith("_std") or c in keep]]
    return means[[c for c in means if not c.endswith("_std")]]


def without_empty(frame):
    """The frame without the columns that remark on single rows, where no row has a remark."""
    return frame.drop(columns=[c for c in REMARKS if c in frame and frame[c].isna().all()])


def write_table(inputs, table, parquet, csv, md, html, tex):
    frame = read_frames(inputs)
    shown = without_empty(readable(table, frame))
    title = TITLES[table].format(shown=len(shown))
    write_tables(frame, parquet, csv, md, html, title, shown, lists=LISTS.get(table, ()))
    write_latex(tex, shown)


if __name__ == "__main__":
    with job(snakemake):
        write_table(list(snakemake.input), snakemake.wildcards.table, *snakemake.output)
