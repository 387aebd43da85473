"""Which images a bootstrap draws together, and how often each is drawn.

What is drawn is a unit: an image, or a group of images that are not independent of each other (the
frames of a video, the images of a patient, the crops of a scene). A test image and its shifted
copies have one id and are one unit, so they are drawn equally often; groups of one name are one
unit in whatever sets they are. Images of OOD sets are units of their own set.

Units are drawn in strata: those that occur in the same sets, each stratum to its own size. So a set
keeps its number of units in every resample, and a set without groups its number of images.
Source: the cluster bootstrap, Davison and Hinkley, Bootstrap Methods and their Application (1997),
3.8 (strategy 1). The strata are our choice.
"""

import numpy as np
import pandas as pd

from workflow_scripts.lib.detection.bootstrap import resample_counts
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.texts.files import read_rows

SHARED, GROUP = "shared", "group"  # kinds of units beside the images of one set


def grouping(paths, blocks):
    """A list, one per image set, of functions image id -> group; None without groups.

    blocks: per image set None, or a dict of folder (whether the folder of an image is its group),
        image_id and group (columns of a table).
    paths: the tables of the sets that have one, in the same order.
    Raises InputError for a table with a row that is not complete, or an image with two groups. The
    functions raise it for an image without a group.
    """
    paths = iter(paths)
    return [
        block and (_folder if block["folder"] else _looked_up(next(paths), block))
        for block in blocks
    ]


def _folder(image_id):
    folder, slash, _ = image_id.rpartition("/")
    if not slash:
        raise InputError(
            f"the image {image_id!r} lies in no folder that can be its group; move it, or name "
            "the groups in a table (image_sets.<name>.groups)"
        )
    return folder


def _looked_up(path, block):
    columns = {key: block[key] for key in ("image_id", "group")}
    groups = {}
    for place, row in read_rows(path, columns):
        image_id, group = row["image_id"], row["group"]
        if not image_id or not group:
            raise InputError(f"{path}, {place}: an image id and a group are needed; complete it")
        if groups.setdefault(image_id, group) != group:
            raise InputError(
                f"{path}, {place}: {image_id!r} has two groups, {groups[image_id]!r} and "
                f"{group!r}; keep one"
            )

    def group_of(image_id):
        if image_id not in groups:
            raise InputError(
                f"{path} has no group for the image {image_id!r}; add a row, with a group of its "
                "own if it belongs to none (image_sets.<name>.groups)"
            )
        return groups[image_id]

    return group_of


def units_of(image_set, ids, group_of=None, shared=False):
    """The unit of every image: a list of n tuples (kind, name).

    ids: n image ids. group_of: of `grouping`, or None. shared: whether other sets have copies of
    these images, with the same ids.
    """
    if group_of:
        return [(GROUP, group_of(image_id)) for image_id in ids]
    kind = SHARED if shared else f"image of {image_set}"
    return [(kind, image_id) for image_id in ids]


def sample_counts(units, resamples, draw=resample_counts):
    """How often each image is drawn in every resample: sample -> uint8 [n, resamples].

    units: sample -> its images' units, a list of n hashable values. draw: as `resample_counts`,
        which a stratum calls with the names of its samples, joined by "+", and its size.
    """
    names = list(units)
    flat = pd.Index([unit for name in names for unit in units[name]], tupleize_cols=False)
    codes, known = pd.factorize(flat)
    ends = np.cumsum([len(units[name]) for name in names])
    codes = dict(zip(names, np.split(codes, ends[:-1]), strict=True))
    member = np.zeros((len(known), len(names)), bool)
    for column, name in enumerate(names):
        member[codes[name], column] = True
    patterns, stratum = np.unique(member, axis=0, return_inverse=True)
    place, strata = np.empty(len(known), np.int64), []
    for number, pattern in enumerate(patterns):
        rows = np.flatnonzero(stratum == number)
        place[rows] = np.arange(len(rows))
        shared = "+".join(name for name, has in zip(names, pattern, strict=True) if has)
        strata.append(draw(shared, len(rows), resamples))
    return {name: _spread(strata, stratum[codes[name]], place[codes[name]]) for name in names}


def _spread(strata, stratum, place):
    """The counts of images from those of units; an array of `strata` itself if it is the same."""
    first = strata[stratum[0]] if len(stratum) else np.empty((0, strata[0].shape[1]), np.uint8)
    if np.array_equal(place, np.arange(len(first))) and (stratum == stratum[:1]).all():
        return first
    counts = np.empty((len(place), first.shape[1]), np.uint8)
    for number in np.unique(stratum):
        rows = stratum == number
        counts[rows] = strata[number][place[rows]]
    return counts
