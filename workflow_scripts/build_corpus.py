"""Read word lists, tables of names, captions and WordNet into one concept table.

Out: Parquet with the columns concept, pos (part of speech), source (list), and of WordNet's words
wnid, lexname, parents and proper, of noun phrases of captions count
(see `lib.texts.entries.Entry`); duplicates merged.
"""

from workflow_scripts.lib.artifacts import write_table
from workflow_scripts.lib.job import job
from workflow_scripts.lib.texts.corpora import read_corpus


def build_corpus(paths, exclude, cfg, output):
    """paths: where the word lists are. exclude: lists of names to leave out.

    cfg: files and exclude, the config blocks of both, in the same order.
    """
    table = read_corpus(paths, cfg["files"], exclude, cfg["exclude"])
    write_table(output, table, meta=cfg | {"concepts": len(table)})


if __name__ == "__main__":
    with job(snakemake):
        build_corpus(
            snakemake.input.files,
            snakemake.input.exclude,
            snakemake.params.cfg,
            snakemake.output[0],
        )
