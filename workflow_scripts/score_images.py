"""Score the test, OOD and shifted images of a study with every detector, for one list of positives.

Out: Parquet, one row per image: image_set, image_id, concept (the nearest positive), its cosine,
and a float32 column per detector, `detector` or `detector:negatives`; higher is more
in-distribution.
"""

import numpy as np
import pyarrow as pa

from workflow_scripts.lib.artifacts import read_array, read_meta, read_table, write_table
from workflow_scripts.lib.detectors import score_blocks
from workflow_scripts.lib.embeddings import check_same_encoder, open_embeddings
from workflow_scripts.lib.job import job, progress


def score_images(embeddings, index, texts, concepts, positives, negatives, cfg, meta, output):
    """cfg: image_sets (name -> number of shards, in the order of the embeddings) and detectors
    (name -> block)."""
    images = open_embeddings(embeddings, index)
    check_same_encoder(images.meta, read_meta(concepts))
    vectors = read_array(texts)
    table = read_table(negatives, ["negatives", "concept_id"])
    name_of, concept_of = (column.to_numpy() for column in table.columns)

    def embedded(concept_ids):
        return np.asarray(vectors[concept_ids], dtype=np.float32)

    scores, nearest, cosines = score_blocks(
        progress(images.blocks(), unit="block"),
        embedded(read_table(positives, ["concept_id"])["concept_id"].to_numpy()),
        {name: embedded(concept_of[name_of == name]) for name in dict.fromkeys(name_of)},
        cfg["detectors"],
    )
    columns = {
        "image_set": image_set_column(cfg["image_sets"], images),
        "image_id": images.index["image_id"],
        "concept": read_table(positives, ["concept"])["concept"].take(nearest),
        "cosine": cosines,
    }
    names = {}
    for (detector, against), values in scores.items():
        column = detector if against is None else f"{detector}:{against}"
        columns[column] = values
        names[column] = {"detector": detector, "negatives": against or "none"}
    mined = read_meta(positives)
    meta = meta | {key: mined[key] for key in ("method", "n_positives")} | {"columns": names}
    write_table(output, columns, meta)


def image_set_column(shards, images):
    """The image set of every row, as a dictionary column."""
    set_of_shard = np.repeat(np.arange(len(shards), dtype=np.int32), list(shards.values()))
    codes = np.repeat(set_of_shard, [len(array) for array in images.arrays])
    return pa.DictionaryArray.from_arrays(pa.array(codes), list(shards))


if __name__ == "__main__":
    with job(snakemake):
        score_images(
            snakemake.input.embeddings,
            snakemake.input.index,
            snakemake.input.texts,
            snakemake.input.concepts,
            snakemake.input.positives,
            snakemake.input.negatives,
            snakemake.params.cfg,
            {**snakemake.wildcards, "seed": int(snakemake.wildcards.seed)},
            snakemake.output[0],
        )
