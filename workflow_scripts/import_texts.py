"""Import a user's precomputed text embeddings into the layout that embed_texts writes."""

import numpy as np
import pyarrow as pa

from workflow_scripts.lib.artifacts import replacing, write_table
from workflow_scripts.lib.embeddings import (
    normalise_rows,
    precomputed_encoder,
    read_index,
    read_precomputed,
)
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.job import job, progress
from workflow_scripts.lib.texts.names import normalise

BLOCK = 65536  # rows copied at once


def import_texts(embeddings_in, index_in, cfg, embeddings, index):
    """Join one or more lists of text embeddings: unit-norm float16 [V, d] and its index.

    embeddings_in: `.npy` files [V_l, d]. index_in: their Parquet tables. cfg: {"encoder": name,
    "sources": a name per list, "columns": per list its column of the concepts, beside which it may
    have pos, "pos": part of speech where a table gives none}. Names are normalised; the first of
    equal names stays. Raises InputError.
    """
    chosen, arrays, kept = {}, [], []
    lists = zip(embeddings_in, index_in, cfg["sources"], cfg["columns"], strict=True)
    for array_path, table_path, source, column in lists:
        table = read_index(table_path, column, ["pos"])
        arrays.append(read_precomputed(array_path, len(table)))
        dim = arrays[0].shape[1]
        if arrays[-1].shape[1] != dim:
            raise InputError(
                f"{array_path} has dimension {arrays[-1].shape[1]}, but {embeddings_in[0]} has "
                f"{dim}: all lists of a corpus need the same encoder."
            )
        kept.append(np.zeros(len(table), dtype=bool))
        for row, (name, pos) in enumerate(names_and_pos(table, column)):
            concept = normalise(name)
            if concept and concept not in chosen:
                chosen[concept] = (concept, pos or cfg.get("pos") or "noun", source)
                kept[-1][row] = True
    if not chosen:
        raise InputError(f"{', '.join(index_in)}: no concept has a name.")

    with replacing(embeddings) as temporary:
        copy = np.lib.format.open_memmap(temporary, "w+", np.float16, (len(chosen), dim))
        end = 0
        files = progress(embeddings_in, unit="files")
        for path, array, keep in zip(files, arrays, kept, strict=True):
            for start in range(0, len(array), BLOCK):
                part = slice(start, start + BLOCK)
                block = normalise_rows(array[part], path, start)[keep[part]]
                copy[end : end + len(block)] = block
                end += len(block)
        copy.flush()
    columns = [pa.array(column, pa.string()) for column in zip(*chosen.values(), strict=True)]
    table = pa.table(columns, ["concept", "pos", "source"])
    write_table(index, table, {"encoder": precomputed_encoder(cfg["encoder"], dim)})


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
