"""Plot a metric of a benchmark's clusterings along its axis: a line or a colour per clustering.

Out: SVG. Means over the seeds; the bars reach from the lowest to the highest seed.
"""

from workflow_scripts.lib.job import job
from workflow_scripts.lib.report.plots import dot_plot, line_plot
from workflow_scripts.lib.report.tables import read_frame

X = {"imbalance": "imbalance_ratio", "granularity": "classes"}
LABELS = {"imbalance_ratio": "images of the largest class / the smallest", "classes": "classes"}
METRICS = {"acc": "ACC (one-to-one)", "nmi": "NMI"}


def plot_benchmark(table, benchmark, metric, output):
    frame = read_frame(table)
    x = X.get(frame["axis"].iloc[0], "level")
    if frame.groupby("level")[x].first().duplicated().any():  # x does not tell the levels apart
        x = "level"
    order = list(frame[x].unique())
    series = {}
    for name, rows in frame.groupby("clustering", sort=False):
        values = rows.groupby(x, sort=False)[metric].agg(["mean", "min", "max"]).reindex(order)
        series[name] = tuple(values[column].tolist() for column in ("mean", "min", "max"))
    title = benchmark.replace("_", " ")
    if x == "level":
        dot_plot(output, order, series, METRICS[metric], title)
    else:
        lines = {name: (order, *columns) for name, columns in series.items()}
        line_plot(output, lines, LABELS[x], METRICS[metric], title, log_x=True)


if __name__ == "__main__":
    with job(snakemake):
        plot_benchmark(
            snakemake.input[0],
            snakemake.wildcards.benchmark,
            snakemake.wildcards.metric,
            snakemake.output[0],
        )
