"""The kNN graph of images as an artifact."""

from workflow_scripts.lib.artifacts import read_array, read_json
from workflow_scripts.lib.errors import InputError


def read_neighbours(path, about, images):
    """The kNN graph of images by row number, int32 [N, k], a read-only memory map.

    about: the JSON file beside it. images: their Embeddings. Raises InputError if the graph is
    damaged, or of other embeddings.
    """
    graph, of = read_array(path, about), read_json(about).get("embeddings")
    if len(graph) != images.rows or (of and images.digest and of != images.digest):
        raise InputError(
            f"{path} holds the neighbours of other embeddings, or of another order of them: delete "
            "it and run again"
        )
    return graph
