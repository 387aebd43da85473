"""Choose the negatives: concepts of the corpus that the positives do not cover.

Out: Parquet, one row per concept and block of negatives: negatives (name of the block),
concept_id, concept and similarity (a quantile of its cosines to the positives).
"""

import numpy as np
import pyarrow as pa

from workflow_scripts.lib.artifacts import read_array, read_table, write_table
from workflow_scripts.lib.job import job
from workflow_scripts.lib.negatives import METHODS

SCHEMA = pa.schema(
    [
        ("negatives", pa.string()),
        ("concept_id", pa.int32()),
        ("concept", pa.string()),
        ("similarity", pa.float32()),
    ]
)


def mine_negatives(positives, texts, concepts, blocks, meta, output):
    """blocks: the config blocks of the negatives by name; none gives an empty table."""
    table = read_table(concepts, ["concept", "pos"])
    vectors = np.asarray(read_array(texts), dtype=np.float32)
    pos = table["pos"].to_pylist()
    chosen = read_table(positives, ["concept_id"])["concept_id"].to_numpy()
    parts = [SCHEMA.empty_table()]
    for name, block in blocks.items():
        parameters = {key: value for key, value in block.items() if key != "method"}
        ids, similarity = METHODS[block["method"]](vectors, chosen, pos, **parameters)
        columns = [[name] * len(ids), ids.astype(np.int32), table["concept"].take(ids), similarity]
        parts.append(pa.table(columns, names=SCHEMA.names).cast(SCHEMA))
    write_table(output, pa.concat_tables(parts), meta)


if __name__ == "__main__":
    with job(snakemake):
        mine_negatives(
            snakemake.input.positives,
            snakemake.input.texts,
            snakemake.input.concepts,
            snakemake.params.cfg,
            {**snakemake.wildcards, "seed": int(snakemake.wildcards.seed)},
            snakemake.output[0],
        )
