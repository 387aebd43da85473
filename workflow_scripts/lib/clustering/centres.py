"""Images among clusters that another encoder made: in that of the nearest mean embedding.

No clustering of the config: a stored detector takes its images in so, since it has one encoder. The
other encoder may put an image into another cluster.
"""

import numpy as np

from workflow_scripts.lib.clustering.centroids import nearest


def assign(blocks, weights, cfg):
    """The cluster of every image and its cosine to the mean, see `methods`.

    weights: `centres`, float32 [K, d], as `average_clusters.py` writes them: unit norm, but zero
    where no image is to be averaged; such a cluster takes in none.
    """
    known = np.flatnonzero(weights["centres"].any(axis=1))
    found, cosines = nearest(blocks, weights["centres"][known], spherical=True)
    return known[found].astype(np.int32), cosines
