"""List the images of one set by how little they belong, by the study's deciding detector.

Out: Parquet (all images) and CSV (the first 100,000), the lowest score first, of equal scores in
the order of the set. Columns: rank, path (opens the image; of archives the archive), member (of
archives), image_id, score, p_value, flagged, discovery (Benjamini-Hochberg over this set at the
same rate), concept (the nearest positive), training_image and training_cosine (the nearest training
image, of the first 1,000 rows; its path, or id where it is no file), and the scores of the other
detectors.
"""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from workflow_scripts.lib.artifacts import read_meta, read_table, write_text
from workflow_scripts.lib.detection.calibration import discoveries
from workflow_scripts.lib.detection.outliers import nearest_training
from workflow_scripts.lib.embeddings import open_embeddings
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.job import job
from workflow_scripts.lib.report.tables import write_frame

SHOWN = 1000  # rows with their nearest training image
CSV_ROWS = 100_000
MADE_BY = ("encoder", "clustering", "mining", "seed")
MADE_BY += ("calibration", "n_calibration", "false_alarm_rate")


def read_decisions(paths, image_set, decide_by):
    """What several files of decisions say of one set: (name of the deciding column, its metadata,
    frame with the columns of all files, names of the columns with scores)."""
    frames, scores, deciding = [], [], None
    for path in paths:
        table, meta = read_table(path), read_meta(path)
        frame = table.filter(pc.equal(table["image_set"], image_set)).to_pandas()
        known = {*frames[0]} if frames else set()
        frames.append(frame.drop(columns=known & {*frame}))
        scores += meta["columns"]
        deciding = deciding or next(
            ((name, meta) for name, key in meta["columns"].items() if key == decide_by), None
        )
    return *deciding, pd.concat(frames, axis=1), scores


def paths_of(ids, root, locators):
    """(path, member) of images: lists of texts or None. root: None for precomputed embeddings.

    locators: path of the table that says which archive an image is in; None for files.
    """
    none = [None] * len(ids)
    if root is None:
        return none, none
    if not locators:
        return [str(Path(root, name)) for name in ids], none
    table = read_table(locators, ["image_id", "file"])
    file_of = dict(zip(table["image_id"].to_pylist(), table["file"].to_pylist(), strict=True))
    folder = Path(root).parent if Path(root).is_file() else Path(root)
    return [str(folder / file_of[name]) for name in ids], list(ids)


def outlier_table(frame, column, cfg, locators):
    """The rows of one set, sorted, with the columns up to `concept`.

    frame: the set's decisions. column: that of the deciding scores.
    """
    path, member = paths_of(frame["image_id"], cfg["root"], locators)
    p = frame[f"{column} p"]
    columns = {
        "rank": np.arange(1, len(frame) + 1),
        "path": pd.array(path, "string"),
        "member": pd.array(member, "string"),
        "image_id": frame["image_id"],
        "score": frame[column],
        "p_value": p,
        "flagged": frame[f"{column} flagged"].astype("boolean"),
        "discovery": pd.array([pd.NA] * len(frame), "boolean"),
        "concept": frame["concept"],
    }
    if p.notna().all():
        columns["discovery"] = discoveries(p, cfg["false_alarm_rate"])
    return pd.DataFrame(columns)


def list_outliers(inputs, cfg, image_set, parquet, csv):
    """inputs: named paths, decisions (several), embeddings and index of the set, train and
    train_index, locators or none. cfg: decide_by (detector, negatives), false_alarm_rate, root and
    train_root (folders, or None), trained_on (whether the set may have training images)."""
    column, meta, frame, scores = read_decisions(inputs.decisions, image_set, cfg["decide_by"])
    if frame.empty:
        raise InputError(f"the study {meta['study']} does not score images of {image_set!r}")
    order = np.argsort(frame[column].to_numpy(), kind="stable")
    frame = frame.iloc[order].reset_index(drop=True)
    outliers = outlier_table(frame, column, cfg, inputs.locators)
    names, cosines = training_images(inputs, order[:SHOWN], cfg)
    outliers["training_image"] = pd.Series(names, dtype="string").reindex(outliers.index)
    outliers["training_cosine"] = pd.Series(cosines).reindex(outliers.index)
    others = [name for name in scores if name != column]
    outliers[others] = frame[others]
    made = {key: meta[key] for key in MADE_BY}
    write_frame(parquet, outliers, made | cfg["decide_by"])
    write_csv(csv, outliers)


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
