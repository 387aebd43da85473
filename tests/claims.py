"""What the documentation says in numbers and pictures, and how each follows from the results.

`tests/figures.py` compares them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# Torch trains another model on another CPU: TEMI's figures were up to 1.1 points apart on two.
TORCH = 1.5


@dataclass(frozen=True)
class Claim:
    """A text of a Markdown file with numbers.

    text: as it is written, {} for each number; spaces stand for any white space. numbers: function
    of `read`, (path of a Parquet file below results/) -> data frame, to the values in order.
    tolerance: how far each number may be off beside its rounding; () for not at all.
    """

    file: str
    text: str
    numbers: Callable
    tolerance: tuple = ()


@dataclass(frozen=True)
class Picture:
    """A picture of the documentation: the top `height` rows of a figure, None for the whole."""

    file: str
    figure: str
    height: int | None = None


# ---- deep clustering ----------------------------------------------------------------------

PROTOCOLS = "config/protocols.md"
METHODS = ("kmeans", "temi", "scan", "turtle")


def clusterings(read):
    """The benchmarks, each image set once."""
    rows = read("tables/deep_clustering.parquet")
    return rows.drop_duplicates(["image_set", "clustering", "seed"])


def acc(image_set, *names):
    """Function of `read`: mean ACC over seeds in percent, of these clusterings of an image set."""

    def values(read):
        rows = clusterings(read)
        means = rows[rows["image_set"] == image_set].groupby("clustering")["acc"].mean()
        return [100 * means[name] for name in names]

    return values


def joined(*functions):
    return lambda read: [value for function in functions for value in function(read)]


def accuracies(read):
    """Mean ACC over seeds: a row per image set, a column per clustering, without unknown_number."""
    rows = clusterings(read)
    rows = rows[rows["axis"] != "unknown_number"]
    return rows.pivot_table("acc", "image_set", "clustering", "mean")


def wins(read):
    """Image sets on which TEMI beats k-means, how many there are; SCANv2's wins."""
    means = accuracies(read)
    beaten = {name: int((means[name] > means["kmeans"]).sum()) for name in METHODS}
    return [beaten["temi"], len(means), beaten["scan"]]


def wins_over_random(read):
    means = accuracies(read)
    return [int((means["temi"] > means["kmeans_random"]).sum()), len(means)]


def gaps(read):
    """Classes of the three ranges; TEMI minus k-means in points; that with equal class sizes."""
    means, rows = accuracies(read), clusterings(read)
    gap = 100 * (means["temi"] - means["kmeans"])
    widths = (10, 30, 50)
    classes = rows.groupby("image_set")["classes"].first()
    ranges = [f"train_percentiles_{width}" for width in widths]
    equal = [f"train_equal_{width}" for width in widths]
    return [*classes[ranges], *gap[ranges], *gap[equal]]


def used_clusters(read):
    rows = clusterings(read)
    rows = rows[rows["axis"] == "unknown_number"]
    found = rows.groupby("image_set")["used_clusters"].agg(["min", "max"])
    classes = rows.groupby("image_set")["classes"].first()
    return [x for s in ("world", "world_random") for x in (*found.loc[s], classes[s])]


def second_clusters(read):
    """In percent: texture and shape shared (k-means, TEMI, chance), then the shape alone."""
    rows = read("tables/multiple_classes.parquet")
    rows = rows[(rows["rank"] == 2) & rows["clustering"].isin(["kmeans", "temi"])]
    means = 100 * rows.groupby(["hit", "clustering"])[["rate", "chance"]].mean()
    values = []
    for hit in ("level 1", "level 2"):
        own = means.loc[hit]
        values += [*own.loc[["kmeans", "temi"], "rate"], own["chance"].mean()]
    return values


# ---- the demo -----------------------------------------------------------------------------

MINED = "tinyclip/train/demo_words/kmeans_60/clustermine/seed0"
SIMILARITY = "similarity/tinyclip/train/demo_words.parquet"


def images_nearest_to(concept):
    """Function of `read`: how many training images have this concept as their best."""

    def values(read):
        words = read("corpora/demo_words.parquet")["concept"]
        best = read(SIMILARITY)["concept_ids"].str[0]
        return [int((words[best] == concept).sum())]

    return values


def votes_of(concept):
    """Function of `read`: votes of a mined concept, and images of its cluster."""

    def values(read):
        row = read(f"concepts/{MINED}.parquet").set_index("concept").loc[concept]
        return [row["votes"], row["size"]]

    return values


def named_exactly(read):
    """Share of the training images whose best concept is their true name, in percent."""
    words = read("corpora/demo_words.parquet")["concept"]
    labels = read("embeddings/tinyclip/images/train/00000.parquet")["label"]
    best = read(SIMILARITY)["concept_ids"].str[0]
    return [100 * np.mean(words[best].to_numpy() == labels.str.replace("_", " ").to_numpy())]


def rows_of(path):
    return lambda read: [len(read(path))]


CLAIMS = [
    Claim("README.md", "found in {} unlabelled images", rows_of("images/train/manifest.parquet")),
    Claim("workflow_scripts/README.md", "the best concept of {} training images",
          images_nearest_to("solid cyan ring")),
    Claim("workflow_scripts/README.md", "all {} are in one cluster of {} images",
          votes_of("solid cyan ring")),
    Claim("config/demo/README.md", "`**: {} concepts.", rows_of("corpora/demo_words.parquet")),
    Claim("config/demo/README.md", "{} % of the demo's training images get exactly their true name",
          named_exactly),
    Claim(PROTOCOLS, "largest class 10 times the smallest: {}, {}; 50 times: {}, {}",
          joined(acc("world_tail_10", "kmeans", "temi"), acc("world_tail_50", "kmeans", "temi")),
          (0, TORCH, 0, TORCH)),
    Claim(PROTOCOLS, "balanced: k-means {}, TEMI {};", acc("world", "kmeans", "temi"), (0, TORCH)),
    Claim(PROTOCOLS, "beats k-means on {} of {} image sets, SCANv2 on {};", wins, (1, 0, 1)),
    Claim(PROTOCOLS, "balanced set: k-means {}, with a random start {}, TEMI {};",
          acc("world", "kmeans", "kmeans_random", "temi"), (0, 0, TORCH)),
    Claim(PROTOCOLS, "TEMI beats a random start on {} of {} |", wins_over_random, (1, 0)),
    Claim(PROTOCOLS, "k-means / TEMI: easy {} / {}, random {} / {}, hard {} / {}",
          joined(*(acc(f"world_{kind}", "kmeans", "temi") for kind in ("easy", "random", "hard"))),
          (0, TORCH) * 3),
    Claim(PROTOCOLS, "TEMI minus k-means, {}, {} and all {} classes: {}, {}, {}; cut to equal "
          "sizes: {}, {}, {}", gaps, (0,) * 3 + (TORCH,) * 6),
    Claim(PROTOCOLS, "| {} to {} for {} classes, {} to {} for {} |", used_clusters, (2, 2, 0) * 2),
    Claim(PROTOCOLS, "the true one for {} % (k-means) and {} % (TEMI), by chance {} %; the shape "
          "for {} % and {} %, by chance {} %", second_clusters, (0, TORCH, TORCH) * 2),
]  # fmt: skip
PICTURES = [
    Picture("config/pictures/demo.png", "figures/demo.png"),
    Picture("config/pictures/concepts.png", f"figures/{MINED}.png", 436),
]
