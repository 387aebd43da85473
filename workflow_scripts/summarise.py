"""Write the one page to read first: every study's results in a few lines, and where to look."""

import pandas as pd

from workflow_scripts.lib import artifacts
from workflow_scripts.lib.detection.table import MEAN
from workflow_scripts.lib.job import job
from workflow_scripts.lib.report.tables import markdown, over_seeds, read_frame

LIST = ["encoder", "clustering", "mining"]
NAMES = ["n_positives", "exact_match_rate", "coverage"]  # of the quality of the names
KEYS = [*LIST, "negatives", "detector"]
# Columns of the summary: metric, condition, group and images of the mean rows of the OOD table.
COLUMNS = {
    "auroc": ("auroc", "clean", "all", "all"),
    "near": ("auroc", "clean", "near", "all"),
    "far": ("auroc", "clean", "far", "all"),
    "unflagged": ("auroc", "clean", "all", "unflagged"),
    "shifted": ("auroc", "shifted", "all", "all"),
    "full spectrum": ("auroc", "full_spectrum", "all", "all"),
    "near fpr95": ("fpr95", "clean", "near", "all"),
    "far fpr95": ("fpr95", "clean", "far", "all"),
    "to oracle": ("auroc_minus_oracle", "clean", "all", "all"),
}

NOTES = """\
All values are in percent, averaged over OOD sets and seeds. `auroc` is measured on the clean test
set against the near and far OOD sets; `near` and `far` are the AUROC against one group. `shifted`
is the mean over the shifted test sets instead of the clean one; `full spectrum` pools clean and
shifted images. `unflagged` leaves out the OOD images that are flagged as in-distribution; it is an
optimistic bound. `to oracle` is `auroc` minus the AUROC of the true names. `true names` is the
share of the positives that are true class names; `found` is the share of the true class names that
are among the positives."""

VERSUS = """\
`vs {0}` is `auroc` minus the AUROC of {0}, both averaged over seeds, with its paired 95 % bootstrap
interval over images. *lower* and *higher* say that the interval leaves out 0; *within* says that it
contains 0, which does not prove that the two are equal. `over seeds` is the 95 % interval of the
difference over seeds. A difference is clear only if both intervals leave out 0. The intervals are
not corrected for the number of rows."""

TABLES = {
    "ood": "OOD sets, shifted sets and means (all pairs and seeds: ood.csv)",
    "comparison": "differences to the reference, over images and over seeds",
    "contamination": "OOD images that show an in-distribution class",
    "decisions": "how many images of every set are flagged, at the asked rate of false alarms",
    "cluster_names": "every cluster: its name, the name's share of the votes, runners-up",
    "concepts": "the mined concepts with votes, purity, size and runner-up",
    "label_quality": "mined names against true names",
    "clustering": "clusterings against labels",
    "duplicates": "images that occur twice, within a set and across sets",
    "quarantine": "files that could not be used, and why",
}
OUTLIERS = "the images of every scored set, those that belong least first (.csv)"
SHEETS = "names mined by clusters, with example images (.png; not for precomputed embeddings)"


def files_made(ood, quality, studies, calibrated):
    """A Markdown table of the files that the run makes. ood, quality: as for `summarise`, read."""
    absent = set() if (ood["images"] == "unflagged").any() else {"contamination"}
    absent |= {"concepts", "label_quality"} if quality.empty else set()
    absent |= set() if (quality["clustering"] != "none").any() else {"cluster_names"}
    absent |= set() if calibrated else {"decisions"}
    named = [name for name in studies if name in set(ood.loc[ood["mining"] != "none", "study"])]
    files = {
        f"results/tables/{table}.md": shows
        for table, shows in TABLES.items()
        if table not in absent
    }
    files |= {f"results/outliers/{name}/": OUTLIERS for name in calibrated}
    files |= {f"results/figures/{name}.svg, .png": "AUROC at a glance" for name in named}
    if (quality["clustering"] != "none").any():
        files["results/figures/"] = SHEETS
    files["results/scores/"] = "the score and the nearest concept of every image"
    files["results/README.md"] = "every artifact, and how to open it"
    rows = [f"| {path} | {shows} |" for path, shows in files.items()]
    return "\n".join(["| file | what it shows |", "| --- | --- |", *rows])


def ood_by_seed(ood):
    """The COLUMNS that a study has, in percent; one row per (KEYS, seed)."""
    means = ood[ood["ood_set"] == MEAN]
    means = means[(means["condition"] != "shifted") | (means["id_set"] == MEAN)]
    found = {}
    for name, (metric, *cell) in COLUMNS.items():
        rows = means[(means[["condition", "ood_group", "images"]] == cell).all(axis=1)]
        if len(rows):
            found[name] = 100 * rows.set_index([*KEYS, "seed"])[metric]
    return pd.DataFrame(found).reset_index()


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


def versus(comparison):
    """Columns of the summary about the reference mining, text by KEYS; none without a reference."""
    rows = comparison[(comparison["condition"] == "clean") & (comparison["ood_group"] == "all")]
    found = pd.DataFrame(index=pd.MultiIndex.from_frame(rows[KEYS]))
    reference = rows["reference"].dropna().unique()
    if len(reference):
        found[f"vs {reference[0]}"] = [against(row) for row in rows.itertuples()]
        others = rows["seed_low"].where(rows["mining"] != rows["reference"])
        if others.notna().any():
            limits = zip(others, rows["seed_high"], strict=True)
            found["over seeds"] = [bounds(low, high) for low, high in limits]
    return found


def ood_summary(ood, comparison, quality):
    """One row per (list of positives, negatives, detector), of each detector the best first."""
    per_seed = ood_by_seed(ood)
    names = quality.set_index([*LIST, "seed"])[NAMES]
    per_seed = per_seed.join(names, on=[*LIST, "seed"])
    values = [name for name in COLUMNS if name in per_seed]
    means = over_seeds(per_seed, KEYS, [*values, *names.columns]).sort_values(
        ["detector", "negatives", "auroc"], ascending=[True, True, False]
    )
    shown = means[[*KEYS, "seeds", "auroc"]].copy()
    shown["± (seeds)"] = means["auroc_std"]
    shown = shown.join(versus(comparison), on=KEYS)
    shown[values[1:]] = means[values[1:]]
    if not quality.empty:
        shown["positives"] = means["n_positives"].round().astype("Int64")
        shown["true names"] = 100 * means["exact_match_rate"]
        shown["found"] = 100 * means["coverage"]
    return markdown(shown, digits=1)


def study_section(study, ood, comparison, quality, clustering):
    lines = [f"## Study {study}", ""]
    if len(ood):
        lines += ["### OOD detection", "", ood_summary(ood, comparison, quality), "", NOTES, ""]
        for reference in comparison["reference"].dropna().unique():
            lines += [VERSUS.format(reference), ""]
    else:
        lines += [
            "No OOD sets in this study: see results/scores/ for the score of every image.",
            "",
        ]
    if clustering["acc"].notna().any():
        keys = ["encoder", "clustering", "method", "k"]
        means = over_seeds(clustering, keys, ["acc", "nmi", "ami", "ari", "used_clusters"])
        means = means.drop(columns=["ami_std", "used_clusters_std"])
        lines += ["### Clustering of the training images", "", markdown(means), ""]
    return lines


def leaks(duplicates):
    """A warning on the images of a study that occur in several of its sets; [] if none do."""
    across = duplicates[duplicates["image_set"] != duplicates["other_set"]]
    if across.empty:
        return []
    images = across.groupby(["image_set", "other_set"], sort=False)["image_id"].nunique()
    found = [f"{n} images of {one} are also in {other}" for (one, other), n in images.items()]
    kinds = across["kind"].value_counts()
    counts = f"{kinds.get('exact', 0)} exact and {kinds.get('near', 0)} near copies"
    why = "such leaks make the numbers too good"
    return [
        f"**Warning**: {', '.join(found)} ({counts}): {why} (results/tables/duplicates.md).",
        "",
    ]


def losses(quarantine):
    """A line per image set that has lost images. quarantine: the path of the table."""
    table, images = read_frame(quarantine), artifacts.read_meta(quarantine)["images"]
    lost = table[table["lost"]].groupby("image_set")["image_id"].nunique()
    rows = [
        f"- {name}: {lost[name]} of {number} images ({100 * lost[name] / number:.1f} %)"
        for name, number in images.items()
        if name in lost
    ]
    return ["## Images that could not be used", "", *rows, ""] if rows else []


def summarise(inputs, cfg, output):
    """inputs: named paths of the tables over all studies, ood, comparison, label_quality (none if
    no study mines names), clustering, duplicates and quarantine.

    cfg: names of the studies, and of those of them that flag images (calibrated).
    """
    columns = dict.fromkeys(["study", *LIST, "seed"], "object") | dict.fromkeys(NAMES, "float64")
    quality = pd.DataFrame(columns=columns).astype(columns)
    if inputs.label_quality:
        quality = read_frame(inputs.label_quality)
    ood, comparison = read_frame(inputs.ood), read_frame(inputs.comparison)
    frames = [ood, comparison, quality, read_frame(inputs.clustering)]
    copies = read_frame(inputs.duplicates)
    lines = ["# Results", ""]
    for study in cfg["studies"]:
        section = study_section(study, *(frame[frame["study"] == study] for frame in frames))
        lines += [*section[:2], *leaks(copies[copies["study"] == study]), *section[2:]]
    lines += losses(inputs.quarantine)
    made = files_made(ood, quality, cfg["studies"], cfg["calibrated"])
    artifacts.write_text(output, "\n".join([*lines, "## Where to look", "", made, ""]))


if __name__ == "__main__":
    with job(snakemake):
        summarise(snakemake.input, snakemake.params.cfg, snakemake.output[0])
