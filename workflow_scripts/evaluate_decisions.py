"""Count the images that every detector of a study flags, by image set.

Out: Parquet, one row per list of positives, negatives, detector and scored set: its group (test,
shift, near, far), how many images there are and are flagged, the share with a 95 % interval, the
asked rate and the number of calibration images. The share is the realised false-alarm rate of test
and shifted sets, and the detection rate of OOD sets. The interval is Wilson's; where images come in
groups, of an effective number of images. It covers the choice of the scored images (or groups), not
that of the calibration images.
"""

import pandas as pd

from workflow_scripts.lib.artifacts import read_meta
from workflow_scripts.lib.detection.resampling import grouping
from workflow_scripts.lib.detection.shares import share_interval
from workflow_scripts.lib.job import job
from workflow_scripts.lib.report.tables import read_frame, write_frame

KEYS = ["study", "encoder", "clustering", "mining", "negatives", "detector", "seed"]
COLUMNS = [*KEYS, "image_set", "group", "measure", "images", "flagged", "share", "share_low"]
COLUMNS += ["share_high", "asked_rate", "n_calibration"]
MEASURES = {"test": "false_alarm_rate", "shift": "false_alarm_rate"}
MEASURES |= {"near": "detection_rate", "far": "detection_rate"}


def groups_of(cfg):
    """Image set -> its group."""
    sets = {"test": [cfg["test"]]} | {group: cfg[group] for group in ("shift", "near", "far")}
    return {name: group for group, names in sets.items() for name in names}


def rows_of(path, parts, groupings):
    """The rows of one file of decisions.

    parts: as `groups_of`. groupings: image set -> function image id -> group, or None.
    """
    frame, meta = read_frame(path), read_meta(path)
    shared = {key: meta[key] for key in KEYS if key in meta}
    shared |= {"asked_rate": meta["false_alarm_rate"], "n_calibration": meta["n_calibration"]}
    if meta["calibration"] is None:
        return
    for name, group in parts.items():
        images, group_of = frame[frame["image_set"] == name], groupings[name]
        units = [group_of(image_id) for image_id in images["image_id"]] if group_of else None
        for column, detector in meta["columns"].items():
            flags = images[f"{column} flagged"].to_numpy(bool)
            flagged, n = int(flags.sum()), len(images)
            low, high = share_interval(flags, units)
            counts = {"images": n, "flagged": flagged, "share": flagged / n if n else None}
            keys = {"image_set": name, "group": group, "measure": MEASURES[group]}
            yield shared | detector | keys | counts | {"share_low": low, "share_high": high}


def evaluate_decisions(decisions, tables, cfg, output):
    """decisions: paths. tables: those that group images. cfg: test, near, far and shift (names of
    image sets) and groups (image set -> block, see `resampling.grouping`)."""
    parts = groups_of(cfg)
    groupings = dict(zip(cfg["groups"], grouping(tables, cfg["groups"].values()), strict=True))
    rows = [row for path in decisions for row in rows_of(path, parts, groupings)]
    write_frame(output, pd.DataFrame(rows, columns=COLUMNS))


if __name__ == "__main__":
    with job(snakemake):
        evaluate_decisions(
            list(snakemake.input.decisions),
            list(snakemake.input.groups),
            snakemake.params.cfg,
            snakemake.output.table,
        )
