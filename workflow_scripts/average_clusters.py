"""Average the embeddings of every cluster.

The clusters may be of another encoder; they are joined by image id. The means are in the space of
the embeddings, so that they compare with its texts.

Out: float32 [clusters, dimensions], unit norm; an empty cluster's row is zero. A JSON file that
says which array it is, of which embeddings and clusters (CRC-32 of their file).
"""

import json

import numpy as np

from workflow_scripts.lib.artifacts import crc32_of, write_array, write_text
from workflow_scripts.lib.clustering.joined import clusters_of_images
from workflow_scripts.lib.concepts.evidence import cluster_centres
from workflow_scripts.lib.embeddings import open_embeddings
from workflow_scripts.lib.job import job, progress


def average_clusters(embeddings, index, clusters, output, about):
    images = open_embeddings(embeddings, index)
    assigned = clusters_of_images(clusters, images.index["image_id"])
    known = np.flatnonzero(assigned >= 0)
    blocks = images.blocks(rows=known if len(known) < images.rows else None)
    blocks = progress(blocks, unit="block")
    centres = cluster_centres(blocks, assigned[known], int(assigned.max()) + 1)
    facts = {"embeddings": images.digest, "clusters": crc32_of(clusters)}
    facts["array"] = write_array(output, centres)
    write_text(about, json.dumps(facts) + "\n")


if __name__ == "__main__":
    with job(snakemake):
        average_clusters(
            snakemake.input.embeddings,
            snakemake.input.index,
            snakemake.input.clusters,
            snakemake.output.centres,
            snakemake.output.about,
        )
