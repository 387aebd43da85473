"""Embed one shard of an image set; images that fail to decode go into the shard's quarantine."""

import logging
from pathlib import Path

import pyarrow as pa

from workflow_scripts.lib.artifacts import read_meta, write_array, write_table
from workflow_scripts.lib.embeddings import IMAGE_INDEX
from workflow_scripts.lib.encoders.loading import PINNED, load_encoder, with_weights
from workflow_scripts.lib.encoders.stream import embed_stream
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images.containers import image_readers
from workflow_scripts.lib.images.listed import as_listed
from workflow_scripts.lib.images.losses import check_losses
from workflow_scripts.lib.images.manifest import QUARANTINE, read_shard, set_name
from workflow_scripts.lib.job import job, progress

FEWEST_TO_JUDGE = 20  # images of a shard that can fail alone; smaller ones: collect_quarantine


def embed_images(
    manifest,
    shard,
    source,
    locators,
    weights,
    cfg,
    embeddings,
    index,
    quarantine,
    threads=1,
    pins=None,
):
    """Write unit-norm embeddings, float16 [n, d], and their index, row by row in step.

    shard: its number in the manifest. source: what holds the images; locators: where in it (see
    `image_readers`). weights: the files of a local encoder (see `with_weights`). cfg: the encoder's
    config block, and pins (see `load_encoder`). Images are decoded by `threads` processes ahead of
    the model.
    Raises InputError if more of the shard is lost than the manifest's maximum_quarantine allows.
    """
    if not Path(source).exists():
        raise InputError(f"{source} does not exist: correct the path in the config.")
    rows = read_shard(manifest, shard).to_pylist()
    encoder = load_encoder(with_weights(cfg, weights), threads, texts=False, pins=pins)
    reads = image_readers([row["image_id"] for row in rows], source, locators, shard)
    reads = as_listed(rows, reads)
    rows_and_reads = zip(progress(rows, unit="images"), reads, strict=True)
    found, bad = embed_stream(encoder, (read for _, read in rows_and_reads), threads)
    kept = [row for number, row in enumerate(rows) if number not in bad]
    rejected = [
        {**rows[number], "stage": "decode", "reason": str(reason), "lost": True}
        for number, reason in bad.items()
    ]
    logging.info("%d images embedded, %d in quarantine", len(kept), len(rejected))
    if len(rows) >= FEWEST_TO_JUDGE:
        limit, reasons = read_meta(manifest)["maximum_quarantine"], [r["reason"] for r in rejected]
        check_losses(set_name(manifest), len(rows), reasons, limit, f" (shard {shard})")
    meta = {"encoder": encoder.describe(), "params": cfg}
    meta["array"] = write_array(embeddings, found)
    write_table(index, pa.Table.from_pylist(kept, schema=IMAGE_INDEX), meta)
    write_table(quarantine, pa.Table.from_pylist(rejected, schema=QUARANTINE))


if __name__ == "__main__":
    with job(snakemake):
        embed_images(
            snakemake.input.manifest,
            snakemake.params.cfg["shard"],
            snakemake.input.source,
            snakemake.input.locators,
            snakemake.input.weights,
            snakemake.params.cfg["encoder"],
            snakemake.output.embeddings,
            snakemake.output.index,
            snakemake.output.quarantine,
            snakemake.threads,
            pins=PINNED,
        )
