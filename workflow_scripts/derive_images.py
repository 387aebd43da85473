"""Derive an image set from another one: some of its images, their embeddings copied.

Labels choose images here (for benchmarks); no clustering sees them.
Out: float16 embeddings [n, d] and their index, in the order of the source.
"""

import logging

import numpy as np

from workflow_scripts.lib.artifacts import write_table
from workflow_scripts.lib.benchmarks.derived import METHODS
from workflow_scripts.lib.embeddings import open_embeddings, write_rows
from workflow_scripts.lib.job import job


def derive_images(embeddings, index, cfg, output_embeddings, output_index):
    """cfg: the image set's block `derive`, with its method and the parameters of the method."""
    images = open_embeddings(embeddings, index)
    rows = METHODS[cfg["method"]](images, np.array(images.labels, object), cfg)
    chosen = images.index.take(rows)
    classes = len(set(chosen["label"].to_pylist()) - {None})
    logging.info("%d of %d images, %d classes", len(rows), images.rows, classes)
    note = write_rows(output_embeddings, images.stored(rows), (len(rows), images.dim))
    write_table(output_index, chosen, images.meta | {"derived": cfg, "array": note})


if __name__ == "__main__":
    with job(snakemake):
        derive_images(
            snakemake.input.embeddings,
            snakemake.input.index,
            snakemake.params.cfg,
            snakemake.output.embeddings,
            snakemake.output.index,
        )
