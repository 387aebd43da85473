"""What a list of outliers shows beside the scores: the nearest training image."""

import numpy as np

from workflow_scripts.lib.concepts.similarity import top_concepts


def nearest_training(images, train, own_ids=None):
    """The training image with the highest cosine, exactly; of equal ones the first.

    images: float32 [b, d] unit-norm embeddings. train: `Embeddings`, streamed.
    own_ids: the images' ids [b], if they may be training images: an image is then not its own
        neighbour, but an exact copy with another id is.
    Returns rows of `train` int64 [b] and cosines float32 [b]; -1 and NaN where there is no other.
    """
    rows, best = np.full(len(images), -1), np.full(len(images), -np.inf, np.float32)
    train_ids = None if own_ids is None else np.array(train.ids, object)
    start = 0
    for block in train.blocks():
        found, cosines = top_concepts([images], block, min(2, len(block)))
        found = start + found.astype(np.int64)
        if own_ids is not None:
            own = train_ids[found] == np.array(own_ids, object)[:, None]
            cosines = np.where(own, -np.inf, cosines)
        first = cosines.argmax(axis=1)[:, None]
        cosine = np.take_along_axis(cosines, first, axis=1)[:, 0]
        better = cosine > best
        rows[better] = np.take_along_axis(found, first, axis=1)[better, 0]
        best[better] = cosine[better]
        start += len(block)
    return rows, np.where(rows < 0, np.float32("nan"), best)
