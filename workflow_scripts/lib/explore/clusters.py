"""The pages of the clusters of a study: a card each, 200 a page, the largest first."""

from collections import Counter
from math import isnan

CARDS = 200  # on a page
TRUE_NAMES = 3  # of a cluster, the most frequent labels


def cards(names, labels=None, clusters=None):
    """One dict per cluster, the largest first: what a card shows.

    names: the rows of the table of `name_clusters`, dicts. labels, clusters: of the training
    images, lists of equal length, where labels are known; else None.
    Beside the columns of the table: page (from 1), same (ids of other clusters of the same name)
    and truth (up to TRUE_NAMES pairs of label and share of the images with a label).
    """
    found = sorted(names, key=lambda row: (-row["size"], row["cluster"]))
    named = {}
    for row in names:
        named.setdefault(row["name"], []).append(row["cluster"])
    truth = _labels_of(labels, clusters)
    return [
        row
        | {
            "page": 1 + i // CARDS,
            "same": [one for one in named[row["name"]] if row["name"] and one != row["cluster"]],
            "runners": list(zip(row["runners_up"], row["runner_up_votes"], strict=True)),
            "truth": truth.get(row["cluster"], []),
        }
        for i, row in enumerate(found)
    ]


def _labels_of(labels, clusters):
    """Cluster -> its most frequent labels and their shares of the labelled images."""
    if labels is None:
        return {}
    counts = {}
    for label, cluster in zip(labels, clusters, strict=True):
        if label is not None:
            counts.setdefault(cluster, Counter())[label] += 1
    return {
        cluster: [(label, n / counter.total()) for label, n in counter.most_common(TRUE_NAMES)]
        for cluster, counter in counts.items()
    }


def index(found):
    """What the script of a page knows of every cluster, to search, sort and link it: list of dicts.

    found: of `cards`.
    """
    return [
        {
            "id": int(card["cluster"]),
            "page": card["page"],
            "name": _name(card),
            "more": [*card["runners_up"], *(label for label, _ in card["truth"])],
            "size": int(card["size"]),
            "share": _number(card["share"]),
            "spread": _number(card["spread"]),
        }
        for card in found
    ]


def _name(card):
    return card["name"] or f"cluster {card['cluster']}"


def _number(value):
    return None if value is None or isnan(value) else round(value, 4)
