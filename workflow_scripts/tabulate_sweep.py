"""Join a study's sweeps over the number of clusters with the names that clusters would get.

Out: Parquet, one row per (encoder, clustering_encoder, k): the columns of the sweep
(lib/clustering/number.py); chosen (bool); share, the share of the sampled images that vote for the
name of their cluster; names, the number of distinct names. The clusters are those of the sweep's
first seed, the votes those of the study's encoder. Share and names are to read: the choice is
without them, and both tend to rise with k.
"""

import json
import logging
from pathlib import Path

import pandas as pd
import pyarrow.compute as pc

from workflow_scripts.lib.artifacts import read_meta, read_table
from workflow_scripts.lib.concepts.evidence import Evidence
from workflow_scripts.lib.concepts.naming import votes_won
from workflow_scripts.lib.job import job
from workflow_scripts.lib.report.tables import read_frame, write_frame


def names_by_number(clusters, similarity):
    """A frame with k, share and names, one row per number of clusters.

    clusters: path of the clusters of sampled images, as `choose_k` writes them. similarity: path of
    the best concepts of images, which are joined by id; images that it lacks are left out.
    """
    sampled, matches = read_table(clusters), read_table(similarity)
    row = pc.index_in(sampled["image_id"], matches["image_id"].combine_chunks())
    known = pc.is_valid(row).to_numpy()
    logging.info("%d of %d sampled images have a vote", known.sum(), len(known))
    matches = matches.take(row.drop_null())
    ids, cosines = (
        matches[name].combine_chunks().flatten().to_numpy().reshape(len(matches), -1)
        for name in ("concept_ids", "cosines")
    )
    n_concepts = read_meta(similarity)["concepts"]
    numbers = [name for name in sampled.column_names if name != "image_id"]
    rows = []
    for k in numbers:
        found = Evidence(ids, cosines, n_concepts, sampled[k].to_numpy()[known])
        rows.append((int(k), *votes_won(found)))
    return pd.DataFrame(rows, columns=["k", "share", "names"])


def tabulate_sweep(inputs, cfg, study, output):
    """inputs: named lists of paths, sweeps, choices, clusters and similarity. cfg: encoders, in the
    same order the study's encoder and the one whose space was swept."""
    files = (inputs.sweeps, inputs.choices, inputs.clusters, inputs.similarity)
    frames = []
    for encoders, sweep, choice, clusters, similarity in zip(cfg["encoders"], *files, strict=True):
        frame = read_frame(sweep)
        keys = {"study": study, "encoder": encoders[0], "clustering_encoder": encoders[1]}
        for place, (key, value) in enumerate(keys.items()):
            frame.insert(place, key, value)
        frame.insert(4, "chosen", frame["k"] == json.loads(Path(choice).read_text())["k"])
        frames.append(frame.merge(names_by_number(clusters, similarity), "left", on="k"))
    write_frame(output, pd.concat(frames, ignore_index=True))


if __name__ == "__main__":
    with job(snakemake):
        tabulate_sweep(
            snakemake.input,
            snakemake.params.cfg,
            snakemake.wildcards.study,
            snakemake.output[0],
        )
