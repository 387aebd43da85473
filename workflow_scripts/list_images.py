"""List an image set: one manifest per shard, and a quarantine for files that are no images.

Of sets in archives or tables also where each image is in them.
"""

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa

from workflow_scripts.lib.artifacts import write_table
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images import files as images
from workflow_scripts.lib.images.containers import LOCATED_KINDS, open_container, write_locators
from workflow_scripts.lib.job import job, progress

CHUNK = 256  # files per task of a thread, at most


def list_images(source, manifests, quarantine, hashes, locators, cfg, root=None, threads=1):
    """Write the manifests, the quarantine table and the table of known hashes.

    source: a folder, an archive or a table, or a folder of these. manifests: one path per shard;
    an image's shard depends on its id alone, and a manifest on the images alone, not on where they
    are. hashes: the table of an earlier run, if it exists, saves reading unchanged files; it is
    replaced. locators: a folder, where archives and tables get one file per manifest.
    cfg: kind, labels and options of `open_container`. root: the folder that a list's paths are
    relative to.
    Raises InputError if no file is an image.
    """
    meta = {key: cfg[key] for key in ("kind", "labels", "options")}
    options = cfg["options"] | ({"root": root} if root else {})
    container = open_container(cfg["kind"], source, cfg["labels"], **options)
    known = images.read_hashes(hashes)
    entries = list(container.entries())
    shards = [[] for _ in manifests]
    rejected = []

    def describe(entry):
        image_id, locator = entry
        try:
            return container.describe(image_id, locator, known)
        except images.BadImage as reason:
            return quarantine_row(image_id, reason)

    # One thread keeps the order of storage, which compressed archives are read in.
    described = mapped(describe, entries, 1 if container.sequential else threads)
    for row in progress(described, total=len(entries), unit="files"):
        if "reason" in row:
            rejected.append(row)
        else:
            shards[images.shard_of(row["image_id"], len(shards))].append(row)

    for table in (*shards, rejected):
        table.sort(key=lambda row: row["image_id"])
    rows = [row for shard in shards for row in shard]
    if not rows:
        first = rejected[0]
        raise InputError(
            f"None of the {len(entries)} files in {source} is an image that can be read "
            f"(first: {first['path']}: {first['reason']})."
        )
    logging.info("%d images, %d files in quarantine", len(rows), len(rejected))
    Path(locators).mkdir(parents=True, exist_ok=True)
    for path, shard in zip(manifests, shards, strict=True):
        write_table(path, pa.Table.from_pylist(shard, schema=images.MANIFEST))
        if cfg["kind"] in LOCATED_KINDS:
            write_locators(Path(locators, Path(path).name), shard, meta)
    write_table(quarantine, pa.Table.from_pylist(rejected, schema=images.QUARANTINE))
    images.write_hashes(hashes, rows)


def mapped(function, items, threads):
    """Map `function` over a list in threads, in order; in chunks, as each task costs more than a
    small file."""
    if threads == 1:
        yield from map(function, items)
        return
    size = min(CHUNK, len(items) // (4 * threads) + 1)
    chunks = (items[start : start + size] for start in range(0, len(items), size))
    with ThreadPoolExecutor(threads) as pool:
        for results in pool.map(lambda chunk: [function(item) for item in chunk], chunks):
            yield from results


def quarantine_row(path, reason):
    name = images.printable(path)
    return {"image_id": name, "path": name, "stage": "list", "reason": str(reason)}


if __name__ == "__main__":
    with job(snakemake):
        shards = range(snakemake.params.cfg["shards"])
        list_images(
            snakemake.input.source,
            [Path(snakemake.output.manifest, f"{shard:05d}.parquet") for shard in shards],
            snakemake.output.quarantine,
            snakemake.output.hashes,
            snakemake.output.locators,
            snakemake.params.cfg,
            snakemake.input.get("root"),
            snakemake.threads,
        )
