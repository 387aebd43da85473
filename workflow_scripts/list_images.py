"""List an image set: the manifest of its images, and a quarantine for files that are no images.

Of sets in archives or tables also where each image is in them.
"""

import logging

from workflow_scripts.lib.artifacts import write_table
from workflow_scripts.lib.images.containers import write_locators
from workflow_scripts.lib.images.listing import scan
from workflow_scripts.lib.images.losses import check_losses
from workflow_scripts.lib.images.manifest import MANIFEST, set_name, write_rows
from workflow_scripts.lib.images.record import confirm
from workflow_scripts.lib.job import job


def list_images(source, manifest, locators, quarantine, cfg, record, root=None, threads=1):
    """Write the manifest, the locators and the quarantine table.

    source, root, threads: see `scan`. The manifest depends on the images alone, not on where they
    are. cfg: kind, labels and options of `open_container`, the number of shards,
    maximum_quarantine (the share of the images that may be lost, which the manifest's metadata
    hand on to `embed_images`), and `state`, the names that `set_state` gave. record: path of the
    set's record (see `record.py`). It is neither read nor written where state is None, for images
    that the workflow makes itself, and where its names are, in a folder without records.
    Raises InputError if no file is an image, too many images are lost, or the images changed after
    they got their names.
    """
    recorded = cfg["state"] is not None and cfg["state"]["listing"] is not None
    listing = scan(source, cfg, record if recorded else None, root, threads)
    images, rejected = listing.table, listing.rejected
    logging.info("%d images, %d files in quarantine", len(images), len(rejected))
    if not listing.labelled:
        logging.info("no image has a label (labels: %s)", cfg["labels"])
    lost = rejected.filter(rejected["lost"])["reason"].to_pylist()
    limit = cfg["maximum_quarantine"]
    check_losses(set_name(manifest), len(images) + len(lost), lost, limit)
    write_rows(manifest, images, MANIFEST, {"maximum_quarantine": limit})
    write_locators(locators, listing, cfg)
    write_table(quarantine, rejected)
    if recorded:
        confirm(record, cfg["state"], listing)


if __name__ == "__main__":
    with job(snakemake):
        list_images(
            snakemake.input.source,
            snakemake.output.manifest,
            snakemake.output.locators,
            snakemake.output.quarantine,
            snakemake.params.cfg,
            f"results/images/{snakemake.wildcards.image_set}/hashes.parquet",
            snakemake.input.get("root"),
            snakemake.threads,
        )
