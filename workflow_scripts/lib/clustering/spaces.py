"""Embeddings of the same images by several encoders, side by side."""

import numpy as np
import pyarrow.compute as pc

from workflow_scripts.lib.embeddings import Chosen, Embeddings, open_embeddings, open_sets
from workflow_scripts.lib.errors import InputError


class SideBySide:
    """Arrays [N, d_s] of the same images as one array-like [N, sum of d_s]: len, shape, [rows]."""

    def __init__(self, spaces):
        self.spaces = spaces
        self.shape = (len(spaces[0]), sum(space.shape[1] for space in spaces))

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        """The rows of a slice or with these numbers, int [n]."""
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        return np.concatenate([space[rows] for space in self.spaces], axis=1)


def open_spaces(arrays, indexes, parts):
    """The Embeddings of one image set by several encoders, side by side, with the first's index.

    arrays, indexes, parts: as in `open_sets`, by encoder; parts is None for a single encoder.
    Images are joined by id, in the order of the first (our choice). Raises InputError if another
    encoder lacks images of the first.
    """
    if parts is None:
        return open_embeddings(arrays, indexes)
    sets = open_sets(arrays, indexes, parts)
    first = next(iter(sets.values()))
    spaces = []
    for encoder, images in sets.items():
        order = pc.index_in(
            first.index["image_id"], value_set=images.index["image_id"].combine_chunks()
        )
        if order.null_count:
            raise InputError(
                f"spaces: {encoder} lacks {order.null_count} of {first.rows} images of "
                f"{next(iter(sets))}; give every encoder the same images with the same ids"
            )
        spaces.append(Chosen(images.joined(), order.to_numpy()))
    notes = [note for images in sets.values() for note in images.notes]
    return Embeddings([SideBySide(spaces)], first.index, first.meta, notes)
