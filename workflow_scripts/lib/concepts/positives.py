"""Positives as an artifact, a mined list of concepts with names, votes and example images, and the
corpora they and the negatives come from."""

import numpy as np
import pyarrow as pa

from workflow_scripts.lib.artifacts import crc32_of, read_json, read_table, write_table
from workflow_scripts.lib.clustering.joined import clusters_of_images
from workflow_scripts.lib.concepts.evidence import Evidence
from workflow_scripts.lib.embeddings import read_texts
from workflow_scripts.lib.errors import InputError


def read_evidence(similarity, n_concepts, clusters=None, true_ids=None, centres=None):
    """The Evidence of a similarity artifact and, if given, of clusters of the same images.

    The two are joined by image id: images without a cluster have no vote (`clusters_of_images`).
    centres: for the cluster centres and for the text embeddings, the array and the file beside it
    (`artifacts.read_array`), or none. Raises InputError for centres of other clusters.
    Returns (Evidence of N images, their ids: pyarrow array [N]).
    """
    table, assigned = read_table(similarity, ["image_id", "concept_ids", "cosines"]), None
    if clusters:
        assigned = clusters_of_images(clusters, table["image_id"].combine_chunks())
        known = assigned >= 0
        if not known.all():
            table, assigned = table.filter(known), assigned[known]
    ids, cosines = (
        table[name].combine_chunks().flatten().to_numpy().reshape(len(table), -1)
        for name in ("concept_ids", "cosines")
    )
    if centres:
        check_centres(*centres[0], clusters)
    arrays = [read_texts(*files) for files in centres or []]
    evidence = Evidence(ids, cosines, n_concepts, assigned, true_ids, *arrays)
    return evidence, table["image_id"].combine_chunks()


def check_centres(centres, about, clusters):
    """Raise InputError if cluster centres are of other clusters, by the file beside them."""
    if read_json(about)["clusters"] != crc32_of(clusters):
        raise InputError(
            f"{centres} are of other clusters than {clusters}: delete it and run again"
        )


def write_positives(path, columns, concepts, image_ids, meta):
    """Write mined columns (`evidence.mined_columns`) with names in place of row numbers.

    concepts: pyarrow array [V] of names. image_ids: pyarrow array [N].
    """
    runner_up = pa.array(columns["runner_up"], mask=columns["runner_up"] < 0)
    table = {
        "concept": concepts.take(pa.array(columns["concept_id"])),
        "concept_id": columns["concept_id"].astype(np.int32),
        "votes": columns["votes"],
        "purity": columns["purity"],
        "size": columns["size"],
        "clusters": columns["clusters"],
        "cluster_ids": list_column(columns["cluster_ids"], lambda ids: ids.astype(np.int32)),
        "runner_up": concepts.take(runner_up),
        "runner_up_votes": columns["runner_up_votes"],
        "examples": list_column(columns["examples"], image_ids.take),
    }
    write_table(path, table, meta | {"n_positives": len(columns["concept_id"])})


def list_column(lists, values):
    """A pyarrow column of lists. lists: of int64 arrays; values: what stands for such an array."""
    offsets = np.cumsum([0, *(len(rows) for rows in lists)])
    flat = np.concatenate([np.empty(0, np.int64), *lists])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values(flat))


def read_corpora(names, texts, concepts):
    """Several corpora one below the other.

    names, texts, concepts: the corpora, their `.npy` embeddings and the indexes, in one order.
    Returns a pyarrow Table (corpus, concept_id, concept, pos), where concept_id is the row in its
    own corpus, and the embeddings float32 [V, d]. The first corpus's rows come first.
    """
    tables = []
    for name, path in zip(names, concepts, strict=True):
        table = read_table(path, ["concept", "pos"])
        ids = pa.array(np.arange(len(table), dtype=np.int32))
        corpus = pa.array([name] * len(table), pa.string())
        tables.append(table.append_column("corpus", corpus).append_column("concept_id", ids))
    vectors = [read_texts(*files) for files in zip(texts, concepts, strict=True)]
    return pa.concat_tables(tables).combine_chunks(), np.concatenate(vectors)


def read_chosen(positives, negatives, corpora, texts, concepts):
    """Mined positives and the negatives chosen for them, with their embeddings.

    positives, negatives: their Parquet files. corpora, texts, concepts: as in `read_corpora`; the
    positives are of the first corpus.
    Returns (names: pyarrow column [P] of the positives, their embeddings float32 [P, d], block of
    negatives -> embeddings float32 [M, d]).
    """
    rows, vectors = read_corpora(corpora, texts, concepts)
    first = {name: np.flatnonzero(rows["corpus"].to_numpy() == name)[0] for name in corpora}
    mined = read_table(positives, ["concept", "concept_id"])
    chosen = read_table(negatives, ["negatives", "corpus", "concept_id"])
    block, corpus, concept_id = (column.to_numpy() for column in chosen.columns)
    row = concept_id + np.array([first[name] for name in corpus], dtype=np.int64)
    by_block = {name: vectors[row[block == name]] for name in dict.fromkeys(block)}
    return mined["concept"], vectors[mined["concept_id"].to_numpy()], by_block
