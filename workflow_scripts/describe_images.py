"""Describe every image of a study in one row: where it is, what it shows, how it scores.

Out: Parquet and CSV, the training images first, then the scored ones (those of a training set that
is scored are in these alone): image_set, image_id; path and member (of archives), which open it;
cluster and its name; concepts, of training images the best three, of scored ones the nearest
positive; and of scored images its cosine and the score of every detector that uses names. They are
those of the study's first encoder, clustering, mining method by clusters, and seed. A scored image
is in the cluster that the clustering assigns it to. In a calibrated study also p_value and flagged,
of what decides in the study (empty for training and calibration images).
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from workflow_scripts.lib.artifacts import read_table, write_table
from workflow_scripts.lib.clustering.methods import load_method
from workflow_scripts.lib.detection.decisions import decisions_on
from workflow_scripts.lib.embeddings import open_embeddings
from workflow_scripts.lib.images.places import paths_of
from workflow_scripts.lib.job import job, progress
from workflow_scripts.lib.replacing import replacing
from workflow_scripts.lib.tensors import read_tensors

CONCEPTS = 3  # of a training image


def lists_of(values, length):
    """A pyarrow column of lists of this length, from a flat array."""
    return pa.ListArray.from_arrays(np.arange(0, len(values) + 1, length, dtype=np.int32), values)


def training_images(inputs, image_set):
    """The rows of the training images, a pyarrow Table without places and names of clusters."""
    table = read_table(inputs.similarity, ["image_id", "concept_ids"]).combine_chunks()
    names = read_table(inputs.concepts, ["concept"])["concept"].combine_chunks()
    ids = table["concept_ids"].combine_chunks().flatten().to_numpy().reshape(len(table), -1)
    best = ids[:, :CONCEPTS]
    return pa.table(
        {
            "image_set": pa.repeat(image_set, len(table)),
            "image_id": table["image_id"],
            "cluster": read_table(inputs.clusters, ["cluster"])["cluster"],
            "concepts": lists_of(names.take(pa.array(best.ravel())), best.shape[1]),
        }
    )


def scored_images(inputs, cfg):
    """The rows of the scored images, with the columns of the score file."""
    images = open_embeddings(inputs.embeddings, inputs.index)
    blocks = progress(images.blocks(), unit="block")
    assigned, _ = load_method(cfg["method"]).assign(blocks, read_tensors(inputs.model), cfg)
    scores = read_table(inputs.scores)
    columns = {
        "image_set": scores["image_set"].cast(pa.string()),
        "image_id": scores["image_id"],
        "cluster": assigned,
        "concepts": lists_of(scores["concept"].combine_chunks(), 1),
    }
    return pa.table(
        columns | {name: scores[name] for name in scores.column_names[3:]}  # cosine and detectors
    )


def with_decisions(table, paths, deciders):
    """The table with the columns p_value and flagged."""
    sets, ids = (table[name].to_pandas() for name in ("image_set", "image_id"))
    p, flags = decisions_on(sets, ids, paths, deciders)
    p = pa.array(p, pa.float64(), from_pandas=True)
    return table.append_column("p_value", p).append_column("flagged", pa.array(flags, pa.bool_()))


def with_places(table, places, locators):
    """The table with the columns path and member, set by set.

    places: see `describe_images`. locators: paths, of the sets whose place is an archive, in order.
    """
    remaining, parts = iter(locators), []
    sets = table["image_set"].combine_chunks()
    for image_set, place in places.items():
        rows = table.filter(pc.equal(sets, image_set)).combine_chunks()
        where = next(remaining) if place["archived"] else None
        path, member = paths_of(rows["image_id"].combine_chunks(), place["root"], where)
        parts.append(rows.add_column(2, "path", path).add_column(3, "member", member))
    return pa.concat_tables(parts)


def describe_images(inputs, cfg, parquet, csv):
    """inputs: named paths, similarity, concepts, clusters, names, model, scores, embeddings and
    index (of the scored images), locators, decisions (none without calibration). cfg: train (an
    image set), places (image set -> root and archived, the training set first), clustering (the
    block with its seed) and deciders (of `queries`)."""
    scored = scored_images(inputs, cfg["clustering"])
    if inputs.decisions:
        scored = with_decisions(scored, inputs.decisions, cfg["deciders"])
    alone = cfg["train"] in scored["image_set"].unique().to_pylist()  # it has its rows then
    rows = [scored] if alone else [training_images(inputs, cfg["train"]), scored]
    table = with_places(
        pa.concat_tables(rows, promote_options="default"), cfg["places"], inputs.locators
    )
    names = read_table(inputs.names, ["name"])["name"]
    at = table.column_names.index("concepts")
    table = table.add_column(at, "cluster_name", names.take(table["cluster"]))
    write_table(parquet, table)
    texts = table.set_column(at + 1, "concepts", pc.binary_join(table["concepts"], "; "))
    with replacing(csv) as temporary:
        pyarrow.csv.write_csv(texts, temporary)


if __name__ == "__main__":
    with job(snakemake):
        describe_images(
            snakemake.input,
            snakemake.params.cfg,
            snakemake.output.parquet,
            snakemake.output.csv,
        )
