"""Clusters joined by image id with the images of another encoder.

Two encoders of one image set may have its images in another order, and one may have quarantined an
image that the other embedded.
"""

import logging

import numpy as np
import pyarrow.compute as pc

from workflow_scripts.lib.artifacts import read_table
from workflow_scripts.lib.errors import InputError


def clusters_of_images(path, image_ids):
    """The cluster of every image, int32 [N]; -1 for images that were not clustered.

    path: Parquet file of the clusters of M images. image_ids: pyarrow array [N] of strings.
    Logs how many images either side lacks. Raises InputError if either lacks more than half of the
    other's.
    """
    table = read_table(path, ["image_id", "cluster"])
    row = pc.index_in(image_ids, value_set=table["image_id"].combine_chunks())
    known = pc.is_valid(row).to_numpy(zero_copy_only=False)
    both = int(known.sum())
    if 2 * both < max(len(known), len(table)):
        raise InputError(
            f"{path} clusters {len(table)} images, and {both} of them are among the {len(known)} "
            "that are named or scored; give both encoders the same images with the same ids"
        )
    if both < max(len(known), len(table)):
        logging.warning(
            "%d of %d images have no cluster, %d of %d clustered images are left out (%s)",
            *(len(known) - both, len(known), len(table) - both, len(table), path),
        )
    clusters = np.full(len(known), -1, np.int32)
    clusters[known] = table["cluster"].to_numpy()[row.drop_null().to_numpy()]
    return clusters
