"""From scores to decisions with a stated error: split conformal p-values and false discoveries.

Calibration images are in-distribution images that took no part in clustering and mining. If an
in-distribution image is exchangeable with them (drawn in the same way, neither filtered nor
shifted), its p-value is at most a with probability at most a, whatever the detector and however it
was mined. A shift of the images, duplicates of calibration images, or a detector that learns from
the images that it scores (AdaNeg) break this.
"""

import math

import numpy as np

from workflow_scripts.lib.errors import InputError


def p_values(calibration, scores):
    """Conformal p-values of scored images: (1 + #{calibration scores <= score}) / (1 + n).

    calibration: [n], scores: [N]; higher = more in-distribution, compared in float64. Equal scores
    count against an image, so ties make no image look more foreign.
    Returns float64 [N], at least 1 / (1 + n). Source: Vovk, Gammerman and Shafer, "Algorithmic
    Learning in a Random World" (2005), as Bates et al. (arXiv 2104.08279) use them for outliers.
    Raises InputError if there are no calibration scores or some are not finite.
    """
    calibration = np.sort(_checked(calibration, "calibration"))
    if not len(calibration):
        raise InputError("there are no calibration images; raise `calibrate.share` or name a set")
    scores = _checked(scores, "scored")
    return (1 + np.searchsorted(calibration, scores, side="right")) / (1 + len(calibration))


def _checked(scores, name):
    scores = np.asarray(scores, np.float64).ravel()
    if not np.isfinite(scores).all():
        raise InputError(f"some scores of {name} images are NaN or infinite; score them again")
    return scores


def flagged(p, rate):
    """Which images are flagged at a false-alarm rate: bool [N], p <= rate.

    Of exchangeable in-distribution images at most the share `rate` is flagged, on average over
    draws of the calibration images. With fewer than `least_number` of these nothing can be flagged.
    """
    return np.asarray(p) <= rate


def least_number(rate):
    """The least number of calibration images that can flag an image at this rate: 1 / rate - 1,
    rounded up. With n of them no p-value is below 1 / (1 + n)."""
    n = max(0, math.ceil(1 / rate) - 2)
    while not flagged(1 / (1 + n), rate):  # as the p-values are rounded
        n += 1
    return n


def discoveries(p, rate):
    """Which images are flagged so that at most the share `rate` of the flagged is expected to be
    in-distribution: bool [N].

    Benjamini and Hochberg (1995) over all N images of one scored set: all p up to the largest
    p_(i) <= rate i / N. Conformal p-values of one calibration set allow it (Bates et al., theorem
    2). It can flag none: p has steps of 1 / (1 + n), so few foreign images need many calibration
    images.
    """
    p = np.asarray(p, np.float64)
    ordered = np.sort(p)
    passed = np.flatnonzero(ordered <= rate * np.arange(1, len(p) + 1) / max(1, len(p)))
    return p <= ordered[passed[-1]] if len(passed) else np.zeros(len(p), bool)
