"""Render one image set of the demo world into a folder of label folders."""

import logging

from workflow_scripts.lib.demo import world
from workflow_scripts.lib.job import job


def render_images(spec, folder):
    """Write the images of `spec` (see `world.render`) as folder/<label>/<number>.jpg."""
    world.render_set(spec, folder)
    logging.info("%d images in %s", spec["images"], folder)


if __name__ == "__main__":
    with job(snakemake):
        render_images(snakemake.params.cfg, snakemake.output[0])
