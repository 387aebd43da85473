"""Read word lists and tables of names into one concept table.

Out: Parquet with the columns concept, pos (part of speech) and source (list), duplicates merged.
"""

from workflow_scripts.lib.artifacts import write_table
from workflow_scripts.lib.corpora import read_corpus
from workflow_scripts.lib.job import job


def build_corpus(paths, files, output):
    """paths: where the word lists are. files: their config blocks, in the same order."""
    table = read_corpus(paths, [file["pos"] for file in files])
    write_table(output, table, meta={"files": files, "concepts": len(table)})


if __name__ == "__main__":
    with job(snakemake):
        build_corpus(list(snakemake.input), snakemake.params.cfg["files"], snakemake.output[0])
