"""Collect the names of a study's clusters.

Out: Parquet, one row per (encoder, clustering, seed, cluster). Beside the columns of the names, the
concept that the cluster was merged into: the positive that the study's vote named it. It is empty
where the vote dropped the cluster (minimum_purity, minimum_size), or where the study has no vote.
"""

import pandas as pd

from workflow_scripts.lib import artifacts
from workflow_scripts.lib.concepts.naming import concept_of_clusters
from workflow_scripts.lib.job import job, progress
from workflow_scripts.lib.report.tables import read_frame, write_frame

KEYS = ["study", "encoder", "image_set", "clustering", "seed"]


def concepts_of(names, positives):
    """The concept that each row of a frame of names was merged into; None if there is none.

    positives: path of the positives, or None.
    """
    if positives is None:
        return None
    mined = read_frame(positives)
    named = dict(zip(names["cluster"], names["name"], strict=True))
    found = concept_of_clusters(named, zip(mined["concept"], mined["cluster_ids"], strict=True))
    return [found.get(cluster) for cluster in names["cluster"]]


def tabulate_clusters(names, positives, study, output):
    """names: paths. positives: those of the study's vote, in the order of the names, or none."""
    frames = []
    votes = positives or [None] * len(names)
    for path, mined in zip(progress(names, unit="list"), votes, strict=True):
        frame = read_frame(path)
        keys = {"study": study} | artifacts.read_meta(path)
        columns = {key: keys[key] for key in KEYS}
        frames.append(frame.assign(**columns, concept=concepts_of(frame, mined)))
    table = pd.concat(frames, ignore_index=True)
    first = [*KEYS, "cluster", "size", "name", "concept"]
    write_frame(output, table[first + [c for c in table if c not in first]])


if __name__ == "__main__":
    with job(snakemake):
        tabulate_clusters(
            snakemake.input.names,
            snakemake.input.positives,
            snakemake.wildcards.study,
            snakemake.output[0],
        )
