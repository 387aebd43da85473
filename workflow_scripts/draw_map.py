"""Draw a map of a study's images: one HTML page, which needs nothing else.

Out: the training and the scored images of the study, by the encoder of the deciding scores, as
points in the plane: by set, cluster and score, with a picture of some of them. Of more images than
`map.rows`, a random sample. A training image that is scored too is shown once, as scored.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from workflow_scripts.lib.artifacts import read_meta, read_table
from workflow_scripts.lib.detection.decisions import decider_of
from workflow_scripts.lib.embeddings import open_sets
from workflow_scripts.lib.explore.map import map_page
from workflow_scripts.lib.explore.pages import write_page
from workflow_scripts.lib.explore.projection import chosen_rows, project, sampled
from workflow_scripts.lib.explore.sprites import webp
from workflow_scripts.lib.images.thumbnails import thumbnails
from workflow_scripts.lib.job import job

SIZE = 64  # pixels of the longer side of a picture


def scores_of(path, column, named):
    """The deciding scores: a pyarrow Table with image_set, image_id, name, score and p_value.

    path, column: where they are. named: the file of the same images' nearest positives; none if
    nothing is named.
    """
    table = read_table(path).combine_chunks()
    nothing = pa.nulls(len(table), pa.float64())
    return pa.table(
        {
            "image_set": table["image_set"].cast(pa.string()),
            "image_id": table["image_id"],
            "name": (read_table(named) if named else table)["concept"].cast(pa.string()),
            "score": table[column].cast(pa.float64()),
            "p_value": table[f"{column} p"] if f"{column} p" in table.column_names else nothing,
        }
    )


def rows_of(images, image_set, scores):
    """The images of one set with their scores, which the training set need not have.

    images: its `Embeddings`.
    """
    own = scores.filter(pc.equal(scores["image_set"], image_set)).combine_chunks()
    ids = images.index["image_id"].combine_chunks()
    found = pc.index_in(ids, own["image_id"].combine_chunks())
    columns = {name: own[name].take(found) for name in ("name", "score", "p_value")}
    return pa.table({"image_set": pa.repeat(image_set, len(ids)), "image_id": ids, **columns})


def with_clusters(table, clusters, names, of_training):
    """The table with the cluster of every training image, and its name if the cluster has one.

    clusters, names: paths, or none. of_training: whether an image may be one, bool [n].
    """
    cluster, cluster_name = pa.nulls(len(table), pa.int32()), pa.nulls(len(table), pa.string())
    if clusters:
        known = read_table(clusters, ["image_id", "cluster"]).combine_chunks()
        ids = pc.if_else(of_training, table["image_id"], pa.scalar(None, pa.string()))
        cluster = known["cluster"].take(pc.index_in(ids, known["image_id"].combine_chunks()))
        cluster = pc.if_else(pc.greater_equal(cluster, 0), cluster, None).cast(pa.int32())
    if names:
        cluster_name = read_table(names, ["name"])["name"].take(cluster)
    table = table.append_column("cluster", cluster)
    return table.append_column("cluster_name", cluster_name)


def shown_once(table, source_of):
    """bool [n]: not the training images that are among the scored images too.

    table: the training set first. source_of: image set -> the set that holds its images.
    """
    first, sets = next(iter(source_of)), table["image_set"]
    rescored = [name for name in source_of if name != first and source_of[name] == source_of[first]]
    again = table.filter(pc.is_in(sets, pa.array(rescored, pa.string())))["image_id"]
    twice = pc.and_(pc.equal(sets, first), pc.is_in(table["image_id"], again.combine_chunks()))
    return ~twice.to_numpy()


def array_of(sets, rows):
    """Embeddings of these rows of all sets, one set after the other; float32 [n, d].

    sets: name -> `Embeddings`. rows: sorted row numbers [n].
    """
    starts = np.cumsum([0, *(images.rows for images in sets.values())])
    cuts = np.split(rows, np.searchsorted(rows, starts[1:-1]))
    parts = zip(sets.values(), cuts, starts[:-1], strict=True)
    return np.concatenate([images.array(own - start) for images, own, start in parts])


def pictures(table, inputs, cfg):
    """A data: address per image, "" of those without a picture; who has one, see `chosen_rows`."""
    uris = [""] * len(table)
    rows = chosen_rows(table["score"].to_numpy())
    ids, sets = table["image_id"].to_pylist(), table["image_set"].to_pylist()
    for name, root, locators in zip(cfg["stored"], inputs.source, inputs.locators, strict=True):
        own = [row for row in rows if cfg["source_of"][sets[row]] == name]
        found = thumbnails([ids[row] for row in own], root, locators, SIZE)
        for row in own:
            uris[row] = webp(found[ids[row]]) if found[ids[row]] else ""
    return uris


def draw_map(inputs, cfg, study, output):
    """inputs: named paths, embeddings and index (of the sets in order), scores (several files),
    named, clusters and names or none, source and locators of the sets in cfg["stored"]. cfg:
    projection, rows, deciders, parts and source_of (of the sets, the training set first), pages."""
    sets = open_sets(inputs.embeddings, inputs.index, cfg["parts"])
    decider = decider_of(inputs.scores, cfg["deciders"])
    scores = scores_of(decider.path, decider.column, inputs.named)
    table = pa.concat_tables([rows_of(images, name, scores) for name, images in sets.items()])
    train = next(iter(sets))
    train_sets = [n for n in sets if cfg["source_of"][n] == cfg["source_of"][train]]
    of_training = pc.is_in(table["image_set"], pa.array(train_sets, pa.string()))
    table = with_clusters(table, inputs.clusters, inputs.names, of_training)
    rows = np.flatnonzero(shown_once(table, cfg["source_of"]))
    total = len(rows)
    rows = rows[sampled(total, cfg["rows"])]
    embeddings = array_of(sets, rows)
    table = table.take(pa.array(rows)).combine_chunks()
    plane = project(embeddings, cfg["projection"])
    uris = pictures(table, inputs, cfg)
    meta = read_meta(decider.path) | cfg
    meta |= {"study": study, "total": total, "decide_by": decider.names}
    shown = map_page(table, plane, uris, meta)
    write_page(output, "map.html", cfg | {"study": study}, **shown)


if __name__ == "__main__":
    with job(snakemake):
        draw_map(
            snakemake.input, snakemake.params.cfg, snakemake.wildcards.study, snakemake.output.html
        )
