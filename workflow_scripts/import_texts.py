"""Import a user's precomputed text embeddings into the layout that embed_texts writes."""

import numpy as np
import pyarrow as pa

from workflow_scripts.lib.artifacts import write_table
from workflow_scripts.lib.encoders.precomputed import (
    copy_rows,
    precomputed_encoder,
    read_arrays,
    read_index,
)
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.job import job
from workflow_scripts.lib.texts.names import normalise


def import_texts(embeddings_in, index_in, cfg, embeddings, index):
    """Join one or more lists of text embeddings: unit-norm float16 [V, d] and its index.

    embeddings_in: `.npy` files [V_l, d]. index_in: their Parquet tables. cfg: {"encoder": name,
    "sources": a name per list, "columns": per list its column of the concepts, beside which it may
    have pos; a concept without one is a noun}. Names are normalised; the first of equal names
    stays. Raises InputError.
    """
    columns = cfg["columns"]
    tables = [read_index(p, column, ["pos"]) for p, column in zip(index_in, columns, strict=True)]
    arrays = read_arrays(embeddings_in, tables)
    rows, kept = first_of_names(tables, columns, cfg["sources"])
    if not rows:
        raise InputError(f"{', '.join(index_in)}: no concept has a name.")
    note = copy_rows(embeddings_in, arrays, kept, embeddings)
    encoder = precomputed_encoder(cfg["encoder"], arrays[0].shape[1])
    values = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
    table = pa.table(values, ["concept", "pos", "source"])
    write_table(index, table, {"encoder": encoder, "array": note})


def first_of_names(tables, columns, sources):
    """The rows (concept, pos, source) of several tables, of each concept the first.

    Returns the list of rows, and per table which of its rows they are, bool [V_l].
    """
    rows, seen = [], set()
    kept = [np.zeros(len(table), bool) for table in tables]
    for table, column, source, keep in zip(tables, columns, sources, kept, strict=True):
        for number, (name, pos) in enumerate(names_and_pos(table, column)):
            concept = normalise(name)
            if concept and concept not in seen:
                seen.add(concept)
                rows.append((concept, pos or "noun", source))
                keep[number] = True
    return rows, kept


def names_and_pos(table, column):
    """Iterate over (concept, pos or None) as strings."""
    names = table[column].to_pylist()
    if "pos" not in table.column_names:
        return ((name, None) for name in names)
    return zip(names, table["pos"].to_pylist(), strict=True)


if __name__ == "__main__":
    with job(snakemake):
        import_texts(
            snakemake.input.embeddings,
            snakemake.input.index,
            snakemake.params.cfg,
            snakemake.output.embeddings,
            snakemake.output.index,
        )
