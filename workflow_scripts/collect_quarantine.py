"""Collect the images that could not be read, with the stage and the reason."""

import pandas as pd

from workflow_scripts.lib.job import job
from workflow_scripts.lib.report.tables import read_frame, write_tables


def collect_quarantine(tables, parquet, csv, md):
    frames = [read_frame(path) for path in tables]
    frame = pd.concat(frames, ignore_index=True).drop_duplicates()
    write_tables(frame, parquet, csv, md, f"Quarantined images: {len(frame)}")


if __name__ == "__main__":
    with job(snakemake):
        out = snakemake.output
        collect_quarantine(list(snakemake.input), out.parquet, out.csv, out.md)
