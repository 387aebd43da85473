"""Images that occur twice: exact copies by the hash of their file, near ones by cosine.

A duplicate is a pair (image, other). The image sets have an order, the training set first, and the
other image comes before the image in it: of a set before, or of the same set and stored before. So
a group of n copies in one set gives n - 1 pairs, not n^2. Where a set shows the images of another
one (a shifted test set those of the test set), images of equal id are copies by design and no pair.
"""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from workflow_scripts.lib.concepts.similarity import tiles
from workflow_scripts.lib.embeddings import BLOCK

PAIR = ["image_set", "row", "other_set", "other_row"]


def exact_pairs(sets, shown):
    """Pairs of images whose files have the same SHA-256: a frame of PAIR, sorted.

    sets: name -> Embeddings, in order; images without a hash (precomputed) have no copies. shown:
    name -> name of the set whose images it shows, see `by_design`. An image with copies gives a
    pair with the first copy in each set up to its own. It is a join on the hash, linear in the
    number of images but for its sorting.
    """
    hashes = pa.chunked_array(
        [chunk for images in sets.values() for chunk in images.index["sha256"].chunks], pa.string()
    )
    codes = hashes.combine_chunks().dictionary_encode().indices.fill_null(-1)
    sizes = [images.rows for images in sets.values()]
    frame = pd.DataFrame({
        "code": codes.to_numpy(),
        "place": np.repeat(np.arange(len(sets)), sizes),
        "row": np.concatenate([np.arange(size) for size in sizes]),
    })  # fmt: skip
    frame = frame[(frame["code"] >= 0) & frame["code"].duplicated(keep=False)]
    first = frame.drop_duplicates(["code", "place"])
    pairs = frame.merge(first, on="code", suffixes=("", "_other"))
    same = (pairs["place"] == pairs["place_other"]) & (pairs["row"] == pairs["row_other"])
    pairs = pairs[(pairs["place_other"] <= pairs["place"]) & ~same]
    names = np.array(list(sets), object)
    found = pd.DataFrame({
        "image_set": names[pairs["place"]],
        "row": pairs["row"].to_numpy(),
        "other_set": names[pairs["place_other"]],
        "other_row": pairs["row_other"].to_numpy(),
    })  # fmt: skip
    return found[~by_design(found, sets, shown)].reset_index(drop=True)


def by_design(pairs, sets, shown):
    """Which pairs (a frame of PAIR) are one image in two sets that show the same images: bool [n].

    shown: name -> name of the set whose images a set shows; its ids are the same.
    """
    found = np.zeros(len(pairs), bool)
    for (one, other), rows in pairs.groupby(["image_set", "other_set"]).indices.items():
        if one != other and shown[one] == shown[other]:
            ids = sets[one].index["image_id"].take(pairs["row"].to_numpy()[rows])
            others = sets[other].index["image_id"].take(pairs["other_row"].to_numpy()[rows])
            found[rows] = np.equal(ids.to_numpy(), others.to_numpy())
    return found


def near_pairs(sets, shown, minimum, neighbours=None):
    """Pairs of images with a cosine of at least `minimum`: a frame of PAIR and `cosine`.

    sets, shown: as for `exact_pairs`; the first set is the training set. neighbours: int [N, k],
    its kNN graph, nearest first, or None. Every image of the other sets is compared with all images
    before it and gives at most one pair with each set, with the nearest: so time grows with the
    product of the numbers of images, pairs and memory with their sum. Training images are compared
    with their neighbours in the graph, if there is one.
    """
    names, frames = list(sets), [_frame("", [], "", [], [])]
    if neighbours is not None:
        rows, other_rows, cosines = pairs_of_graph(sets[names[0]], neighbours, minimum)
        frames.append(_frame(names[0], rows, names[0], other_rows, cosines))
    for place, name in enumerate(names[1:], 1):
        for other in names[: place + 1]:
            own = None
            if name == other:
                own = np.arange(sets[name].rows)
            elif shown[name] == shown[other]:
                own = same_images(sets[name], sets[other])
            nearest, cosines = nearest_rows(sets[name], sets[other], own, before=name == other)
            rows = np.flatnonzero(cosines >= minimum)
            frames.append(_frame(name, rows, other, nearest[rows], cosines[rows]))
    return pd.concat(frames, ignore_index=True)


def same_images(images, others):
    """The row among the others of the image with the same id, int [N]; -1 if there is none."""
    ids = others.index["image_id"].combine_chunks()
    return pc.index_in(images.index["image_id"], ids).fill_null(-1).to_numpy()


def _frame(image_set, rows, other_set, other_rows, cosines):
    columns = [image_set, np.asarray(rows, int), other_set, np.asarray(other_rows, int)]
    frame = pd.DataFrame(dict(zip(PAIR, columns, strict=True)))
    return frame.assign(cosine=np.minimum(np.asarray(cosines, np.float32), 1))


def nearest_rows(images, others, own=None, before=False):
    """The nearest of the other images for every image, exactly.

    images, others: Embeddings of the same encoder; both are streamed, and a tile of cosines is held
    (`similarity.tiles`). own: int [N], the row among the others that is the image itself and does
    not count, -1 if none is. before: whether only rows before `own` count. Of equal cosines the
    lower row is taken.
    Returns rows int64 [N] and cosines float32 [N]; -1 and -inf where there is no other image.
    """
    rows, best = np.full(images.rows, -1, np.int64), np.full(images.rows, -np.inf, np.float32)
    start = 0
    for block in others.blocks(BLOCK):
        searched = np.flatnonzero(own > start) if before else None
        stop = 0
        for part in tiles(images.blocks(rows=searched), {"other images": block}):
            at = np.arange(stop, stop + len(part))
            stop += len(part)
            at = at if searched is None else searched[at]
            sims = part @ block.T
            if own is not None:
                _hide(sims, own[at] - start, before)
            found = sims.argmax(axis=1)
            cosines = sims[np.arange(len(part)), found]
            better = cosines > best[at]
            rows[at[better]], best[at[better]] = start + found[better], cosines[better]
        start += len(block)
    return rows, best


def _hide(sims, own, before):
    """Set the cosine of every row in its column `own` to -inf; with `before` all from there on."""
    if before:
        if own.min() < sims.shape[1]:
            sims[np.arange(sims.shape[1]) >= own[:, None]] = -np.inf
    else:
        here = np.flatnonzero((own >= 0) & (own < sims.shape[1]))
        sims[here, own[here]] = -np.inf


def pairs_of_graph(images, neighbours, minimum):
    """Edges of a kNN graph with a cosine of at least `minimum`: rows, earlier rows, cosines.

    images: Embeddings of N images. neighbours: int [N, k], nearest first. An edge of both ends is
    one pair. An image's neighbours are looked at up to the first below the minimum.
    """
    found, rows = [_edges([], [], [])], np.arange(images.rows)
    for column in range(neighbours.shape[1]):
        others = np.asarray(neighbours[rows, column], np.int64)
        products = [
            (one * other).sum(axis=1)
            for one, other in zip(images.blocks(rows=rows), images.blocks(rows=others), strict=True)
        ]
        cosines = np.concatenate([np.empty(0, np.float32), *products])
        near = cosines >= minimum
        rows = rows[near]
        found.append(_edges(rows, others[near], cosines[near]))
    edges = pd.concat(found).drop_duplicates(["row", "other_row"]).sort_values(["row", "other_row"])
    return tuple(edges[name].to_numpy() for name in edges)


def _edges(rows, others, cosines):
    later, earlier = np.maximum(rows, others), np.minimum(rows, others)
    columns = (later.astype(np.int64), earlier.astype(np.int64), np.asarray(cosines, np.float32))
    return pd.DataFrame(dict(zip(("row", "other_row", "cosine"), columns, strict=True)))


def duplicates(sets, shown, minimum=None, neighbours=None):
    """All duplicates, a row per pair: kind, image_set, image_id, other_set, other_id, cosine.

    sets, shown, minimum, neighbours: see `near_pairs`; without a minimum only exact ones. kind is
    exact or near; the cosine of exact ones is 1. A near pair is left out if the image has an exact
    copy in that set.
    """
    exact = exact_pairs(sets, shown).assign(kind="exact", cosine=np.float32(1))
    near = exact[:0]
    if minimum is not None:
        near = near_pairs(sets, shown, minimum, neighbours).assign(kind="near")
        has_copy = pd.MultiIndex.from_frame(exact[PAIR[:3]])
        near = near[~pd.MultiIndex.from_frame(near[PAIR[:3]]).isin(has_copy)]
    pairs = pd.concat([exact, near], ignore_index=True) if len(near) else exact
    columns = {"kind": pairs["kind"]}
    for which in ("image", "other"):
        row = "row" if which == "image" else "other_row"
        columns[f"{which}_set"] = pairs[f"{which}_set"]
        columns[f"{which}_id"] = _ids(sets, pairs[f"{which}_set"], pairs[row])
    return pd.DataFrame(columns | {"cosine": pairs["cosine"]})


def _ids(sets, names, rows):
    ids = np.empty(len(rows), object)
    for name, chosen in names.groupby(names).indices.items():
        ids[chosen] = sets[name].index["image_id"].take(rows.to_numpy()[chosen]).to_pylist()
    return ids
