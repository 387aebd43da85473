"""Confidence intervals of the share of images that are flagged."""

from math import sqrt
from statistics import NormalDist

import numpy as np


def share_interval(hits, groups=None, level=0.95):
    """Confidence interval (low, high) of a share of images: Wilson's, of an effective number of
    images where they come in groups (the frames of a video, the images of a patient).

    hits: bool [n], the images that are counted. groups: n hashable values, the group of every
    image; None if images are independent.
    """
    n, count = len(hits), int(np.sum(hits))
    if groups is None or not n:
        return wilson_interval(count, n, level)
    size = effective_size(hits, groups, level)
    return wilson_interval(count / n * size, size, level)


def effective_size(hits, groups, level=0.95):
    """How many independent images tell the share as well as n images in groups: a float, 0 for a
    single group.

    n / max(1, V / (p (1 - p) / n)), p the share and V its variance over G groups of m_g images with
    h_g hits, G / (G - 1) sum_g (h_g - p m_g)^2 / n^2 (a ratio estimate, linearised); times
    (z / t)^2, z the normal quantile and t Student's with G - 1 degrees of freedom, since V is
    estimated too. Where all or no images have a hit V tells nothing; images of a group then count
    as one: n^2 / sum_g m_g^2 (our choice, the widest).
    hits, groups: as in `share_interval`, n > 0.
    Source: Korn and Graubard, Survey Methodology 24 (1998); with Wilson's interval Franco, Little,
    Louis and Slud, J. Survey Statistics and Methodology 7 (2019).
    """
    from scipy.special import stdtrit

    code = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    codes, n = np.array([code[group] for group in groups]), len(hits)
    if len(code) < 2:
        return 0.0
    images, counts = np.bincount(codes), np.bincount(codes, weights=hits)
    p = counts.sum() / n
    if p in (0, 1):
        size = n**2 / (images**2).sum()
    else:
        variance = len(code) / (len(code) - 1) * ((counts - p * images) ** 2).sum() / n**2
        size = min(n, p * (1 - p) / variance)
    z = NormalDist().inv_cdf((1 + level) / 2)
    return float(size * (z / stdtrit(len(code) - 1, (1 + level) / 2)) ** 2)


def wilson_interval(hits, n, level=0.95):
    """Confidence interval (low, high) of a share, of `hits` in n independent images.

    Wilson (1927); of 0 images (0, 1).
    """
    if not n:
        return 0.0, 1.0
    z, share = NormalDist().inv_cdf((1 + level) / 2), hits / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)
