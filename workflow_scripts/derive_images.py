"""Derive an image set from another one: some of its images, their embeddings copied.

Labels choose images here (for benchmarks); no clustering sees them.
Out: float16 embeddings [n, d] and their index, in the order of the source.
"""

import logging

import numpy as np

from workflow_scripts.lib.artifacts import replacing, write_table
from workflow_scripts.lib.benchmarks import difficulty
from workflow_scripts.lib.benchmarks import subsets as benchmarks
from workflow_scripts.lib.embeddings import open_embeddings
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.job import job

BLOCK = 65536
LEVELS = ("easy", "hard", "random")


def sample(images, cfg):
    """Rows of a random sample."""
    if cfg["images"] > images.rows:
        raise InputError(
            f"derive: {cfg['from']} has {images.rows} images, {cfg['images']} are asked for"
        )
    rng = np.random.default_rng(cfg["seed"])
    return np.sort(rng.choice(images.rows, cfg["images"], replace=False))


def imbalance(images, cfg):
    """Rows of the classes of middling size, or of a control."""
    labels, seed = np.array(images.labels, object), cfg["seed"]
    rows = benchmarks.imbalance_range(labels, cfg["half_width"])
    if cfg["control"] == "none":
        return rows
    equal = benchmarks.equal_size(labels, rows, seed)
    if cfg["control"] == "equal_size":
        return equal
    return benchmarks.same_shares(labels, rows, len(equal), seed)


def long_tail(images, cfg):
    """Rows of a long-tailed subset."""
    labels = np.array(images.labels, object)
    return benchmarks.long_tail(labels, cfg["ratio"], cfg["shape"], cfg["seed"])


def by_difficulty(images, cfg):
    """Rows of the easy, hard or random classes, all three with the same size of class."""
    labels, seed = np.array(images.labels, object), cfg["seed"]
    judge = {"knn": difficulty.knn_accuracy, "linear": difficulty.linear_probe_accuracy}
    accuracy = judge[cfg["classifier"]](
        images.arrays, labels, per_class=cfg["per_class"], seed=seed
    )
    code = benchmarks.class_codes(labels)[1]
    counts = np.bincount(code[code >= 0])
    selections = {
        which: benchmarks.select_by_difficulty(
            accuracy, counts, cfg["share"], which, seed, cfg["minimum_count"]
        )
        for which in LEVELS
    }
    chosen = selections[cfg["which"]]
    logging.info("accuracy of the %s classes: %.3f", cfg["which"], accuracy[chosen].mean())
    return benchmarks.matched_rows(labels, selections, seed)[cfg["which"]]


METHODS = {
    "sample": sample,
    "imbalance": imbalance,
    "long_tail": long_tail,
    "difficulty": by_difficulty,
}


def copy_rows(arrays, rows, output):
    """Write the rows (sorted int [n]) of joined arrays as one `.npy`, block by block."""
    starts = np.cumsum([0, *(len(array) for array in arrays)])
    shape = (len(rows), arrays[0].shape[1])
    with replacing(output) as temporary:
        out = np.lib.format.open_memmap(temporary, "w+", arrays[0].dtype, shape)
        for array, first, last in zip(arrays, starts, starts[1:], strict=False):
            low, high = np.searchsorted(rows, [first, last])
            for at in range(low, high, BLOCK):
                stop = min(at + BLOCK, high)
                out[at:stop] = array[rows[at:stop] - first]
        out.flush()
        del out


def derive_images(embeddings, index, cfg, output_embeddings, output_index):
    images = open_embeddings(embeddings, index)
    rows = METHODS[cfg["method"]](images, cfg)
    chosen = images.index.take(rows)
    classes = len(set(chosen["label"].to_pylist()) - {None})
    logging.info("%d of %d images, %d classes", len(rows), images.rows, classes)
    copy_rows(images.arrays, rows, output_embeddings)
    write_table(output_index, chosen, images.meta | {"derived": cfg})


if __name__ == "__main__":
    with job(snakemake):
        derive_images(
            snakemake.input.embeddings,
            snakemake.input.index,
            snakemake.params.cfg,
            snakemake.output.embeddings,
            snakemake.output.index,
        )
