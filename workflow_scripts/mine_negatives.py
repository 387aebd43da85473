"""Choose the negatives: concepts of one or more corpora that the positives do not cover.

Out: Parquet, one row per concept and block of negatives: negatives (name of the block), corpus,
concept_id (row in that corpus), concept and similarity (a quantile of its cosines to the
positives, or to training images). A block that finds no negative has no rows; the metadata
`missing` say why. `lacking` counts the names of every given list that the corpora lack.
"""

import logging

import numpy as np
import pyarrow as pa

from workflow_scripts.lib.artifacts import read_table, write_table
from workflow_scripts.lib.concepts.given import given_rows
from workflow_scripts.lib.concepts.negatives import (
    METHODS,
    NOT_PARAMETERS,
    candidates,
    common,
    outside,
    unrelated,
)
from workflow_scripts.lib.concepts.positives import read_corpora
from workflow_scripts.lib.device import placed
from workflow_scripts.lib.embeddings import open_embeddings
from workflow_scripts.lib.errors import Impossible, reason
from workflow_scripts.lib.job import job
from workflow_scripts.lib.texts.trees import read_trees, tree_places

IMAGES = 20_000  # that a distance to images looks at; our choice

SCHEMA = pa.schema(
    [
        ("negatives", pa.string()),
        ("corpus", pa.string()),
        ("concept_id", pa.int32()),
        ("concept", pa.string()),
        ("similarity", pa.float32()),
    ]
)


def filters_of(block, trees, positives):
    """The filters that a config block asks for."""
    if not block["related"]:
        yield unrelated(trees, positives)
    if not block["proper"]:
        yield common(trees)
    if block["drop_files"]:
        yield outside(trees, block["drop_files"])


def places_of_trees(blocks, files):
    """The tree that a config block names -> where it is; files: of all trees, each once, in the
    order of the blocks."""
    named = dict.fromkeys(block["tree"] for block in blocks if block["tree"])
    return dict(zip(named, tree_places(files), strict=True))


def some_images(embeddings, index):
    """At most IMAGES training images at random (fixed seed), float32 [n, d]; None without files."""
    if not embeddings:
        return None
    images = open_embeddings(embeddings, index)
    rows = np.random.default_rng(0).permutation(images.rows)[:IMAGES]
    return images.array(np.sort(rows))


def mine_negatives(inputs, cfg, meta, output):
    """inputs: named paths: positives, texts, concepts, trees, given (the files of the blocks with
    the method `given`, in their order), train and train_index (none where no block measures by
    images). cfg: corpora (names, in the order of the texts) and negatives (config blocks by name).
    """
    corpora, vectors = read_corpora(cfg["corpora"], inputs.texts, inputs.concepts)
    chosen = read_table(inputs.positives, ["concept", "concept_id"])
    trees = places_of_trees(cfg["negatives"].values(), inputs.trees)
    images, given = placed(some_images(inputs.train, inputs.train_index)), iter(inputs.given)
    names = chosen["concept"].to_pylist()
    positive_vectors = vectors[chosen["concept_id"].to_numpy()]
    parts, missing, lacking = [SCHEMA.empty_table()], {}, {}
    for block_name, block in cfg["negatives"].items():
        asked = block["corpora"] or cfg["corpora"][:1]
        pool = np.flatnonzero(np.isin(corpora["corpus"].to_numpy(), asked))
        if block["method"] == "given":
            concepts_of_pool = corpora["concept"].take(pool).to_pylist()
            listed, lacking[block_name] = given_rows(next(given), block, concepts_of_pool, asked)
            pool = pool[listed]
        tree = read_trees(trees[block["tree"]]) if block["tree"] else {}
        rows = pool[
            candidates(
                corpora["concept"].take(pool).to_pylist(),
                corpora["pos"].take(pool).to_pylist(),
                names if block["exclude_positives"] else [],
                block["parts"],
                list(filters_of(block, tree, names)),
            )
        ]
        parameters = {key: value for key, value in block.items() if key not in NOT_PARAMETERS}
        if block["distance_to"] == "images":
            parameters["images"] = images
        pos = corpora["pos"].take(rows).to_pylist()
        try:
            ids, similarity = METHODS[block["method"]](
                vectors[rows], positive_vectors, pos, **parameters
            )
        except Impossible as error:
            missing[block_name] = reason(error)
            logging.warning("negatives %s: %s", block_name, missing[block_name])
            continue
        kept = corpora.take(rows[ids])
        columns = [
            [block_name] * len(ids),
            kept["corpus"],
            kept["concept_id"],
            kept["concept"],
            similarity,
        ]
        parts.append(pa.table(columns, names=SCHEMA.names).cast(SCHEMA))
    meta |= {"missing": missing} | ({"lacking": lacking} if lacking else {})
    write_table(output, pa.concat_tables(parts), meta)


if __name__ == "__main__":
    with job(snakemake):
        mine_negatives(
            snakemake.input,
            snakemake.params.cfg,
            {**snakemake.wildcards, "seed": int(snakemake.wildcards.seed)},
            snakemake.output[0],
        )
