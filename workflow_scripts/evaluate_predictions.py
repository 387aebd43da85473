"""Ask what an image's second and third cluster mean: another valid label, or a coarser one?

Out: Parquet, one row per (clustering, rank of the prediction, kind of hit): how often it is one,
and how often by chance. Images without a label are left out.
"""

import numpy as np
import pandas as pd

from workflow_scripts.lib import artifacts
from workflow_scripts.lib.benchmarks.hits import (
    common_ancestor_steps,
    majority_class,
    topk_hit_rates,
    valid_labels,
)
from workflow_scripts.lib.benchmarks.results import KEYS, labels_by_set, row_keys
from workflow_scripts.lib.benchmarks.subsets import class_codes
from workflow_scripts.lib.job import job, progress
from workflow_scripts.lib.report.tables import write_frame
from workflow_scripts.lib.texts.names import normalise
from workflow_scripts.lib.texts.trees import noun_tree


def coded_labels(labels, tree):
    """(class code of every image, -1 if unknown, and steps between the classes) of an image set."""
    names = np.array([label and normalise(label) for label in labels], object)
    classes, code = class_codes(names)
    return code, common_ancestor_steps(valid_labels(tree, classes))


def evaluate_predictions(ranks, labels, tree, benchmark, cfg, output):
    """cfg: axis, levels (image set -> level) and parts ("encoder/image set" -> number)."""
    tree = noun_tree(tree)
    labels_of = labels_by_set(labels, cfg["parts"])
    coded = {name: coded_labels(found, tree) for name, found in labels_of.items()}
    rows = []
    for path in progress(ranks, unit="clustering"):
        meta = artifacts.read_meta(path)
        column = artifacts.read_table(path, ["clusters"])["clusters"].combine_chunks()
        ranked = column.flatten().to_numpy().reshape(len(column), -1)
        code, steps = coded[f"{meta['encoder']}/{meta['image_set']}"]
        class_of_cluster = majority_class(ranked[:, 0], code, meta["k"])
        keys = row_keys(meta, benchmark, cfg)
        rows += [keys | hit for hit in topk_hit_rates(ranked, code, class_of_cluster, steps)]
    columns = [*KEYS, "rank", "hit", "n", "rate", "chance"]
    write_frame(output, pd.DataFrame(rows).reindex(columns=columns))


if __name__ == "__main__":
    with job(snakemake):
        evaluate_predictions(
            snakemake.input.ranks,
            snakemake.input.labels,
            snakemake.input.tree,
            snakemake.wildcards.benchmark,
            snakemake.params.cfg,
            snakemake.output[0],
        )
