"""List the images of one set by how little they belong, by the study's deciding detector.

Out: Parquet (all images) and CSV (the first 100,000), as `outliers.outlier_frame` makes them, with
concept (the nearest positive), training_image, training_id and training_cosine (the nearest
training image, of the first 1,000 rows: its path, if it is a file, its id and its cosine). The
metadata name the deciding column, those passed over for it, and the others with scores.
"""

import logging
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from workflow_scripts.lib.artifacts import read_meta, read_table, write_text
from workflow_scripts.lib.detection.decisions import decider_of
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


def read_decisions(paths, image_set):
    """What several files of decisions say of one set: (frame with the columns of all files, names
    of the columns with scores)."""
    frames, scores = [], []
    for path in paths:
        table = read_table(path)
        frame = table.filter(pc.equal(table["image_set"], image_set)).to_pandas()
        known = {*frames[0]} if frames else set()
        frames.append(frame.drop(columns=known & {*frame}))
        scores += read_meta(path)["columns"]
    return pd.concat(frames, axis=1), scores


def list_outliers(inputs, cfg, image_set, parquet, csv):
    """inputs: named paths, decisions (several), embeddings and index of the set, train and
    train_index, locators or none. cfg: deciders (of `queries`), root and train_root
    (folders, or None), trained_on (whether the set may have training images)."""
    decider = decider_of(inputs.decisions, cfg["deciders"])
    frame, scores = read_decisions(inputs.decisions, image_set)
    column, meta = decider.column, read_meta(decider.path)
    if frame.empty:
        raise InputError(f"the study {meta['study']} does not score images of {image_set!r}")
    ids = pa.array(frame["image_id"], pa.string())
    path, member = paths_of(ids, cfg["root"], inputs.locators or None)
    outliers = outlier_frame(
        {"image_id": ids, "path": path, "member": member},
        {name: frame[name] for name in scores},
        column,
        {"concept": frame["concept"]},
        {name: frame[f"{name} p"].to_numpy() for name in scores} if meta["calibration"] else None,
        meta["false_alarm_rate"],
    )
    add_training_images(outliers, inputs, cfg)
    made = {key: meta[key] for key in MADE_BY} | decider.names
    made |= {"column": column, "others": [name for name in scores if name != column]}
    made |= {"passed_over": decider.passed_over}
    write_frame(parquet, outliers, made)
    write_csv(csv, outliers)


def add_training_images(outliers, inputs, cfg):
    """Insert the nearest training image of the first rows after `concept`."""
    rows = outliers.index[:SHOWN]
    shown = training_images(inputs, rows.to_numpy(), cfg).set_index(rows).reindex(outliers.index)
    at = outliers.columns.get_loc("concept") + 1
    for i, name in enumerate(shown):
        outliers.insert(at + i, name, shown[name])


def training_images(inputs, rows, cfg):
    """The training images nearest to these rows of the set: a frame with training_image (None where
    they are no files), training_id and training_cosine; all None where there is none."""
    images = open_embeddings(inputs.embeddings, inputs.index)
    train = open_embeddings(inputs.train, inputs.train_index)
    own_ids = images.index["image_id"].take(rows).to_pylist() if cfg["trained_on"] else None
    nearest, cosines = nearest_training(images.array(rows), train, own_ids)
    ids = train.index["image_id"].take(pa.array(nearest, mask=nearest < 0)).to_pylist()
    root = cfg["train_root"]
    paths = [None if root is None or name is None else str(Path(root, name)) for name in ids]
    texts = {"training_image": paths, "training_id": ids}
    shown = {name: pd.array(values, "string") for name, values in texts.items()}
    return pd.DataFrame(shown | {"training_cosine": cosines})


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
