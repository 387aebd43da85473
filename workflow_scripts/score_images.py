"""Score the test, OOD and shifted images of a study with the detectors.

One job serves one list of positives (and all negatives chosen for it), or, with mining "none", the
detectors that compare images with the training images or their clusters. Clusters of another
encoder are joined with the training images by id, and so are the images of sets that may have
training images: these are left out of what they are compared with.

Out: Parquet, one row per image: image_set, image_id, concept (the nearest positive), its cosine,
and a float32 column per detector, `detector` or `detector:negatives`; higher is more
in-distribution. A detector that cannot score has no column; the metadata `missing` say why. A
detector with a memory has further columns, `detector:negatives:ID set:OOD set`, one per pair of
sets that it saw by itself, empty for the images of other sets.
"""

import logging

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from workflow_scripts.lib.artifacts import read_meta, write_table
from workflow_scripts.lib.clustering.joined import clusters_of_images
from workflow_scripts.lib.concepts.positives import read_chosen
from workflow_scripts.lib.detection.detectors import (
    column_of,
    possible,
    score_embeddings,
    score_pairs,
    with_temperatures,
)
from workflow_scripts.lib.detection.images import fit_gaussians
from workflow_scripts.lib.embeddings import check_same_encoder, open_embeddings, split_parts
from workflow_scripts.lib.job import job


def image_set_column(images, parts):
    """The image set of every row, as a dictionary column. parts: name -> number of parts."""
    rows = [sum(map(len, arrays)) for arrays in split_parts(images.arrays, parts).values()]
    codes = np.repeat(np.arange(len(parts), dtype=np.int32), rows)
    return pa.DictionaryArray.from_arrays(pa.array(codes), list(parts))


def rows_in_training(images, train, parts, trained_on):
    """The row of every image among the training images, int [N]; -1 for other images.

    images, train: Embeddings. parts: as in `image_set_column`. trained_on: names of the sets that
    may have training images, with the same ids.
    """
    known = pc.index_in(images.index["image_id"], train.index["image_id"].combine_chunks())
    image_set = image_set_column(images, parts)
    may_be = pc.is_in(image_set.dictionary, pa.array(trained_on, pa.string())).to_numpy(False)
    rows = known.fill_null(-1).to_numpy()
    return np.where(may_be[image_set.indices.to_numpy()], rows, -1)


def names_of(detector, against):
    """The keys that tell a score in metadata and tables."""
    return {"detector": detector, "negatives": against or "none"}


def pair_columns(images, positives, negatives, detectors, cfg, missing):
    """Name -> column of the detectors with a memory, for every pair of sets: see `score_pairs`."""
    image_set = image_set_column(images, cfg["image_sets"]).to_numpy(zero_copy_only=False)
    rows = {
        (name, ood): np.flatnonzero(np.isin(image_set, [*sets, ood]))
        for name, ood, sets in cfg["pairs"]
    }
    columns = {}
    paired = score_pairs(images, positives, negatives, detectors, rows, missing)
    for pair, scores in paired.items():
        for (detector, against), values in scores.items():
            column = np.full(images.rows, np.nan, np.float32)
            column[rows[pair]] = values
            name = ":".join([column_of(detector, against), *pair])
            columns[name] = pa.array(column, mask=np.isnan(column))
    return columns


def score_images(embeddings, index, inputs, cfg, meta, output):
    """inputs: named paths, texts, concepts, positives and negatives, or train, train_index and
    clusters. cfg: image_sets (name -> number of parts, in the order of the embeddings), corpora
    (in the order of the texts), detectors (name -> block), trained_on (`rows_in_training`) and
    pairs (of `configuration.scored_pairs`)."""
    images = open_embeddings(embeddings, index)
    positives, negatives, names, train, clusters, own = None, {}, None, None, None, None
    unfound = {}
    if meta["mining"] == "none":
        train = open_embeddings(inputs.train, inputs.train_index)
        own = rows_in_training(images, train, cfg["image_sets"], cfg["trained_on"])
        if meta["clustering"] != "none":
            assigned = clusters_of_images(inputs.clusters, train.index["image_id"])
            clusters = fit_gaussians(train, assigned)
            meta = meta | {"clustering_encoder": read_meta(inputs.clusters)["encoder"]}
        meta = meta | {"method": "none", "n_positives": 0}
    else:
        for path in inputs.concepts:
            check_same_encoder(images.meta, read_meta(path))
        names, positives, negatives = read_chosen(
            inputs.positives, inputs.negatives, cfg["corpora"], inputs.texts, inputs.concepts
        )
        unfound = read_meta(inputs.negatives).get("missing", {})
        mined = read_meta(inputs.positives)
        kept = ("method", "n_positives", "clustering_encoder")
        meta = meta | {key: mined[key] for key in kept if key in mined}

    detectors = with_temperatures(cfg["detectors"], images.meta.get("encoder", {}))
    detectors, missing = possible(detectors, negatives, unfound)
    scores, nearest, cosines = score_embeddings(
        images, positives, negatives, detectors, train, clusters, own, missing
    )
    unknown = pa.nulls(images.rows, pa.string())
    columns = {
        "image_set": image_set_column(images, cfg["image_sets"]),
        "image_id": images.index["image_id"],
        "concept": unknown if names is None else names.take(nearest),
        "cosine": pa.nulls(images.rows, pa.float32()) if cosines is None else cosines,
    }
    columns |= {column_of(*key): values for key, values in scores.items()}
    detector_of = {column_of(*key): names_of(*key) for key in scores}
    columns |= (paired := pair_columns(images, positives, negatives, detectors, cfg, missing))
    unscored = [names_of(*key) | {"reason": reason} for key, reason in missing.items()]
    for cell in unscored:
        logging.warning("%(detector)s, negatives %(negatives)s: %(reason)s", cell)
    meta |= {"columns": detector_of, "missing": unscored}
    meta |= {"pairs": [name.rsplit(":", 2) for name in paired]}
    write_table(output, columns, meta)


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
