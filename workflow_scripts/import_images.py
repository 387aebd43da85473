"""Import a user's precomputed image embeddings into the layout that embed_images writes."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from workflow_scripts.lib.artifacts import write_table
from workflow_scripts.lib.embeddings import IMAGE_INDEX
from workflow_scripts.lib.encoders.precomputed import (
    copy_rows,
    precomputed_encoder,
    read_arrays,
    read_index,
)
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images.manifest import QUARANTINE
from workflow_scripts.lib.job import job

LABEL_COLUMNS = ("label_name", "label")  # the first that exists is taken


def import_images(embeddings_in, index_in, cfg, embeddings, index, quarantine):
    """Write unit-norm float16 [N, d], its index and an empty quarantine.

    embeddings_in: one or more `.npy` files [n, d] of floats, joined in this order. index_in: for
    each a Parquet file of the same rows. cfg: {"encoder": name of the encoder, "id_column": column
    of the image ids (distinct), "label_column": column of the labels, or None for label_name or
    label if there is one}. Raises InputError.
    """
    label_columns = [cfg["label_column"]] if cfg["label_column"] else LABEL_COLUMNS
    tables = [read_index(path, cfg["id_column"], label_columns) for path in index_in]
    ids = joined(table[cfg["id_column"]] for table in tables)
    if pc.count_distinct(ids).as_py() < len(ids):
        where = index_in[0] if len(index_in) == 1 else Path(index_in[0]).parent
        raise InputError(
            f"{where}: column {cfg['id_column']!r} has duplicates: make the ids distinct."
        )
    labels = joined(
        read_labels(table, cfg["label_column"], path)
        for table, path in zip(tables, index_in, strict=True)
    )
    arrays = read_arrays(embeddings_in, tables)
    kept = [np.ones(len(array), bool) for array in arrays]
    note = copy_rows(embeddings_in, arrays, kept, embeddings)
    nulls = pa.nulls(len(ids), pa.string())
    rows = pa.table([ids, labels, nulls], schema=IMAGE_INDEX)
    encoder = precomputed_encoder(cfg["encoder"], arrays[0].shape[1])
    write_table(index, rows, {"encoder": encoder, "array": note})
    write_table(quarantine, QUARANTINE.empty_table())


def joined(columns):
    """Columns of texts of several tables as one."""
    return pa.chunked_array([chunk for column in columns for chunk in column.chunks], pa.string())


def read_labels(table, column, path):
    """The labels of a table, or nulls if it has none. An empty text is no label."""
    if column and column not in table.column_names:
        names = pq.read_schema(path).names
        raise InputError(f"{path} has no column {column!r} (label_column) but {names}")
    column = column or next((name for name in LABEL_COLUMNS if name in table.column_names), None)
    if column is None:
        return pa.chunked_array([pa.nulls(len(table), pa.string())])
    empty = pc.equal(table[column], "")
    return pc.if_else(empty, pa.scalar(None, pa.string()), table[column])


if __name__ == "__main__":
    with job(snakemake):
        import_images(
            snakemake.input.embeddings,
            snakemake.input.index,
            snakemake.params.cfg,
            snakemake.output.embeddings,
            snakemake.output.index,
            snakemake.output.quarantine,
        )
