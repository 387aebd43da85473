"""Score images with a stored detector, and rank them: those that belong least come first.

Out: Parquet and CSV, a row per image, see `bundle.Detector.rank`. Nothing is read but the
detector's two files and the embeddings of the images.
"""

from workflow_scripts.lib.artifacts import write_text
from workflow_scripts.lib.detection.bundle import load_detector
from workflow_scripts.lib.embeddings import open_embeddings
from workflow_scripts.lib.job import job
from workflow_scripts.lib.report.tables import write_frame


def score_with_detector(embeddings, index, cfg, outputs):
    """cfg: detector (its path), decide_by (a column or None) and folder: of images that are files,
    what their ids are relative to, else None."""
    detector = load_detector(cfg["detector"])
    images = open_embeddings(embeddings, index)
    detector.check_encoder(images.meta["encoder"])
    start = f"{cfg['folder']}/" if cfg["folder"] else ""
    frame = detector.rank([start + name for name in images.ids], images, cfg["decide_by"])
    write_frame(outputs.parquet, frame)
    write_text(outputs.csv, frame.to_csv(index=False))


if __name__ == "__main__":
    with job(snakemake):
        score_with_detector(
            snakemake.input.embeddings,
            snakemake.input.index,
            snakemake.params.cfg,
            snakemake.output,
        )
