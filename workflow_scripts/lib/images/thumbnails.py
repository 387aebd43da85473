"""Thumbnails: images made small, to be looked at."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

from PIL import ImageOps

from workflow_scripts.lib.images.containers import image_readers
from workflow_scripts.lib.images.decode import BadImage, open_rgb


def thumbnails(ids, source, locators, size, threads=1):
    """image id -> RGB image whose longer side has `size` pixels; None if it cannot be read.

    ids: image ids; repeated ones are read once. source, locators: see `image_readers`.
    """
    ids = list(dict.fromkeys(ids))
    reads = image_readers(ids, source, locators)
    with ThreadPoolExecutor(threads) as pool:
        images = pool.map(partial(_thumbnail, size=size), reads)
        return dict(zip(ids, images, strict=True))


def _thumbnail(read, size):
    try:
        image = open_rgb(read())
    except (BadImage, OSError):
        return None
    if max(image.size) > size * min(image.size):  # the shorter side would become nothing
        return image.resize([size if side == max(image.size) else 1 for side in image.size])
    return ImageOps.contain(image, (size, size))
