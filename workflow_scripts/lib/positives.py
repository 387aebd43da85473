"""Positives as an artifact: a mined list of concepts with names, votes and example images."""

import numpy as np
import pyarrow as pa

from workflow_scripts.lib.artifacts import read_table, write_table
from workflow_scripts.lib.mining import Evidence


def read_evidence(similarity, n_concepts, clusters=None, true_ids=None):
    """The Evidence of a similarity artifact and, if given, of a cluster artifact."""
    table = read_table(similarity, ["concept_ids", "cosines"])
    ids, cosines = (
        table[name].combine_chunks().flatten().to_numpy().reshape(len(table), -1)
        for name in ("concept_ids", "cosines")
    )
    assigned = read_table(clusters, ["cluster"])["cluster"].to_numpy() if clusters else None
    return Evidence(ids, cosines, n_concepts, assigned, true_ids)


def write_positives(path, columns, concepts, image_ids, meta):
    """Write mined columns (`mining.describe`) with names in place of row numbers.

    concepts: pyarrow array [V] of names. image_ids: pyarrow array [N].
    """
    runner_up = pa.array(columns["runner_up"], mask=columns["runner_up"] < 0)
    flat = np.concatenate([np.empty(0, np.int64), *columns["examples"]])
    offsets = np.cumsum([0, *(len(rows) for rows in columns["examples"])])
    examples = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), image_ids.take(flat))
    table = {
        "concept": concepts.take(pa.array(columns["concept_id"])),
        "concept_id": columns["concept_id"].astype(np.int32),
        "votes": columns["votes"],
        "purity": columns["purity"],
        "size": columns["size"],
        "clusters": columns["clusters"],
        "runner_up": concepts.take(runner_up),
        "runner_up_votes": columns["runner_up_votes"],
        "examples": examples,
    }
    write_table(path, table, meta | {"n_positives": len(columns["concept_id"])})
