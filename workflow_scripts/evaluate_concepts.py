"""Collect the mined concepts of a study and compare them with the true class names.

Out: concepts.parquet, one row per mined concept; label_quality.parquet, one row per list of
positives: exact matches, matches of synonyms and path similarity in a concept tree, text similarity
to the nearest true name, and zero-shot accuracy on the test images. Columns that need labels, a
tree, or true names in the corpus are empty where there are none. Evaluation only: labels of
training and test images are read here.
"""

import functools

import pandas as pd

from workflow_scripts.lib import artifacts
from workflow_scripts.lib.concepts.quality import (
    Judge,
    check_common_labels,
    tree_functions,
    true_names_of,
)
from workflow_scripts.lib.embeddings import open_sets, read_texts
from workflow_scripts.lib.job import job, progress
from workflow_scripts.lib.report.tables import read_frame, write_frame
from workflow_scripts.lib.texts.label_names import naming
from workflow_scripts.lib.texts.trees import noun_tree

KEYS = ["study", "encoder", "clustering", "mining", "seed"]
FIGURES = ["n_positives", "true_names", "true_names_in_corpus", "exact_matches"]
FIGURES += ["exact_match_rate", "coverage", "synonym_match_rate", "synonym_coverage"]
FIGURES += ["path_similarity", "path_known", "text_similarity", "accuracy_exact"]
FIGURES += ["accuracy_nearest"]


def judges(inputs, encoders, name_of, true_names, tree):
    """Encoder name -> Judge. encoders: name -> number of parts of the test images. name_of: label
    of a test image -> the name that concepts are compared with."""
    tests = open_sets(inputs.test, inputs.test_index, encoders)
    found = {}
    for (encoder, test), texts, concepts in zip(
        tests.items(), inputs.texts, inputs.concepts, strict=True
    ):
        names = artifacts.read_table(concepts, ["concept"])["concept"].to_pylist()
        labels = [label and name_of(label) for label in test.labels]
        vectors = read_texts(texts, concepts)
        found[encoder] = Judge(test, labels, names, vectors, true_names, tree)
    return found


def evaluate_concepts(inputs, cfg, study, output_concepts, output_quality):
    """inputs: named paths, positives, index (of the training images), trees (the files of one
    concept tree, or none), label_names (the tables that name labels), test, test_index, texts and
    concepts, the last four by encoder in the order of cfg's encoders.
    cfg: encoders (name -> number of parts of the test images), label_names (of the training and
    of the test images, see `lib.texts.label_names.naming`)."""
    name_of, name_of_test = naming(inputs.label_names, cfg["label_names"])
    true_names = true_names_of(inputs.index, name_of)
    tree = ()
    if inputs.trees and true_names:  # WordNet takes seconds to read
        tree = tuple(map(functools.cache, tree_functions(noun_tree(inputs.trees), true_names)))
    judge_of = judges(inputs, cfg["encoders"], name_of_test, true_names, tree)
    named = [block is not None for block in cfg["label_names"]]
    check_common_labels(next(iter(judge_of.values())).labels, true_names, named, study)
    frames, rows = [], []
    for path in progress(inputs.positives, unit="list"):
        meta = artifacts.read_meta(path)
        keys = {"study": study} | {key: meta[key] for key in KEYS[1:]}
        mined = read_frame(path)
        judge = judge_of[meta["encoder"]]
        rows.append(keys | judge.figures(mined["concept"].tolist(), mined["concept_id"].to_numpy()))
        is_true = [name in true_names for name in mined["concept"]] if true_names else None
        frames.append(mined.assign(**keys, is_true_name=is_true))
    concepts = pd.concat(frames, ignore_index=True)
    write_frame(output_concepts, concepts[KEYS + [c for c in concepts if c not in KEYS]])
    write_frame(output_quality, pd.DataFrame(rows).reindex(columns=[*KEYS, *FIGURES]))


if __name__ == "__main__":
    with job(snakemake):
        evaluate_concepts(
            snakemake.input,
            snakemake.params.cfg,
            snakemake.wildcards.study,
            snakemake.output.concepts,
            snakemake.output.label_quality,
        )
