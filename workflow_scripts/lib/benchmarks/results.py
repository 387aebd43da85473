"""What the tables of a benchmark share: the keys of their rows, and the labels they read."""

import logging

import numpy as np

from workflow_scripts.lib.artifacts import read_table
from workflow_scripts.lib.embeddings import split_parts
from workflow_scripts.lib.errors import InputError

KEYS = ["axis", "benchmark", "level", "encoder", "image_set", "clustering", "method", "k", "seed"]


def row_keys(meta, benchmark, cfg):
    """The KEYS of a clustering's rows, with what else its metadata tell.

    meta: metadata of the clustering. cfg: axis and levels (image set -> level) of the benchmark.
    """
    level = cfg["levels"][meta["image_set"]]
    return meta | {"axis": cfg["axis"], "benchmark": benchmark, "level": level}


def labels_by_set(indexes, parts):
    """Name -> the labels of an image set, object [N], None where unknown.

    indexes: Parquet indexes. parts: "encoder/image set" -> number of its indexes, in their order.
    Logs how many images have no label. Raises InputError for a set without any.
    """
    labels_of = {}
    for name, paths in split_parts(indexes, parts).items():
        columns = [read_table(path, ["label"])["label"].to_pylist() for path in paths]
        labels = np.array([label for column in columns for label in column], object)
        unknown = sum(label is None for label in labels)
        if unknown == len(labels):
            raise InputError(
                f"benchmarks need labels, but no image of {name} has one; give it labels or leave "
                "it out of the benchmark's levels"
            )
        if unknown:
            logging.info("%s: %d of %d images have no label", name, unknown, len(labels))
        labels_of[name] = labels
    return labels_of
