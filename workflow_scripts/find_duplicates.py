"""Find the images of a study's sets that occur twice: exact copies and near duplicates.

Out: one row per pair, see `lib.images.duplicates.duplicates`.
"""

import logging

from workflow_scripts.lib.clustering.graph import read_neighbours
from workflow_scripts.lib.embeddings import open_sets
from workflow_scripts.lib.images.duplicates import duplicates
from workflow_scripts.lib.job import job
from workflow_scripts.lib.report.tables import write_frame


def find_duplicates(inputs, cfg, output):
    """inputs: named lists of paths, embeddings and index (by set in the order of cfg's image_sets,
    the training set first) and neighbours (the kNN graph of the training set and what is
    beside it, or none).
    cfg: image_sets (name -> number of parts), shown (name -> the set whose images it shows) and
    near_duplicates (least cosine, or None).
    """
    sets = open_sets(inputs.embeddings, inputs.index, cfg["image_sets"])
    train = next(iter(sets.values()))
    graph = read_neighbours(*inputs.neighbours, train) if inputs.neighbours else None
    frame = duplicates(sets, cfg["shown"], cfg["near_duplicates"], graph)
    logging.info("pairs: %s", frame["kind"].value_counts().to_dict())
    write_frame(output, frame)


if __name__ == "__main__":
    with job(snakemake):
        find_duplicates(snakemake.input, snakemake.params.cfg, snakemake.output[0])
