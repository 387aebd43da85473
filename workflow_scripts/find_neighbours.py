"""Find the nearest neighbours of every image by cosine, without the image itself.

Out: int32 [images, k], row numbers of the neighbours, nearest first; a JSON file that says whether
they are exact and, if not, their recall, which array it is and of which embeddings.
"""

import json
import logging

from workflow_scripts.lib import artifacts
from workflow_scripts.lib.clustering.neighbours import nearest_neighbours, neighbours_in_cells
from workflow_scripts.lib.embeddings import open_embeddings
from workflow_scripts.lib.job import job


def find_neighbours(embeddings, index, cfg, output, quality):
    """cfg: k; exact, the most images that are all compared; probes, see `neighbours_in_cells`."""
    images = open_embeddings(embeddings, index)
    rows = images.joined()
    exact, recall = len(rows) <= cfg["exact"], 1.0
    if exact:
        found = nearest_neighbours(rows, cfg["k"])
    else:
        found, recall = neighbours_in_cells(rows, cfg["k"], cfg["probes"])
        logging.warning(
            "%d images, more than neighbours.exact: the neighbours are approximate, recall %.3f",
            len(rows), recall,
        )  # fmt: skip
    about = {"exact": exact, "recall": recall, "embeddings": images.digest}
    about["array"] = artifacts.write_array(output, found)
    artifacts.write_text(quality, json.dumps(about) + "\n")


if __name__ == "__main__":
    with job(snakemake):
        find_neighbours(
            snakemake.input.embeddings,
            snakemake.input.index,
            snakemake.params.cfg,
            snakemake.output.neighbours,
            snakemake.output.quality,
        )
