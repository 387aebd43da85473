"""Choose the negatives: concepts of one or more corpora that the positives do not cover.

Out: Parquet, one row per concept and block of negatives: negatives (name of the block), corpus,
concept_id (row in that corpus), concept and similarity (a quantile of its cosines to the
positives). A block that finds no negative has no rows; the metadata `missing` say why.
"""

import logging
from pathlib import Path

import numpy as np
import pyarrow as pa

from workflow_scripts.lib.artifacts import read_table, write_table
from workflow_scripts.lib.concepts.negatives import (
    METHODS,
    OF_CANDIDATES,
    candidates,
    common,
    outside,
    unrelated,
)
from workflow_scripts.lib.concepts.positives import read_corpora
from workflow_scripts.lib.errors import Impossible, reason
from workflow_scripts.lib.job import job
from workflow_scripts.lib.texts.trees import read_trees

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


def tree_of(block, files):
    """The tree of a config block, read from where its files are: part of speech -> Tree."""
    if not block["tree"]:
        return {}
    parts = Path(block["tree"]).parts
    paths = [path for file in files for path in (Path(file), Path(file).parent)]
    return read_trees(next(path for path in paths if path.parts[-len(parts) :] == parts))


def mine_negatives(positives, texts, concepts, trees, cfg, meta, output):
    """cfg: corpora (names, in the order of the texts) and negatives (config blocks by name)."""
    corpora, vectors = read_corpora(cfg["corpora"], texts, concepts)
    chosen = read_table(positives, ["concept", "concept_id"])
    names = chosen["concept"].to_pylist()
    positive_vectors = vectors[chosen["concept_id"].to_numpy()]
    parts, missing = [SCHEMA.empty_table()], {}
    for block_name, block in cfg["negatives"].items():
        asked = block["corpora"] or cfg["corpora"][:1]
        pool = np.flatnonzero(np.isin(corpora["corpus"].to_numpy(), asked))
        rows = pool[
            candidates(
                corpora["concept"].take(pool).to_pylist(),
                corpora["pos"].take(pool).to_pylist(),
                names,
                block["parts"],
                list(filters_of(block, tree_of(block, trees), names)),
            )
        ]
        parameters = {key: value for key, value in block.items() if key not in OF_CANDIDATES}
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
    write_table(output, pa.concat_tables(parts), meta | {"missing": missing})


if __name__ == "__main__":
    with job(snakemake):
        mine_negatives(
            snakemake.input.positives,
            snakemake.input.texts,
            snakemake.input.concepts,
            snakemake.input.trees,
            snakemake.params.cfg,
            {**snakemake.wildcards, "seed": int(snakemake.wildcards.seed)},
            snakemake.output[0],
        )
