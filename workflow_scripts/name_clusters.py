"""Name every cluster of an image set by the vote of its images.

Reads the similarity pass, the clusters and their centres; never labels, test or OOD images. Out:
one row per cluster, also of empty ones: size, name, votes, their share, runners-up, cosine of name
and centre, spread, and the ids of the images nearest to the centre and farthest from it.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from workflow_scripts.lib.artifacts import read_meta, read_table, write_table
from workflow_scripts.lib.concepts.naming import named_clusters
from workflow_scripts.lib.concepts.positives import list_column, read_evidence
from workflow_scripts.lib.embeddings import open_embeddings
from workflow_scripts.lib.job import job, progress


def name_clusters(inputs, meta, output):
    """inputs: named paths, embeddings and index (lists), similarity, clusters, centres and what is
    beside them, texts and concepts. meta: what the names are of."""
    names = read_table(inputs.concepts, ["concept"])["concept"].combine_chunks()
    images = open_embeddings(inputs.embeddings, inputs.index)
    centres = [(inputs.centres, inputs.about_centres), (inputs.texts, inputs.concepts)]
    evidence, image_ids = read_evidence(
        inputs.similarity, len(names), inputs.clusters, centres=centres
    )
    clustered = pc.is_in(images.index["image_id"], image_ids).to_numpy()
    blocks = progress(images.blocks(rows=np.flatnonzero(clustered)), unit="block")
    columns = named_clusters(evidence, blocks, read_meta(inputs.clusters)["k"])
    named = columns["concept_id"]
    table = {
        "cluster": columns["cluster"],
        "size": columns["size"],
        "name": names.take(pa.array(named, mask=named < 0)),
        "votes": columns["votes"],
        "share": columns["share"],
        "runners_up": list_column(columns["runners_up"], names.take),
        "runner_up_votes": list_column(columns["runner_up_votes"], np.asarray),
        "cosine": columns["cosine"],
        "spread": columns["spread"],
        "nearest": list_column(columns["nearest"], image_ids.take),
        "farthest": list_column(columns["farthest"], image_ids.take),
    }
    write_table(output, table, meta)


if __name__ == "__main__":
    with job(snakemake):
        name_clusters(
            snakemake.input,
            {**snakemake.wildcards, "seed": int(snakemake.wildcards.seed)},
            snakemake.output[0],
        )
