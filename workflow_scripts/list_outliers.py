"""List the images of one set by how little they belong, by the study's deciding detector.

Out: Parquet (all images) and CSV (the first 100,000), as `outliers.outlier_frame` makes them, with
concept (the nearest positive), training_image and training_cosine (the nearest training image, of
the first 1,000 rows; its path, or id where it is no file).
"""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from workflow_scripts.lib.artifacts import read_meta, read_table, write_text
from workflow_scripts.lib.detection.decisions import deciding_column
from workflow_scripts.lib.detection.outliers import nearest_training, outlier_frame
from workflow_scripts.lib.embeddings import open_embeddings
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images.places import paths_of
from workflow_scripts.lib.job import job
from workflow_scripts.lib.report.tables import write_frame

SHOWN = 1000  # rows with their nearest training image
CSV_ROWS = 100_000
MADE_BY = ("encoder", "clustering", "mining", "seed")
MADE_BY += ("calibration", "n_calibration", "false_alarm_rate")


def read_decisions(paths, image_set, decide_by):
    """What several files of decisions say of one set: (name of the deciding column, its metadata,
    frame with the columns of all files, names of the columns with scores)."""
    frames, scores = [], []
    for path in paths:
        table = read_table(path)
        frame = table.filter(pc.equal(table["image_set"], image_set)).to_pandas()
        known = {*frames[0]} if frames else set()
        frames.append(frame.drop(columns=known & {*frame}))
        scores += read_meta(path)["columns"]
    path, column = deciding_column(paths, decide_by)
    return column, read_meta(path), pd.concat(frames, axis=1), scores


def list_outliers(inputs, cfg, image_set, parquet, csv):
    """inputs: named paths, decisions (several), embeddings and index of the set, train and
    train_index, locators or none. cfg: decide_by (detector, negatives), root and train_root
    (folders, or None), trained_on (whether the set may have training images)."""
    column, meta, frame, scores = read_decisions(inputs.decisions, image_set, cfg["decide_by"])
    if frame.empty:
        raise InputError(f"the study {meta['study']} does not score images of {image_set!r}")
    ids = pa.array(frame["image_id"], pa.string())
    path, member = paths_of(ids, cfg["root"], inputs.locators or None)
    outliers = outlier_frame(
        {"image_id": ids, "path": path, "member": member},
        {name: frame[name] for name in scores},
        column,
        {"concept": frame["concept"]},
        frame[f"{column} p"].to_numpy() if meta["calibration"] else None,
        meta["false_alarm_rate"],
    )
    add_training_images(outliers, inputs, cfg)
    made = {key: meta[key] for key in MADE_BY}
    write_frame(parquet, outliers, made | cfg["decide_by"])
    write_csv(csv, outliers)


def add_training_images(outliers, inputs, cfg):
    """Insert the nearest training image of the first rows, and its cosine, after `concept`."""
    names, cosines = training_images(inputs, outliers.index[:SHOWN].to_numpy(), cfg)
    at = outliers.columns.get_loc("concept") + 1
    shown = pd.Series(names, outliers.index[:SHOWN], dtype="string")
    outliers.insert(at, "training_image", shown.reindex(outliers.index))
    cosines = pd.Series(cosines, outliers.index[:SHOWN])
    outliers.insert(at + 1, "training_cosine", cosines.reindex(outliers.index))


def training_images(inputs, rows, cfg):
    """Path or id, and cosine, of the training images nearest to these rows of the set."""
    images = open_embeddings(inputs.embeddings, inputs.index)
    train = open_embeddings(inputs.train, inputs.train_index)
    own_ids = images.index["image_id"].take(rows).to_pylist() if cfg["trained_on"] else None
    nearest, cosines = nearest_training(images.array(rows), train, own_ids)
    ids = train.index["image_id"].take(np.maximum(nearest, 0)).to_pylist()
    if cfg["train_root"] is not None:
        ids = [str(Path(cfg["train_root"], name)) for name in ids]
    return [name if row >= 0 else None for name, row in zip(ids, nearest, strict=True)], cosines


def write_csv(path, frame):
    if len(frame) > CSV_ROWS:
        logging.info("%s has the first %d of %d rows", path, CSV_ROWS, len(frame))
    write_text(path, frame.head(CSV_ROWS).to_csv(index=False))


if __name__ == "__main__":
    with job(snakemake):
        list_outliers(
            snakemake.input,
            snakemake.params.cfg,
            snakemake.wildcards.image_set,
            snakemake.output.parquet,
            snakemake.output.csv,
        )
