"""Turn scores into p-values and flags with a stated false-alarm rate.

Out: Parquet, one row per scored image without the calibration images: image_set, image_id, concept,
cosine and, for every column X of scores, X, `X p` (float64) and `X flagged` (bool). These two are
null in a study without calibration images.
"""

import pyarrow as pa
import pyarrow.compute as pc

from workflow_scripts.lib.artifacts import read_meta, read_table, write_table
from workflow_scripts.lib.detection.calibration import flagged, p_values
from workflow_scripts.lib.job import job


def decided(scores, calibration, rate):
    """p-values and flags of scores [N]; calibration: scores [n], or None."""
    if calibration is None:
        return pa.nulls(len(scores), pa.float64()), pa.nulls(len(scores), pa.bool_())
    p = p_values(calibration, scores)
    return p, flagged(p, rate)


def decide_images(scores, cfg, output):
    """scores: path of a score file. cfg: calibration (image set or None) and false_alarm_rate."""
    table, meta = read_table(scores), read_meta(scores)
    held_out = pc.equal(table["image_set"], cfg["calibration"] or "")
    images, calibration = table.filter(pc.invert(held_out)), table.filter(held_out)
    columns = {name: images[name] for name in ("image_set", "image_id", "concept", "cosine")}
    for name in meta["columns"]:
        known = calibration[name].to_numpy() if cfg["calibration"] else None
        p, flags = decided(images[name].to_numpy(), known, cfg["false_alarm_rate"])
        columns |= {name: images[name], f"{name} p": p, f"{name} flagged": flags}
    write_table(output, columns, meta | cfg | {"n_calibration": len(calibration)})


if __name__ == "__main__":
    with job(snakemake):
        decide_images(snakemake.input.scores, snakemake.params.cfg, snakemake.output.decisions)
