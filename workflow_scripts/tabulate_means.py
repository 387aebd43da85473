"""Means over OOD sets and seeds: one row per list of positives, negatives and detector.

Out: Parquet and CSV, fractions; Markdown and LaTeX, in percent, of each detector the best first.
"""

import pandas as pd

from workflow_scripts.lib import artifacts
from workflow_scripts.lib.detection.table import MEAN
from workflow_scripts.lib.job import job
from workflow_scripts.lib.report.headline import oracle_gap
from workflow_scripts.lib.report.tables import (
    markdown,
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
    "near_fpr95": ("fpr95", "clean", "near", "all"),
    "far_fpr95": ("fpr95", "clean", "far", "all"),
    "to_oracle": ("auroc_minus_oracle", "clean", "all", "all"),
}
AGAINST = ["reference", "difference", "difference_low", "difference_high", "seed_low", "seed_high"]
NAMES = {"n_positives": "positives", "exact_match_rate": "true names", "coverage": "found"}
COLUMNS = [*KEYS, "seeds", "auroc", "auroc_std", "auroc_low", "auroc_high", *AGAINST]
COLUMNS += [*list(VALUES)[1:], *NAMES]

NOTES = """\
All values are in percent, averaged over OOD sets and seeds. `auroc` is measured on the clean test
set against the near and far OOD sets; `near` and `far` are the AUROC against one group. `shifted`
is the mean over the shifted test sets instead of the clean one; `full spectrum` pools clean and
shifted images. `unflagged` leaves out the OOD images that are flagged as in-distribution; it is an
optimistic bound. `to oracle` is `auroc` minus the AUROC of the true names; it is left empty where
the corpus lacks some of them. `true names` is the share of the positives that are true class names;
`found` is the share of the true class names that are among the positives."""

VERSUS = """\
`vs {0}` is `auroc` minus the AUROC of {0}, both averaged over seeds, with its paired 95 % bootstrap
interval over images. *lower* and *higher* say that the interval leaves out 0; *within* says that it
contains 0, which does not prove that the two are equal. `over seeds` is the 95 % interval of the
difference over seeds. A difference is clear only if both intervals leave out 0. The intervals are
not corrected for the number of rows."""


def means_of(ood, comparison, quality):
    """Data frame of COLUMNS, fractions, unknown ones NaN; of each detector the best row first.

    ood, comparison, quality: the tables of the same names; quality is None without names.
    """
    per_seed = values_by_seed(ood)
    means = over_seeds(per_seed, KEYS, list(VALUES))
    clean = comparison[(comparison["condition"] == "clean") & (comparison["ood_group"] == "all")]
    limits = clean.set_index(KEYS)[["auroc_low", "auroc_high", *AGAINST]]
    means = means.join(limits, on=KEYS)
    if quality is not None:
        means = means.join(quality.groupby(LIST)[list(NAMES)].mean(), on=LIST)
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
    for name in list(VALUES)[1:]:
        shown[name.replace("_", " ")] = 100 * means[name]
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
            lines += [f"The oracle covers {known} of {true} names: `to oracle` is left empty.", ""]
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
