"""Count the images that every detector of a study flags, by image set.

Out: Parquet, one row per list of positives, negatives, detector and scored set: its group (test,
shift, near, far), how many images there are and are flagged, the share with a 95 % Wilson interval,
the asked rate and the number of calibration images. The share is the realised false-alarm rate of
test and shifted sets, and the detection rate of OOD sets. The interval covers the choice of the
scored images, not that of the calibration images.
"""

import pandas as pd

from workflow_scripts.lib.artifacts import read_meta
from workflow_scripts.lib.detection.calibration import wilson_interval
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


def rows_of(path, groups):
    """The rows of one file of decisions; groups: as `groups_of`."""
    frame, meta = read_frame(path), read_meta(path)
    shared = {key: meta[key] for key in KEYS if key in meta}
    shared |= {"asked_rate": meta["false_alarm_rate"], "n_calibration": meta["n_calibration"]}
    for name, group in groups.items():
        images = frame[frame["image_set"] == name]
        for column, detector in meta["columns"].items():
            if meta["calibration"] is None:
                continue
            flagged, n = int(images[f"{column} flagged"].sum()), len(images)
            low, high = wilson_interval(flagged, n)
            counts = {"images": n, "flagged": flagged, "share": flagged / n if n else None}
            keys = {"image_set": name, "group": group, "measure": MEASURES[group]}
            yield shared | detector | keys | counts | {"share_low": low, "share_high": high}


def evaluate_decisions(decisions, cfg, output):
    """decisions: paths. cfg: test, near, far and shift (names of image sets)."""
    rows = [row for path in decisions for row in rows_of(path, groups_of(cfg))]
    write_frame(output, pd.DataFrame(rows, columns=COLUMNS))


if __name__ == "__main__":
    with job(snakemake):
        evaluate_decisions(
            list(snakemake.input.decisions), snakemake.params.cfg, snakemake.output.table
        )
