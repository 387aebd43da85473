"""Collect the mined concepts of a study and compare them with the true class names.

Out: concepts.parquet, one row per mined concept; label_quality.parquet, one row per list of
positives. Without labels the columns that need them are empty. Labels are used here only.
"""

import numpy as np
import pandas as pd

from workflow_scripts.lib import artifacts
from workflow_scripts.lib.corpora import normalise
from workflow_scripts.lib.job import job
from workflow_scripts.lib.tables import read_frame, write_frame

KEYS = ["study", "encoder", "clustering", "mining", "seed"]


def true_names(index):
    """The distinct class names of the training images, normalised like a corpus."""
    labels = pd.concat([read_frame(path)["label"] for path in index]).dropna().unique()
    return {normalise(label) for label in labels}


def label_quality(mined, names, corpus):
    """Counts of a list of positives, and its agreement with the true names (empty if unknown)."""
    hits = len(names & set(mined["concept"]))
    known = {
        "true_names": len(names),
        "true_names_in_corpus": len(names & corpus),
        "exact_matches": hits,
        "exact_match_rate": hits / len(mined) if len(mined) else np.nan,
        "coverage": hits / len(names) if names else np.nan,
    }
    unknown = dict.fromkeys(known, np.nan)
    return {"n_positives": len(mined)} | (known if names else unknown)


def evaluate_concepts(positives, index, corpus, study, output_concepts, output_quality):
    names = true_names(index)
    corpus = set(artifacts.read_table(corpus, ["concept"])["concept"].to_pylist())
    frames, rows = [], []
    for path in positives:
        meta = artifacts.read_meta(path)
        keys = {"study": study} | {key: meta[key] for key in KEYS[1:]}
        mined = read_frame(path)
        rows.append(keys | label_quality(mined, names, corpus))
        is_true = [name in names for name in mined["concept"]] if names else None
        frames.append(mined.assign(**keys, is_true_name=is_true))
    concepts = pd.concat(frames, ignore_index=True)
    write_frame(output_concepts, concepts[KEYS + [c for c in concepts if c not in KEYS]])
    write_frame(output_quality, pd.DataFrame(rows))


if __name__ == "__main__":
    with job(snakemake):
        evaluate_concepts(
            snakemake.input.positives,
            snakemake.input.index,
            snakemake.input.concepts,
            snakemake.wildcards.study,
            snakemake.output.concepts,
            snakemake.output.label_quality,
        )
