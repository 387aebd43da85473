"""Means over OOD sets and seeds: one row per list of positives, negatives and detector.

Out: Parquet and CSV, fractions; Markdown and LaTeX, in percent, of each detector the best first.
"""

import pandas as pd

from workflow_scripts.lib import artifacts
from workflow_scripts.lib.detection.table import MEAN
from workflow_scripts.lib.job import job
from workflow_scripts.lib.report.reservations import oracle_gap
from workflow_scripts.lib.report.tables import (
    joined_names,
    markdown,
    markdown_text,
    over_seeds,
    read_frame,
    write_frame,
    write_latex,
    write_markdown,
)

LIST = ["study", "encoder", "clustering", "mining"]
KEYS = [*LIST, "negatives", "detector"]
# Metric, condition, group and images of the mean rows of the OOD table.
VALUES = {
    "auroc": ("auroc", "clean", "all", "all"),
    "near": ("auroc", "clean", "near", "all"),
    "far": ("auroc", "clean", "far", "all"),
    "unflagged": ("auroc", "clean", "all", "unflagged"),
    "shifted": ("auroc", "shifted", "all", "all"),
    "full_spectrum": ("auroc", "full_spectrum", "all", "all"),
    "fpr95": ("fpr95", "clean", "all", "all"),
    "near_fpr95": ("fpr95", "clean", "near", "all"),
    "far_fpr95": ("fpr95", "clean", "far", "all"),
    "to_oracle": ("auroc_minus_oracle", "clean", "all", "all"),
}
FPR95 = {"all": "fpr95", "near": "near_fpr95", "far": "far_fpr95"}  # group -> its column
AGAINST = ["reference", "difference", "difference_low", "difference_high", "p_value", "p_holm"]
AGAINST += ["seed_low", "seed_high"]
OF_ALL = ["auroc_low", "auroc_high", "total_low", "total_high", *AGAINST, "name_leak", "reason"]
NAMES = {"n_positives": "positives", "exact_match_rate": "true names", "coverage": "found"}
COLUMNS = [*KEYS, "seeds", "auroc", "auroc_std", "auroc_low", "auroc_high", "total_low"]
COLUMNS += ["total_high", *AGAINST, *list(VALUES)[1:]]
COLUMNS += [f"{name}_{end}" for name in FPR95.values() for end in ("low", "high")]
COLUMNS += ["name_leak", *NAMES, "true_names_in_corpus", "true_names", "reason"]

NOTES = """\
All values are in percent, averaged over OOD sets and seeds. `auroc` is measured on the clean test
set against the near and far OOD sets; `near` and `far` are the AUROC against one group. `shifted`
is the mean over the shifted test sets instead of the clean one; `full spectrum` pools clean and
shifted images. `unflagged` leaves out the OOD images that are flagged as in-distribution; it is an
optimistic bound. `to oracle` is `auroc` minus the AUROC of the true names; it is left empty where
the corpus lacks some of them. FPR95 is shown with its 95 % bootstrap interval over images.
`images and seeds` is the 95 % interval of `auroc` for other images and other seeds; it needs five
seeds. `name leak` is the number of negatives that name a class of the OOD sets, where these have
labels. `true names` is the share of the positives that are true class names; `found` is the share
of the true class names that are among the positives, at most the share that the corpus has."""

VERSUS = """\
`vs {0}` is `auroc` minus the AUROC of {0}, both averaged over seeds, with its paired 95 % bootstrap
interval over images. *lower* and *higher* say that the interval leaves out 0; *within* says that it
contains 0, which does not prove that the two are equal. `over seeds` is the 95 % interval of the
difference over seeds; it needs five seeds. A difference is clear only if both intervals leave out
0. The intervals are not corrected for the number of rows; `p_holm` of means.csv is."""


def means_of(ood, comparison, quality):
    """Data frame of COLUMNS, fractions, unknown ones NaN; of each detector the best row first.

    ood, comparison, quality: the tables of the same names; quality is None without names.
    """
    means = over_seeds(values_by_seed(ood), KEYS, list(VALUES)).drop(columns="seeds")
    clean = comparison[comparison["condition"] == "clean"].set_index(KEYS)
    groups = {group: clean[clean["ood_group"] == group] for group in FPR95}
    means = means.join(groups["all"][["seeds", *OF_ALL]], on=KEYS)
    for group, name in FPR95.items():
        limits = groups[group][["fpr95_low", "fpr95_high"]]
        means = means.join(limits.set_axis([f"{name}_low", f"{name}_high"], axis=1), on=KEYS)
    if quality is not None:
        figures = [*NAMES, "true_names_in_corpus", "true_names"]
        means = means.join(quality.groupby(LIST)[figures].mean(), on=LIST)
        means.loc[means["study"].isin(oracle_gaps(quality)), "to_oracle"] = float("nan")
    means = means.reindex(columns=COLUMNS)
    order = {name: i for i, name in enumerate(ood["study"].unique())}
    return means.sort_values(
        ["study", "detector", "negatives", "auroc"],
        ascending=[True, True, True, False],
        key=lambda column: column.map(order) if column.name == "study" else column,
        ignore_index=True,
    )


def values_by_seed(ood):
    """The VALUES as columns; one row per (KEYS, seed)."""
    means = ood[ood["ood_set"] == MEAN]
    means = means[(means["condition"] != "shifted") | (means["id_set"] == MEAN)]
    found = {}
    for name, (metric, *cell) in VALUES.items():
        rows = means[(means[["condition", "ood_group", "images"]] == cell).all(axis=1)]
        found[name] = rows.set_index([*KEYS, "seed"])[metric].astype(float)
    return pd.DataFrame(found).rename_axis([*KEYS, "seed"]).reset_index()


def oracle_gaps(quality):
    """Study -> (true names in the corpus, true names), of the studies whose corpus lacks some."""
    gaps = {study: oracle_gap(rows) for study, rows in quality.groupby("study", sort=False)}
    return {study: gap for study, gap in gaps.items() if gap}


# ---- to read ------------------------------------------------------------------------------------


def bounds(low, high):
    """An interval in percent, as text; "" if it is unknown."""
    return "" if pd.isna(low) else f"[{100 * low:.1f}, {100 * high:.1f}]"


def with_bounds(means, name):
    """The values of a column with their intervals in percent, texts; None where unknown."""
    columns = zip(*(means[c] for c in (name, f"{name}_low", f"{name}_high")), strict=True)
    return [
        None if pd.isna(value) else f"{100 * value:.1f} {bounds(low, high)}".strip()
        for value, low, high in columns
    ]


def missing(rows):
    """Lines of Markdown on the rows without values, those of one reason together."""
    for (detector, negatives, reason), cells in rows.groupby(
        ["detector", "negatives", "reason"], sort=False
    ):
        lists = ", ".join(dict.fromkeys(joined_names(cells, ["mining", "clustering", "encoder"])))
        what = detector if negatives == "none" else f"{detector} with {negatives}"
        yield f"Without a value, in some seeds or all: {what} of {lists}: {reason}"


def against(row):
    """A row's difference to the reference mining, as text."""
    if row.mining == row.reference:
        return "reference"
    if pd.isna(row.difference):
        return ""
    verdict = "within "
    if pd.isna(row.difference_low):
        verdict = ""
    elif row.difference_low > 0 or row.difference_high < 0:
        verdict = "higher " if row.difference_low > 0 else "lower "
    limits = bounds(row.difference_low, row.difference_high)
    return f"{verdict}{100 * row.difference:+.1f} {limits}".strip()


def readable(means):
    """Means of one or more studies in percent, without the columns that are all unknown."""
    shown = means[[*KEYS, "seeds"]].copy()
    shown["auroc"], shown["± (seeds)"] = 100 * means["auroc"], 100 * means["auroc_std"]
    references = means["reference"].dropna().unique()
    if len(references):
        versus = f"vs {references[0]}" if len(references) == 1 else "vs reference"
        shown[versus] = [against(row) for row in means.itertuples()]
        others = means["seed_low"].where(means["mining"] != means["reference"])
        if others.notna().any():
            limits = zip(others, means["seed_high"], strict=True)
            shown["over seeds"] = [bounds(low, high) for low, high in limits]
    if means["total_low"].notna().any():
        limits = zip(means["total_low"], means["total_high"], strict=True)
        shown["images and seeds"] = [bounds(low, high) for low, high in limits]
    for name in list(VALUES)[1:]:
        shown[name.replace("_", " ")] = 100 * means[name]
        if name in FPR95.values() and means[f"{name}_low"].notna().any():
            shown[name.replace("_", " ")] = with_bounds(means, name)
    shown["name leak"] = means["name_leak"].round().astype("Int64")
    shown["positives"] = means["n_positives"].round().astype("Int64")
    for name in ("exact_match_rate", "coverage"):
        shown[NAMES[name]] = 100 * means[name]
    known = [name for name in shown if name in KEYS or shown[name].notna().any()]
    return shown[known]


def sections(means, gaps):
    """Lines of Markdown: a table for each study, and what its columns are."""
    lines = ["# OOD detection, means over OOD sets and seeds", ""]
    for study, rows in means.groupby("study", sort=False):
        lines += [f"## Study {study}", "", markdown(readable(rows).drop(columns="study"), 1), ""]
        if study in gaps:
            known, true = gaps[study]
            share = f"{100 * known / true:.1f}"
            lines += [
                f"The oracle covers {known} of {true} names: `to oracle` is left empty, and "
                f"`found` is at most {share}.",
                "",
            ]
        lines += [line for text in missing(rows) for line in (markdown_text(text), "")]
    lines += [NOTES, ""]
    for reference in means["reference"].dropna().unique():
        lines += [VERSUS.format(reference), ""]
    return lines


def tabulate_means(inputs, parquet, csv, md, html, tex):
    """inputs: paths of the tables over all studies, ood, comparison and label_quality (none if no
    study mines names)."""
    quality = read_frame(inputs.label_quality) if inputs.label_quality else None
    means = means_of(read_frame(inputs.ood), read_frame(inputs.comparison), quality)
    write_frame(parquet, means)
    artifacts.write_text(csv, means.to_csv(index=False))
    gaps = {} if quality is None else oracle_gaps(quality)
    write_markdown(md, html, "\n".join(sections(means, gaps)))
    write_latex(tex, readable(means), digits=1)


if __name__ == "__main__":
    with job(snakemake):
        tabulate_means(snakemake.input, *snakemake.output)
