"""Embed shards of an image set; images that fail to decode go into a quarantine.

Every shard is embedded by itself, so that it comes out alike whatever else is in the job.
"""

import hashlib
import json
import logging
import uuid
from pathlib import Path

import numpy as np
import pyarrow as pa

from workflow_scripts.lib.artifacts import read_meta
from workflow_scripts.lib.embeddings import IMAGE_INDEX
from workflow_scripts.lib.encoders.loading import PINNED, load_encoder, with_weights
from workflow_scripts.lib.encoders.shards import Shards
from workflow_scripts.lib.encoders.stream import embedding
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images.containers import image_readers
from workflow_scripts.lib.images.entries import Rejected
from workflow_scripts.lib.images.listed import as_listed
from workflow_scripts.lib.images.losses import check_losses
from workflow_scripts.lib.images.manifest import QUARANTINE, read_shard, set_name
from workflow_scripts.lib.job import job, progress

FEWEST_TO_JUDGE = 20  # images of a shard that can fail alone; smaller ones: collect_quarantine


def embed_images(
    manifest, shards, source, locators, weights, cfg, embeddings, threads=1, pins=None
):
    """Write unit-norm embeddings, float16 [n, d], and beside them their index, row by row in step,
    and the quarantine.

    shards: number of each in the manifest -> its name, see `Shards`. source: what holds the images;
    locators: where in it (see `image_readers`). weights: the files of a local encoder (see
    `with_weights`). cfg: the encoder's config block, and pins (see `load_encoder`). Images are
    decoded by `threads` processes ahead of the model.
    Raises InputError if more of a shard is lost than the manifest's maximum_quarantine allows.
    """
    if not Path(source).exists():
        raise InputError(f"{source} does not exist: correct the path in the config.")
    parts = Shards(embeddings, list(shards.values()))
    encoder = load_encoder(with_weights(cfg, weights), threads, texts=False, pins=pins)
    with embedding(encoder, threads) as embed:
        for shard, name in shards.items():
            if name not in parts:
                rows = read_shard(manifest, shard, IMAGE_INDEX.names)
                reads = as_listed(rows, image_readers(rows["image_id"], source, locators, shard))
                blocks, bad = embed(progress(reads, total=len(rows), unit="images"))
                note = parts.write(name, blocks, encoder.dim)
                check_shard(manifest, shard, len(rows), bad)
                parts.finish(name, note, *tables_of(rows, bad))
    parts.join({"encoder": encoder.describe(), "params": cfg})


def check_shard(manifest, shard, images, bad):
    """Raise InputError if too many images of a shard are bad (number -> reason)."""
    logging.info(
        "shard %d: %d images embedded, %d in quarantine", shard, images - len(bad), len(bad)
    )
    if images >= FEWEST_TO_JUDGE:
        limit, reasons = read_meta(manifest)["maximum_quarantine"], map(str, bad.values())
        check_losses(set_name(manifest), images, reasons, limit, f" (shard {shard})")


def tables_of(rows, bad):
    """The index of a shard's images and its quarantine, Tables.

    rows: of the manifest, a Table of IMAGE_INDEX. bad: number -> reason.
    """
    kept = np.ones(len(rows), bool)
    kept[list(bad)] = False
    index = rows.filter(pa.array(kept))
    ids = rows["image_id"].take(pa.array(bad, pa.int64()))
    rejected = [
        Rejected(name, name, None, "decode", str(reason), True)
        for name, reason in zip(ids.to_pylist(), bad.values(), strict=True)
    ]
    return (
        index.cast(IMAGE_INDEX).combine_chunks(),
        pa.Table.from_pylist([row._asdict() for row in rejected], schema=QUARANTINE),
    )


def names_of(params):
    """Number of each shard -> a name that changes with its images, the encoder and the code.

    Where the state of the images is not known, it is another name every time.
    """
    made_by = [params.cfg["encoder"], params.code, params.above]
    names = {}
    for number, state in params.cfg["shards"].items():
        text = json.dumps([*made_by, number, state or uuid.uuid4().hex], sort_keys=True)
        names[number] = hashlib.sha256(text.encode()).hexdigest()[:12]
    return names


if __name__ == "__main__":
    with job(snakemake):
        embed_images(
            snakemake.input.manifest,
            names_of(snakemake.params),
            snakemake.input.source,
            snakemake.input.locators,
            snakemake.input.weights,
            snakemake.params.cfg["encoder"],
            snakemake.output.embeddings,
            snakemake.threads,
            pins=PINNED,
        )
