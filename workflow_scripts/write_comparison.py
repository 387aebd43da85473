"""Join the benchmarks of clusterings and write them as Parquet, CSV and Markdown.

Parquet and CSV hold every row; the Markdown shows means over the seeds.
"""

from workflow_scripts.lib.job import job
from workflow_scripts.lib.report.tables import over_seeds, read_frames, write_tables

TITLES = {
    "deep_clustering": "Clusterings compared, mean and standard deviation over seeds",
    "multiple_classes": "Meaning of the first, second, ... cluster of an image, mean over seeds",
}
KEYS = {
    "deep_clustering": ["axis", "benchmark", "level", "encoder", "clustering", "method", "k",
                        "n", "classes"],
    "multiple_classes": ["benchmark", "level", "encoder", "clustering", "method", "k", "rank",
                         "hit"],
}  # fmt: skip
VALUES = {
    "deep_clustering": ["imbalance_ratio", "acc", "balanced_acc", "nmi", "ami", "ari", "purity",
                        "used_clusters", "seconds"],
    "multiple_classes": ["n", "rate", "chance"],
}  # fmt: skip
SPREADS = ("acc_std", "nmi_std", "rate_std")


def write_comparison(inputs, comparison, parquet, csv, md, html):
    frame = read_frames(inputs)
    means = over_seeds(frame, KEYS[comparison], VALUES[comparison])
    shown = means[[c for c in means if not c.endswith("_std") or c in SPREADS]]
    write_tables(frame, parquet, csv, md, html, TITLES[comparison], shown)


if __name__ == "__main__":
    with job(snakemake):
        write_comparison(list(snakemake.input), snakemake.wildcards.comparison, *snakemake.output)
