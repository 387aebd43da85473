"""Plot how stable clusters are over their number, and which number was chosen.

Out: SVG, PNG and PDF.
"""

import json
from pathlib import Path

import pandas as pd

from workflow_scripts.lib.job import job
from workflow_scripts.lib.report.figures import line_panels
from workflow_scripts.lib.report.tables import read_frame

LINES = {"halves_ari": "between halves", "seeds_ari": "between seeds"}
CAPTION = """\
Chosen: {k} clusters. Halves are clustered apart and compared on further images; bars are one
standard error. Objective: the mean cosine of an image to the centroid of its cluster."""


def plot_k(table, choice, image_set, outputs):
    """table, choice: paths of the sweep and of what `choose_k` chose."""
    frame = read_frame(table).set_index("k")
    error = {"halves_ari": frame["halves_se"]}
    means = {
        name: pd.DataFrame({
            "mean": frame[name],
            "low": frame[name] - error.get(name, 0),
            "high": frame[name] + error.get(name, 0),
        })
        for name in [*LINES, "objective"]
    }  # fmt: skip
    agreement = {label: means[name] for name, label in LINES.items()}
    panels = {"agreement (ARI)": agreement, "objective": {"mean cosine": means["objective"]}}
    caption = CAPTION.format(k=json.loads(Path(choice).read_text())["k"])
    title = f"Number of clusters of {image_set}"
    line_panels(outputs, panels, "number of clusters", "value", title, caption, log_x=True)


if __name__ == "__main__":
    with job(snakemake):
        plot_k(
            snakemake.input.table,
            snakemake.input.choice,
            snakemake.wildcards.image_set,
            list(snakemake.output),
        )
