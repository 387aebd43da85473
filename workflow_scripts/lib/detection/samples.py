"""Samples of images in a score file: image sets, their unflagged images, and all ID sets pooled."""

import logging

import numpy as np

from workflow_scripts.lib.detection.resampling import sample_counts, units_of
from workflow_scripts.lib.detection.table import ALL
from workflow_scripts.lib.errors import InputError


def flags_by_set(frame):
    """Image set -> {image id: whether it is flagged}, of flag_contamination's table."""
    return {
        name: dict(zip(rows["image_id"], rows["flagged"], strict=True))
        for name, rows in frame.groupby("image_set", sort=False)
    }


def samples_of(table, flags, cfg):
    """Which rows of a score file each sample of images is.

    table: pyarrow Table with the columns image_set and image_id. flags: of `flags_by_set`, or None.
    cfg: test (name), near, far and shift (lists of names) of image sets.
    Returns (sample -> row numbers int64, OOD set -> its unflagged sample, or None without flags).
    The samples are the image sets, the unflagged part of those with flagged images, and ALL. A set
    that is flagged as a whole has no unflagged sample, which is logged.
    """
    image_set = table["image_set"].to_numpy(zero_copy_only=False)
    parts, oods = [cfg["test"], *cfg["shift"]], [*cfg["near"], *cfg["far"]]
    samples = {name: np.flatnonzero(image_set == name) for name in dict.fromkeys([*parts, *oods])}
    samples[ALL] = np.concatenate([samples[part] for part in parts])
    if flags is None:
        return samples, None
    unflagged = {}
    for name in oods:
        kept = _unflagged(table["image_id"].take(samples[name]).to_pylist(), flags, name)
        if kept.all():
            unflagged[name] = name
        elif kept.any():
            unflagged[name] = f"{name} (unflagged)"
            samples[unflagged[name]] = samples[name][kept]
        else:
            logging.warning("all images of %s are flagged: not among the unflagged rows", name)
    return samples, unflagged


def _unflagged(image_ids, flags, image_set):
    """Which images of a set are not flagged: bool [n]. Raises InputError if some are not judged."""
    flag_of = flags.get(image_set, {})
    missing = [name for name in image_ids if name not in flag_of]
    if missing:
        raise InputError(
            f"contamination: {len(missing)} of {len(image_ids)} images of {image_set} have no "
            f"flag, e.g. {missing[0]}; flag them with an encoder that has the same image ids"
        )
    return np.array([not flag_of[name] for name in image_ids], dtype=bool)


def counts_of(table, samples, unflagged, groups, cfg, draw):
    """How often each image of a sample is drawn in every resample: sample -> uint8 [n, B], of all
    but ALL.

    table, cfg: as of `samples_of`, cfg with resamples (B) too; samples, unflagged: what it returns.
    groups: image set -> function image id -> group, of the sets that have groups. draw: as for
    `resampling.sample_counts`. Test images and their shifted copies, which have the same ids, are
    drawn equally often. The unflagged images of a set are resampled on their own.
    """
    apart = {own: name for name, own in (unflagged or {}).items() if own != name}
    shared = {cfg["test"], *cfg["shift"]}

    def units(image_set, sample):
        ids = table["image_id"].take(samples[sample]).to_pylist()
        return units_of(image_set, ids, groups.get(image_set), image_set in shared)

    sets = [name for name in samples if name != ALL and name not in apart]
    found = sample_counts({name: units(name, name) for name in sets}, cfg["resamples"], draw)
    for sample, image_set in apart.items():
        found |= sample_counts({sample: units(image_set, sample)}, cfg["resamples"], draw)
    return found
