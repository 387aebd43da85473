"""Small pictures inside a page."""

import base64
import io

import numpy as np

from workflow_scripts.lib.explore.projection import sampled
from workflow_scripts.lib.images.decode import BadImage, open_rgb

THUMBNAILS = 2000  # on a map: half of them of the lowest scores, half sampled of the other images
SIZE = 64  # pixels of the longer side


def chosen_rows(scores, limit=THUMBNAILS):
    """The images that get a picture: sorted row numbers [min(n, limit)].

    scores: float [n], NaN of images without one. Half have the lowest scores, if so many have a
    score; the others are a random sample.
    """
    order = np.argsort(scores, kind="stable")  # NaN last
    lowest = order[: min(limit // 2, np.isfinite(scores).sum())]
    rest = np.setdiff1d(np.arange(len(scores)), lowest)
    return np.union1d(lowest, rest[sampled(len(rest), limit - len(lowest))])


def thumbnail_of(read):
    """An image as a WebP data URI of at most SIZE x SIZE pixels; "" if it cannot be read any more.

    read: see `images.containers.image_readers`.
    """
    try:
        image = open_rgb(read())
    except (BadImage, OSError):
        return ""
    image.thumbnail((SIZE, SIZE))
    content = io.BytesIO()
    image.save(content, "WEBP", quality=50, method=1)
    return "data:image/webp;base64," + base64.b64encode(content.getvalue()).decode()
