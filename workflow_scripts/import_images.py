"""Import a user's precomputed image embeddings into the layout that embed_images writes."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from workflow_scripts.lib.artifacts import replacing, write_table
from workflow_scripts.lib.embeddings import (
    IMAGE_INDEX,
    normalise_rows,
    precomputed_encoder,
    read_index,
    read_precomputed,
)
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images import QUARANTINE
from workflow_scripts.lib.job import job, progress

BLOCK = 65536  # rows copied at once
LABEL_COLUMNS = ("label_name", "label")  # the first that exists is taken


def import_images(embeddings_in, index_in, cfg, embeddings, index, quarantine):
    """Write unit-norm float16 [N, d], its index and an empty quarantine.

    embeddings_in: `.npy` [N, d] of floats. index_in: Parquet in the same order, with the column
    image_id (distinct) and optionally labels. cfg: {"encoder": name of the encoder,
    "label_column": column of the labels, or None for label_name or label if there is one}.
    Raises InputError.
    """
    table = read_index(index_in, "image_id")
    ids = table["image_id"].cast(pa.string())
    if pc.count_distinct(ids).as_py() < len(ids):
        raise InputError(f"{index_in}: column 'image_id' has duplicates: make the ids distinct.")
    labels = read_labels(table, cfg.get("label_column"), index_in)
    array = read_precomputed(embeddings_in, len(ids))

    with replacing(embeddings) as temporary:
        copy = np.lib.format.open_memmap(temporary, "w+", np.float16, array.shape)
        for start in progress(range(0, len(array), BLOCK), unit="blocks"):
            block = array[start : start + BLOCK]
            copy[start : start + BLOCK] = normalise_rows(block, embeddings_in, start)
        copy.flush()
    nulls = pa.nulls(len(ids), pa.string())
    rows = pa.table([ids, labels, nulls], schema=IMAGE_INDEX)
    write_table(index, rows, {"encoder": precomputed_encoder(cfg["encoder"], array.shape[1])})
    write_table(quarantine, QUARANTINE.empty_table())


def read_labels(table, column, path):
    """The labels as strings, or nulls if the table has none."""
    if column and column not in table.column_names:
        raise InputError(f"{path} has no column {column!r} (label_column) but {table.column_names}")
    column = column or next((name for name in LABEL_COLUMNS if name in table.column_names), None)
    return table[column].cast(pa.string()) if column else pa.nulls(len(table), pa.string())


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
