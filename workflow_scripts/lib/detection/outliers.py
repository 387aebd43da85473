"""Lists of outliers: the images of one set by rank, and the training image nearest to each."""

import numpy as np
import pandas as pd

from workflow_scripts.lib.concepts.similarity import top_concepts
from workflow_scripts.lib.detection.calibration import discoveries, flagged


def outlier_frame(places, scores, by, names, p=None, rate=None):
    """The N images of one set by rank, those that belong least first, as a data frame.

    The lowest score comes first; equal scores keep the order of the set.
    places: image_id, path and member -> [N] each, None where there is none. scores: column ->
    float [N], higher = more in-distribution. by: the column that decides. names: column -> [N],
    what is known of an image's content. p: column -> float64 [N], the p-values of scores; None
    without calibration. rate: of false alarms, which p is compared with.
    Columns: rank (from 1), path (opens the image; of archives the archive), member (of archives),
    image_id, score (the deciding one), p_value, flagged and discovery (Benjamini-Hochberg over the
    set at the same rate), these three empty without p, then `names` and, of every other column X of
    scores, X and with p also `X p` and `X flagged`. Its index are the rows of the set.
    """
    n = len(scores[by])
    others = {}
    for column in scores:
        if column != by:
            others[column] = scores[column]
            if p is not None:
                others |= {f"{column} p": p[column], f"{column} flagged": flagged(p[column], rate)}
    p = None if p is None else p[by]
    texts = {key: pd.array(np.asarray(given, object), "string") for key, given in places.items()}
    undecided = pd.array([pd.NA] * n, "boolean")
    frame = pd.DataFrame(
        {
            "path": texts["path"],
            "member": texts["member"],
            "image_id": texts["image_id"],
            "score": scores[by],
            "p_value": np.full(n, np.nan) if p is None else p,
            "flagged": undecided if p is None else flagged(p, rate),
            "discovery": undecided if p is None else discoveries(p, rate),
            **names,
            **others,
        },
        index=np.arange(n),
    )
    frame = frame.astype({"flagged": "boolean", "discovery": "boolean"})
    frame = frame.sort_values("score", kind="stable")
    frame.insert(0, "rank", np.arange(1, n + 1))
    return frame


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
