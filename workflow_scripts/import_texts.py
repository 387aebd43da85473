"""Import a user's precomputed text embeddings into the layout that embed_texts writes."""

import numpy as np
import pyarrow as pa

from workflow_scripts.lib.artifacts import write_array, write_table
from workflow_scripts.lib.corpora import concept_table, normalise
from workflow_scripts.lib.embeddings import (
    normalise_rows,
    precomputed_encoder,
    read_index,
    read_precomputed,
)
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.job import job


def import_texts(embeddings_in, index_in, cfg, embeddings, index):
    """Join one or more lists of text embeddings: unit-norm float16 [V, d] and its index.

    embeddings_in: `.npy` files [V_l, d]. index_in: their Parquet tables. cfg: {"encoder": name,
    "sources": a name per list, "columns": per list its column of the concepts, beside which it may
    have pos, "pos": part of speech where a table gives none}. Names are normalised; the first of
    equal names stays. Raises InputError.
    """
    chosen, blocks = {}, []
    lists = zip(embeddings_in, index_in, cfg["sources"], cfg["columns"], strict=True)
    for array_path, table_path, source, column in lists:
        table = read_index(table_path, column, ["pos"])
        array = read_precomputed(array_path, len(table))
        if blocks and array.shape[1] != blocks[0].shape[1]:
            raise InputError(
                f"{array_path} has dimension {array.shape[1]}, but {embeddings_in[0]} has "
                f"{blocks[0].shape[1]}: all lists of a corpus need the same encoder."
            )
        kept = []
        for row, (name, pos) in enumerate(names_and_pos(table, column)):
            concept = normalise(name)
            if concept and concept not in chosen:
                chosen[concept] = (pos or cfg.get("pos") or "noun", source)
                kept.append(row)
        blocks.append(normalise_rows(array, array_path)[kept])
    rows = np.concatenate(blocks)
    if not len(rows):
        raise InputError(f"{', '.join(index_in)}: no concept has a name.")
    write_array(embeddings, rows)
    table = concept_table(list(chosen), *zip(*chosen.values(), strict=True))
    write_table(index, table, {"encoder": precomputed_encoder(cfg["encoder"], rows.shape[1])})


def names_and_pos(table, column):
    """Iterate over (concept, pos or None) as strings."""
    names = table[column].cast(pa.string()).to_pylist()
    if "pos" not in table.column_names:
        return ((name, None) for name in names)
    return zip(names, table["pos"].cast(pa.string()).to_pylist(), strict=True)


if __name__ == "__main__":
    with job(snakemake):
        import_texts(
            snakemake.input.embeddings,
            snakemake.input.index,
            snakemake.params.cfg,
            snakemake.output.embeddings,
            snakemake.output.index,
        )
