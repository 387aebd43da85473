"""List an image folder: one manifest per shard, and a quarantine for files that are no images."""

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa

from workflow_scripts.lib import images
from workflow_scripts.lib.artifacts import write_table
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.job import job, progress


def list_images(folder, manifests, quarantine, hashes, labels="subfolder", threads=1):
    """Write the manifests, the quarantine table and the table of known hashes.

    manifests: one path per shard; an image's shard depends on its id alone. hashes: the table of
    an earlier run, if it exists, saves reading unchanged files; it is replaced.
    Raises InputError if no file is an image.
    """
    paths = images.list_folder(folder)
    known = images.read_hashes(hashes)
    shards = [[] for _ in manifests]
    rejected = []

    def describe(path):
        try:
            return images.describe(folder, path, labels, known)
        except images.BadImage as reason:
            return quarantine_row(path, reason)

    with ThreadPoolExecutor(threads) as pool:
        for row in progress(pool.map(describe, paths), total=len(paths), unit="files"):
            if "reason" in row:
                rejected.append(row)
            else:
                shards[images.shard_of(row["image_id"], len(shards))].append(row)

    rows = [row for shard in shards for row in shard]
    if not rows:
        first = rejected[0]
        raise InputError(
            f"None of the {len(paths)} files in {folder} is an image that can be read "
            f"(first: {first['path']}: {first['reason']})."
        )
    logging.info("%d images, %d files in quarantine", len(rows), len(rejected))
    for path, shard in zip(manifests, shards, strict=True):
        write_table(path, pa.Table.from_pylist(shard, schema=images.MANIFEST))
    write_table(quarantine, pa.Table.from_pylist(rejected, schema=images.QUARANTINE))
    images.write_hashes(hashes, rows)


def quarantine_row(path, reason):
    name = images.printable(path)
    return {"image_id": name, "path": name, "stage": "list", "reason": str(reason)}


if __name__ == "__main__":
    with job(snakemake):
        shards = range(snakemake.params.cfg["shards"])
        list_images(
            snakemake.input.folder,
            [Path(snakemake.output.manifest, f"{shard:05d}.parquet") for shard in shards],
            snakemake.output.quarantine,
            snakemake.output.hashes,
            snakemake.params.cfg["labels"],
            snakemake.threads,
        )
