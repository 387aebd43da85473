"""Plot a metric of a benchmark's clusterings along its axis: lines over numbers, else dots.

Out: SVG, PNG and PDF. Means over the seeds; the bars reach from the lowest to the highest seed.
"""

from workflow_scripts.lib.job import job
from workflow_scripts.lib.report.figures import dot_panels, line_panels
from workflow_scripts.lib.report.tables import joined_names, read_frame

X = {"imbalance": "imbalance_ratio", "granularity": "classes"}
LABELS = {"imbalance_ratio": "images of the largest class / the smallest", "classes": "classes"}
METRICS = {"acc": "ACC (one-to-one)", "nmi": "NMI"}
CAPTION = "Mean over the seeds. Bars reach from the lowest to the highest seed."


def over_seeds_by(frame, x, metric):
    return frame.groupby(x, sort=False)[metric].agg(mean="mean", low="min", high="max")


def plot_benchmark(table, benchmark, metric, outputs):
    """table: path of the benchmark's table. metric: a key of METRICS."""
    frame = read_frame(table)
    keys = ["clustering", "encoder"] if frame["encoder"].nunique() > 1 else ["clustering"]
    frame = frame.assign(name=joined_names(frame, keys))
    title, label = f"{benchmark.replace('_', ' ')}: {METRICS[metric]}", METRICS[metric]
    x = X.get(frame["axis"].iloc[0], "level")
    if frame.groupby("level")[x].first().duplicated().any():  # x does not tell the levels apart
        x = "level"
    if x == "level":
        panels = {
            level: over_seeds_by(rows, "name", metric)
            for level, rows in frame.groupby("level", sort=False)
        }
        rows = {name: name for name in frame["name"].unique()}
        dot_panels(outputs, panels, rows, label, title, CAPTION)
    else:
        lines = {
            name: over_seeds_by(rows, x, metric) for name, rows in frame.groupby("name", sort=False)
        }
        line_panels(outputs, {"": lines}, LABELS[x], label, title, CAPTION, log_x=True)


if __name__ == "__main__":
    with job(snakemake):
        plot_benchmark(
            snakemake.input[0],
            snakemake.wildcards.benchmark,
            snakemake.wildcards.metric,
            list(snakemake.output),
        )
