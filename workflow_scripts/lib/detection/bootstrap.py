"""Bootstrap of OOD metrics over images: confidence intervals and paired p-values.

The ID set and every OOD set are resampled apart (stratified), but for sets that share images or
groups of images (`resampling.py`). A resample is kept as counts, how often every image was drawn.
Counts depend on the seed, on names and sizes of sets, and on what these share. So all detectors,
mining methods and comparisons see the same resamples, which is what pairing them and averaging them
over OOD sets needs:

- a mean over OOD sets: the mean of their draws (they share the resampled ID images);
- a difference of two rows: the difference of their draws.

An interval covers the choice of images, or of groups. It says nothing of the spread over seeds.
Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), percentile interval in 13.3.
Percentile intervals, 1,000 resamples and the p-value of `paired_p_value` are our choice.
"""

import numpy as np

from workflow_scripts.lib.detection.metrics import fpr95_place
from workflow_scripts.lib.errors import InputError

METRICS = ("auroc", "fpr95")
MIN_SEEDS = 5  # for an interval over seeds
# Cumulative counts held at a time, over all image sets: 64 MB of int32.
TILE = 16_000_000


def resample_counts(name, n, resamples=1000, seed=0):
    """How often each image (or group) is drawn in every resample, n draws with replacement.

    name: of the image set; together with seed and n it fixes the result. n: number of images.
    Returns uint8 [n, resamples] (50 MB for 1,000 resamples of 50,000 images).
    """
    return Resamples(seed)(name, n, resamples)


class Resamples:
    """`resample_counts` part by part: of every set the next resamples, until all are drawn.

    Within a part, a name and n have the same counts whenever they are asked for.
    """

    def __init__(self, seed=0):
        self._seed, self._generators, self._part = seed, {}, {}

    def __call__(self, name, n, resamples):
        """The counts of this part, uint8 [n, resamples]."""
        if (name, n) not in self._part:
            start = np.random.default_rng([self._seed, *name.encode()])
            rng = self._generators.setdefault((name, n), start)
            counts = np.empty((n, resamples), np.uint8)
            for i in range(resamples):
                counts[:, i] = np.bincount(rng.integers(0, n, n, dtype=np.int32), minlength=n)
            self._part[name, n] = counts
        return self._part[name, n]

    def next_part(self):
        """Go on to further resamples, and forget the counts of this part."""
        self._part = {}


def metric_draws(samples, pairs):
    """AUROC and FPR95 of `ood_metrics` in every resample, for one detector and many pairs of sets.

    samples: dict of name -> (scores [n], counts uint8 [n, B]), scores higher = more
        in-distribution and finite (`ood_metrics` checks them). A union of sets is the
        concatenation of their scores and of their counts. The images drawn may be more or fewer
        than n, as of groups of several sizes, but not 0.
    pairs: iterable of (name of the ID sample, name of the OOD sample).
    Returns dict of (ID name, OOD name) -> {"auroc", "fpr95": float64 [B]}, with ties as in
    `ood_metrics`: the exact metrics of the resampled images.
    Sorting and cumulative counts are done once per sample; a pair then costs O(B x n_ood).
    Raises InputError if the numbers of resamples or images differ.
    """
    pairs = list(pairs)
    samples = {name: samples[name] for name in dict.fromkeys(n for pair in pairs for n in pair)}
    resamples = _checked(samples)
    order = {name: np.argsort(scores, kind="stable") for name, (scores, _) in samples.items()}
    ranked = {name: np.asarray(samples[name][0])[order[name]] for name in samples}
    draws = {pair: {metric: np.empty(resamples) for metric in METRICS} for pair in pairs}
    step = max(1, TILE // max(1, sum(map(len, ranked.values()))))
    for start in range(0, resamples, step):
        block = slice(start, start + step)
        below = {
            name: _cumulative(counts[:, block], order[name])
            for name, (_, counts) in samples.items()
        }
        for pair in pairs:
            values = _metrics(*(ranked[name] for name in pair), *(below[name] for name in pair))
            for metric, value in zip(METRICS, values, strict=True):
                draws[pair][metric][block] = value
    return draws


def _checked(samples):
    """The number of resamples that all samples share."""
    shapes = {name: (len(scores), *counts.shape) for name, (scores, counts) in samples.items()}
    for name, (n, images, _) in shapes.items():
        if n != images:
            raise InputError(f"bootstrap: {name} has {n} scores, but counts of {images} images")
    numbers = {resamples for *_, resamples in shapes.values()}
    if len(numbers) > 1:
        raise InputError(f"bootstrap: the image sets have {sorted(numbers)} resamples; use one")
    return numbers.pop() if numbers else 0


def _cumulative(counts, order):
    """int32 [n + 1, b]: of every resample the number drawn of the first i images in `order`."""
    below = np.zeros((len(order) + 1, counts.shape[1]), np.int32)
    below[1:] = counts[order]
    previous = below[0]
    for row in below[1:]:  # several times faster than np.cumsum along this axis
        row += previous
        previous = row
    return below


def _metrics(ids, oods, id_below, ood_below):
    """AUROC and FPR95 of b resamples, from sorted scores [n] and cumulative counts."""
    n_id, n_ood, column = id_below[-1], ood_below[-1], np.arange(id_below.shape[1])

    # ID images drawn below an OOD image, a tie counting half, are pairs in the wrong order.
    wrong = id_below[np.searchsorted(ids, oods, "left")]
    wrong += id_below[np.searchsorted(ids, oods, "right")]
    wrong *= np.diff(ood_below, axis=0)
    auroc = 1 - wrong.sum(axis=0, dtype=np.int64) / (2.0 * n_id * n_ood)

    # The OOD scores from the threshold on, which is a drawn ID score.
    threshold = ids[_drawn(id_below, fpr95_place(n_id))]
    rejected = ood_below[np.searchsorted(oods, threshold, "left"), column]
    return auroc, (n_ood - rejected) / n_ood


def _drawn(below, position):
    """Of every resample the image at its position [b], from 0, of its drawn images in order.

    By bisection, with below[low] <= position < below[high] in all resamples.
    """
    column = np.arange(below.shape[1])
    low, high = np.zeros_like(column), np.full_like(column, len(below) - 1)
    while (high - low > 1).any():
        middle = (low + high) // 2
        above = below[middle, column] > position
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return low


def interval(draws, level=0.95):
    """The percentile interval (low, high) of draws [..., B], over the last axis."""
    tail = (1 - level) / 2
    low, high = np.quantile(draws, [tail, 1 - tail], axis=-1)
    return low, high


def paired_p_value(differences):
    """Two-sided p-value that a row and a reference row on the same images have the same metric.

    differences: [..., B], their draws of the same resamples, subtracted; less than 1e-12 is none,
    so that the rounding error of means over seeds does not tell equal draws apart.
    p = 2 min(1 + #{difference <= 0}, 1 + #{difference >= 0}) / (B + 1), at most 1: about the
    smallest p at which the percentile interval of the difference leaves out 0. Rows with equal
    draws get 1; the least is 2 / (B + 1). NaN where a draw is. Not corrected for comparing many
    rows, which `holm` does.
    """
    difference = np.round(differences, 12)
    tails = np.minimum((difference <= 0).sum(axis=-1), (difference >= 0).sum(axis=-1))
    p = np.minimum(1.0, 2 * (1 + tails) / (difference.shape[-1] + 1))
    return np.where(np.isnan(difference).any(axis=-1), np.nan, p)[()]


def holm(p):
    """p-values [n] corrected for their number, so that the chance of one or more false positives
    stays below the level: float [n]. NaN stays and does not count.

    The i-th smallest, from 0, is multiplied by n - i; none gets less than one before it
    or more than 1.
    Source: Holm, A simple sequentially rejective multiple test procedure (1979).
    """
    p = np.asarray(p, float)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    corrected = np.full(len(p), np.nan)
    scaled = p[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(scaled)) if len(order) else []
    return corrected


def t_interval(values, level=0.95):
    """Student's interval (low, high) of the mean over seeds, values [n]; NaN below MIN_SEEDS.

    Fewer seeds do not tell their spread: of three, the interval is 2.5 standard deviations wide to
    each side. The least number is our choice.
    """
    if len(values) < MIN_SEEDS:
        return np.nan, np.nan
    from scipy.special import stdtrit

    width = stdtrit(len(values) - 1, (1 + level) / 2) * values.std(ddof=1) / len(values) ** 0.5
    return values.mean() - width, values.mean() + width


def interval_over_both(draws, values, level=0.95, seed=0):
    """The interval (low, high) of a mean over seeds for other images *and* other seeds.

    draws: [B], the bootstrap draws of the mean over seeds; values: [n], what it is a mean of.
    To every draw an error of the mean over seeds is added: their standard error times a draw of
    Student's t with n - 1 degrees of freedom. The result is the percentile interval. NaN below
    MIN_SEEDS. Source: the Behrens-Fisher distribution of a sum of two errors (Fisher 1935), the one
    of the images here by its bootstrap; it covers rather too often than too rarely.
    """
    if len(values) < MIN_SEEDS:
        return np.nan, np.nan
    error = np.random.default_rng(seed).standard_t(len(values) - 1, len(draws))
    return interval(draws + error * np.std(values, ddof=1) / len(values) ** 0.5, level)
