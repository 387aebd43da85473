"""Score the test, OOD and shifted images of a study with the detectors.

One job serves one list of positives (and all negatives chosen for it), or, with mining "none", the
detectors that compare images with the training images or their clusters.

Out: Parquet, one row per image: image_set, image_id, concept (the nearest positive), its cosine,
and a float32 column per detector, `detector` or `detector:negatives`; higher is more
in-distribution.
"""

import numpy as np
import pyarrow as pa

from workflow_scripts.lib.artifacts import read_meta, read_table, write_table
from workflow_scripts.lib.concepts.positives import read_corpora
from workflow_scripts.lib.detection.detectors import METHODS, score_blocks, with_temperatures
from workflow_scripts.lib.embeddings import check_same_encoder, open_embeddings
from workflow_scripts.lib.job import job, progress

ORDER_SEED = 0  # of the order in which a detector with a memory sees the images


def read_names(inputs, corpora, images):
    """Embeddings of the positives and, by block, of the negatives; names of the positives."""
    for path in inputs.concepts:
        check_same_encoder(images.meta, read_meta(path))
    rows, vectors = read_corpora(corpora, inputs.texts, inputs.concepts)
    positives = read_table(inputs.positives, ["concept", "concept_id"])
    first = {name: np.flatnonzero(rows["corpus"].to_numpy() == name)[0] for name in corpora}
    table = read_table(inputs.negatives, ["negatives", "corpus", "concept_id"])
    block, corpus, concept_id = (column.to_numpy() for column in table.columns)
    row = concept_id + np.array([first[name] for name in corpus], dtype=np.int64)
    negatives = {name: vectors[row[block == name]] for name in dict.fromkeys(block)}
    return vectors[positives["concept_id"].to_numpy()], negatives, positives["concept"]


def score_in_random_order(images, *arguments):
    """Scores of detectors with a memory, which must not see one image set after the other."""
    order = np.random.default_rng(ORDER_SEED).permutation(images.rows)
    scores, _, _ = score_blocks([images.array()[order]], *arguments)
    return {key: values[np.argsort(order)] for key, values in scores.items()}


def score_images(embeddings, index, inputs, cfg, meta, output):
    """inputs: named paths, texts, concepts, positives and negatives, or train, train_index and
    clusters. cfg: image_sets (name -> number of shards, in the order of the embeddings), corpora
    (in the order of the texts) and detectors (name -> block)."""
    images = open_embeddings(embeddings, index)
    positives, negatives, names, train, clusters = None, {}, None, None, None
    if meta["mining"] == "none":
        train = open_embeddings(inputs.train, inputs.train_index).arrays
        if meta["clustering"] != "none":
            clusters = read_table(inputs.clusters, ["cluster"])["cluster"].to_numpy()
        meta = meta | {"method": "none", "n_positives": 0}
    else:
        positives, negatives, names = read_names(inputs, cfg["corpora"], images)
        mined = read_meta(inputs.positives)
        meta = meta | {key: mined[key] for key in ("method", "n_positives")}

    detectors = with_temperatures(cfg["detectors"], images.meta.get("encoder", {}))
    stateful = {n: d for n, d in detectors.items() if METHODS[d["method"]].stateful}
    others = {n: d for n, d in detectors.items() if n not in stateful}
    blocks = progress(images.blocks(), unit="block")
    scores, nearest, cosines = score_blocks(blocks, positives, negatives, others, train, clusters)
    if stateful:
        scores |= score_in_random_order(images, positives, negatives, stateful)
    unknown = pa.nulls(images.rows, pa.string())
    columns = {
        "image_set": image_set_column(cfg["image_sets"], images),
        "image_id": images.index["image_id"],
        "concept": unknown if names is None else names.take(nearest),
        "cosine": pa.nulls(images.rows, pa.float32()) if cosines is None else cosines,
    }
    described = {}
    for (detector, against), values in scores.items():
        column = detector if against is None else f"{detector}:{against}"
        columns[column] = values
        described[column] = {"detector": detector, "negatives": against or "none"}
    write_table(output, columns, meta | {"columns": described})


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
            snakemake.input,
            snakemake.params.cfg,
            {**snakemake.wildcards, "seed": int(snakemake.wildcards.seed)},
            snakemake.output[0],
        )
