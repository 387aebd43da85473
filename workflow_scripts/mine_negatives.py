"""Choose the negatives: concepts of the corpus that the positives do not cover.

Out: Parquet, concept_id, concept and similarity (a quantile of its cosines to the positives).
"""

import numpy as np

from workflow_scripts.lib.artifacts import read_array, read_table, write_table
from workflow_scripts.lib.job import job
from workflow_scripts.lib.negatives import METHODS


def mine_negatives(positives, texts, concepts, cfg, meta, output):
    table = read_table(concepts, ["concept", "pos"])
    vectors = np.asarray(read_array(texts), dtype=np.float32)
    parameters = {key: value for key, value in cfg.items() if key != "method"}
    chosen = read_table(positives, ["concept_id"])["concept_id"].to_numpy()
    ids, similarity = METHODS[cfg["method"]](
        vectors, chosen, table["pos"].to_pylist(), **parameters
    )
    columns = {
        "concept_id": ids.astype(np.int32),
        "concept": table["concept"].take(ids),
        "similarity": similarity,
    }
    write_table(output, columns, meta | {"method": cfg["method"]})


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
