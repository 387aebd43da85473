"""Join the duplicates of the studies in `run`; the Markdown has the counts and the first pairs."""

import pandas as pd

from workflow_scripts.lib import artifacts
from workflow_scripts.lib.job import job
from workflow_scripts.lib.report.tables import markdown, read_frame, write_frame, write_markdown

KEYS = ["study", "image_set", "other_set", "kind"]
SHOWN = 20  # pairs in the Markdown


def collect_duplicates(tables, studies, parquet, csv, md, html):
    """tables: paths, one per study."""
    frames = [read_frame(path) for path in tables]
    for frame, study in zip(frames, studies, strict=True):
        frame.insert(0, "study", study)
    frame = pd.concat(frames, ignore_index=True)
    write_frame(parquet, frame)
    artifacts.write_text(csv, frame.to_csv(index=False))
    counts = frame.groupby(KEYS, sort=False, as_index=False).agg(
        pairs=("image_id", "size"), images=("image_id", "nunique")
    )
    lines = [f"# Duplicates: {len(frame)} pairs", "", markdown(counts), ""]
    if len(frame):
        lines += [f"## The first {min(SHOWN, len(frame))} pairs", ""]
        lines += [markdown(frame.head(SHOWN), digits=4), ""]
    write_markdown(md, html, "\n".join(lines))


if __name__ == "__main__":
    with job(snakemake):
        collect_duplicates(
            list(snakemake.input), snakemake.params.cfg["studies"], *snakemake.output
        )
