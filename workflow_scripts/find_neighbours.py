"""Find the nearest neighbours of every image by cosine, without the image itself.

Out: int32 [images, k], row numbers of the neighbours, nearest first.
"""

from workflow_scripts.lib import artifacts
from workflow_scripts.lib.clustering.neighbours import nearest_neighbours
from workflow_scripts.lib.embeddings import open_embeddings
from workflow_scripts.lib.job import job


def find_neighbours(embeddings, index, k, output):
    images = open_embeddings(embeddings, index)
    artifacts.write_array(output, nearest_neighbours(images.array(), k))


if __name__ == "__main__":
    with job(snakemake):
        find_neighbours(
            snakemake.input.embeddings,
            snakemake.input.index,
            snakemake.params.cfg["k"],
            snakemake.output[0],
        )
