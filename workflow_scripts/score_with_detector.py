"""Score images with a stored detector, and rank them: those that belong least come first.

Out: Parquet and CSV, a row per image, see `stored.Detector.rank`. Nothing is read but the
detector's two files, the embeddings of the images and, of images in archives, where they are.
"""

import logging

from workflow_scripts.lib.artifacts import write_text
from workflow_scripts.lib.detection.stored import load_detector
from workflow_scripts.lib.embeddings import open_embeddings
from workflow_scripts.lib.images.places import paths_of
from workflow_scripts.lib.job import job
from workflow_scripts.lib.report.tables import write_frame


def score_with_detector(inputs, cfg, outputs):
    """inputs: named paths, embeddings and index, locators or none. cfg: detector (its path),
    decide_by (a column or None), images (the kind and path that were given, for `check_name`) and
    root: what holds the images, None of precomputed embeddings."""
    detector = load_detector(cfg["detector"])
    images = open_embeddings(inputs.embeddings, inputs.index)
    detector.check_encoder(images.meta["encoder"])
    if why := detector.why_none_is_flagged():
        logging.warning("%s", why)
    ids = images.index["image_id"].combine_chunks()
    paths, members = paths_of(ids, cfg["root"], inputs.locators or None)
    frame = detector.rank(ids, images, cfg["decide_by"], paths, members)
    decided_by = cfg["decide_by"] or detector.meta["decide_by"]
    made_of = {"decide_by": decided_by, "images": cfg["images"]}
    write_frame(outputs.parquet, frame, made_of)
    write_text(outputs.csv, frame.to_csv(index=False))


if __name__ == "__main__":
    with job(snakemake):
        score_with_detector(snakemake.input, snakemake.params.cfg, snakemake.output)
