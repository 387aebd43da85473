"""Coarsen the labels of an image set: every class becomes one of its ancestors in a tree.

The embeddings stay those of the source. Out: their index, one part of it, with the new labels.
"""

import logging

import pyarrow as pa

from workflow_scripts.lib.artifacts import read_meta, read_table, write_table
from workflow_scripts.lib.benchmarks.granularity import (
    cut_at_depth,
    cut_at_leaves,
    group_names,
    relabel,
)
from workflow_scripts.lib.concepts.quality import true_names_of
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.job import job
from workflow_scripts.lib.texts.names import normalise
from workflow_scripts.lib.texts.trees import noun_tree


def coarsen_labels(index, part, tree, cfg, output):
    """index: all indexes of the source, which tell its classes; part: the one to write anew."""
    tree = noun_tree(tree)
    names = sorted(true_names_of(index))
    if not names:
        raise InputError(
            f"no image of {cfg['from']} has a label to coarsen; give the image set labels"
        )
    if "depth" in cfg:
        node_of = cut_at_depth(tree, names, cfg["depth"])
    else:
        node_of = cut_at_leaves(tree, names, cfg["leaves"])
    logging.info("%d classes became %d", len(names), len(set(node_of.values())))
    table = read_table(part)
    labels = [label and normalise(label) for label in table["label"].to_pylist()]
    column = pa.array(relabel(labels, group_names(tree, node_of)), pa.string())
    table = table.set_column(table.column_names.index("label"), "label", column)
    write_table(output, table, read_meta(part) | {"derived": cfg})


if __name__ == "__main__":
    with job(snakemake):
        coarsen_labels(
            snakemake.input.index,
            snakemake.input.part,
            snakemake.input.tree,
            snakemake.params.cfg,
            snakemake.output[0],
        )
