"""Write the one page to read first: every study's results in a few lines, and where to look."""

from workflow_scripts.lib import artifacts
from workflow_scripts.lib.job import job
from workflow_scripts.lib.tables import markdown, over_seeds, read_frame

LIST = ["encoder", "clustering", "mining"]

NOTES = """\
AUROC and FPR95 in percent: means over the near and far OOD sets, over shifted test sets x OOD sets
(shift), and over seeds; `auroc` over near and far. `to oracle` is that AUROC minus the one of the
true names. `true names`: share of the positives that are true class names; `found`: share of the
true class names among the positives."""

FILES = """\
| file | what it shows |
| --- | --- |
| results/tables/ood.md | every OOD set and shifted set (all seeds: ood.csv, ood.parquet) |
| results/tables/concepts.md | the mined concepts with votes, purity, size and runner-up |
| results/tables/label_quality.md | mined names against true names |
| results/tables/clustering.md | clusterings against labels |
| results/tables/quarantine.md | images that could not be read, and why |
| results/figures/ | AUROC at a glance (.svg), concepts with example images (.png) |
| results/scores/ | the score and the nearest concept of every image |
| results/README.md | every artifact, and how to open it |"""


def ood_summary(ood, quality):
    """One row per (list of positives, negatives, detector), the best near and far AUROC first."""
    keys = [*LIST, "negatives", "detector"]
    plain = ood[ood["group"] != "shift"]
    per_seed = ood.pivot_table(
        index=[*keys, "seed"], columns="group", values=["auroc", "fpr95"], sort=False
    )
    per_seed.columns = [f"{group} {metric}" for metric, group in per_seed.columns]
    lost = plain.groupby([*keys, "seed"])["auroc_minus_oracle"].mean().rename("to oracle")
    overall = plain.groupby([*keys, "seed"])["auroc"].mean().rename("auroc")
    per_seed = 100 * per_seed.join(overall).join(lost)
    names = quality.set_index([*LIST, "seed"])[["n_positives", "exact_match_rate", "coverage"]]
    per_seed = per_seed.reset_index().join(names, on=[*LIST, "seed"])
    groups = [g for g in ("near", "far", "shift") if f"{g} auroc" in per_seed]
    values = ["auroc", "to oracle", "n_positives", "exact_match_rate", "coverage"]
    values[1:1] = [f"{group} {metric}" for metric in ("auroc", "fpr95") for group in groups]
    means = over_seeds(per_seed, keys, values).sort_values(
        ["detector", "negatives", "auroc"], ascending=[True, True, False]
    )
    keep = [*keys, "seeds", *values[:-3], "auroc_std"]
    shown = means[keep].rename(columns={"auroc_std": "± (seeds)"})
    shown = shown[[*keys, "seeds", "auroc", "± (seeds)", *values[1:-3]]]
    shown["positives"] = means["n_positives"].round().astype("Int64")
    shown["true names"] = 100 * means["exact_match_rate"]
    shown["found"] = 100 * means["coverage"]
    return markdown(shown, digits=1)


def study_section(study, ood, quality, clustering):
    lines = [f"## Study {study}", ""]
    if len(ood):
        lines += ["### OOD detection", "", ood_summary(ood, quality), "", NOTES, ""]
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


def summarise(ood, quality, clustering, studies, output):
    frames = [read_frame(path) for path in (ood, quality, clustering)]
    lines = ["# Results", ""]
    for study in studies:
        lines += study_section(study, *(frame[frame["study"] == study] for frame in frames))
    artifacts.write_text(output, "\n".join([*lines, "## Where to look", "", FILES, ""]))


if __name__ == "__main__":
    with job(snakemake):
        summarise(
            snakemake.input.ood,
            snakemake.input.label_quality,
            snakemake.input.clustering,
            snakemake.params.cfg["studies"],
            snakemake.output[0],
        )
