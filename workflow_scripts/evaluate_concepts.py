"""Collect the mined concepts of a study and compare them with the true class names.

Out: concepts.parquet, one row per mined concept; label_quality.parquet, one row per list of
positives: exact matches, matches of synonyms and path similarity in a concept tree, text similarity
to the nearest true name, and zero-shot accuracy on the test images. Without labels, or without a
tree, the columns that need them are empty. Evaluation only: labels of training and test images are
read here.
"""

import functools
import logging

import numpy as np
import pandas as pd

from workflow_scripts.lib import artifacts
from workflow_scripts.lib.concepts.quality import (
    name_agreement,
    text_agreement,
    tree_functions,
    true_names_of,
    zero_shot_accuracy,
)
from workflow_scripts.lib.concepts.similarity import top_concepts
from workflow_scripts.lib.embeddings import open_embeddings
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.job import job, progress
from workflow_scripts.lib.report.tables import read_frame, write_frame
from workflow_scripts.lib.texts.label_names import naming
from workflow_scripts.lib.texts.trees import noun_tree

KEYS = ["study", "encoder", "clustering", "mining", "seed"]
FIGURES = ["n_positives", "true_names", "true_names_in_corpus", "exact_matches"]
FIGURES += ["exact_match_rate", "coverage", "synonym_match_rate", "synonym_coverage"]
FIGURES += ["path_similarity", "path_known", "text_similarity", "accuracy_exact"]
FIGURES += ["accuracy_nearest"]


class Judge:
    """The test images and the true names as one encoder embeds them.

    tree: () or the functions of `label_quality.tree_functions`. name_of: label of a test image ->
    the name that concepts are compared with.
    """

    def __init__(self, test, texts, concepts, true_names, tree, name_of):
        table = artifacts.read_table(concepts, ["concept"])["concept"].to_pylist()
        ids = [i for i, name in enumerate(table) if name in true_names]
        self.vectors = artifacts.read_array(texts)
        self.true_names, self.tree = true_names, tree
        self.in_corpus = [table[i] for i in ids]
        self.true_texts = np.asarray(self.vectors[ids], dtype=np.float32)
        self.test = test
        self.labels = [label and name_of(label) for label in test.labels]

    def figures(self, mined):
        """The row of label_quality of one list of positives (columns concept, concept_id)."""
        row = {"n_positives": len(mined)}
        if not self.in_corpus:
            return row
        names = mined["concept"].tolist()
        texts = np.asarray(self.vectors[mined["concept_id"].to_numpy()], dtype=np.float32)
        nearest_true, cosines = text_agreement(texts, self.true_texts)
        nearest, _ = top_concepts(self.test.blocks(), texts, 1)
        row |= {
            "true_names": len(self.true_names),
            "true_names_in_corpus": len(self.in_corpus),
            "exact_matches": len(self.true_names & set(names)),
            "text_similarity": float(cosines.mean()),
        }
        row |= name_agreement(names, sorted(self.true_names), *self.tree)
        return row | zero_shot_accuracy(
            nearest[:, 0], self.labels, names, self.in_corpus, nearest_true
        )


def judges(inputs, encoders, *args):
    """Encoder name -> Judge. encoders: name -> number of shards of the test images. args: Judge's
    last ones, alike for all."""
    first, found = 0, {}
    for i, (name, shards) in enumerate(encoders.items()):
        part = slice(first, first + shards)
        test = open_embeddings(inputs.test[part], inputs.test_index[part])
        found[name] = Judge(test, inputs.texts[i], inputs.concepts[i], *args)
        first += shards
    return found


def check_labels(judge, named, study):
    """Compare the labels of the test images with the true names: none in common is a mistake if
    only one of the two sets has a table of names. Otherwise it may be meant, e.g. of training
    images with coarse labels, and is logged. named: whether the sets have a table."""
    labels = {*judge.labels} - {None, ""}
    if not labels or not judge.true_names or labels & judge.true_names:
        return
    message = (
        f"no label of the test images of {study} is the name of a class of its training images: "
        f"{min(labels)!r} and others against {min(judge.true_names)!r} and others"
    )
    if named[0] != named[1]:
        raise InputError(
            f"{message}. Only the {'training' if named[0] else 'test'} images have a table of "
            "names: give the others one too (image_sets.<name>.label_names), or if no class is "
            "meant to be shared, leave the labels of the test images out (labels: none)"
        )
    logging.warning("%s; there is no zero-shot accuracy", message)


def evaluate_concepts(inputs, cfg, study, output_concepts, output_quality):
    """inputs: named paths, positives, index (of the training images), trees (the files of one
    concept tree, or none), label_names (the tables that name labels), test, test_index, texts and
    concepts, the last four by encoder in the order of cfg's encoders.
    cfg: encoders (name -> number of shards of the test images), label_names (of the training and
    of the test images, see `lib.texts.label_names.naming`)."""
    name_of, name_of_test = naming(inputs.label_names, cfg["label_names"])
    true_names = true_names_of(inputs.index, name_of)
    tree = ()
    if inputs.trees and true_names:  # WordNet takes seconds to read
        tree = tuple(map(functools.cache, tree_functions(noun_tree(inputs.trees), true_names)))
    judge_of = judges(inputs, cfg["encoders"], true_names, tree, name_of_test)
    named = [block is not None for block in cfg["label_names"]]
    check_labels(next(iter(judge_of.values())), named, study)
    frames, rows = [], []
    for path in progress(inputs.positives, unit="list"):
        meta = artifacts.read_meta(path)
        keys = {"study": study} | {key: meta[key] for key in KEYS[1:]}
        mined = read_frame(path)
        rows.append(keys | judge_of[meta["encoder"]].figures(mined))
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
