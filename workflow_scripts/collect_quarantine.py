"""Collect the images that could not be read, with the stage and the reason."""

from workflow_scripts.lib.job import job
from workflow_scripts.lib.report.tables import read_frames, write_tables


def collect_quarantine(tables, parquet, csv, md):
    frame = read_frames(tables).drop_duplicates()
    write_tables(frame, parquet, csv, md, f"Quarantined images: {len(frame)}")


if __name__ == "__main__":
    with job(snakemake):
        collect_quarantine(list(snakemake.input), *snakemake.output)
