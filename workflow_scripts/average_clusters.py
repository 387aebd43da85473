"""Average the embeddings of every cluster.

Out: float32 [clusters, dimensions], unit norm; an empty cluster's row is zero.
"""

from workflow_scripts.lib.artifacts import read_table, write_array
from workflow_scripts.lib.concepts.evidence import cluster_centres
from workflow_scripts.lib.embeddings import open_embeddings
from workflow_scripts.lib.job import job, progress


def average_clusters(embeddings, index, clusters, output):
    images = open_embeddings(embeddings, index)
    assigned = read_table(clusters, ["cluster"])["cluster"].to_numpy()
    blocks = progress(images.blocks(), unit="block")
    write_array(output, cluster_centres(blocks, assigned, int(assigned.max()) + 1))


if __name__ == "__main__":
    with job(snakemake):
        average_clusters(
            snakemake.input.embeddings,
            snakemake.input.index,
            snakemake.input.clusters,
            snakemake.output[0],
        )
