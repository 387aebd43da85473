"""Flag the images of OOD sets that show an in-distribution class.

The ID test set is judged too: it shows how much of true ID content the rule finds. Evaluation only:
labels of training, test and OOD images are read here. What the flags can and cannot say is in
`lib.detection.contamination`.

Out: flags.parquet, one row per image: image_set, image_id, concept (its best of the corpus), label
and flagged; contamination.parquet, one row per image set: study, image_set, group, n, flagged and
share.
"""

import logging

import numpy as np
import pandas as pd

from workflow_scripts.lib import artifacts
from workflow_scripts.lib.concepts.quality import tree_functions, true_names_of
from workflow_scripts.lib.concepts.similarity import top_concepts
from workflow_scripts.lib.detection.contamination import flagged_by_label, flagged_by_match
from workflow_scripts.lib.embeddings import check_same_encoder, open_embeddings
from workflow_scripts.lib.job import job, progress
from workflow_scripts.lib.report.tables import write_frame
from workflow_scripts.lib.texts.label_names import naming
from workflow_scripts.lib.texts.trees import noun_tree

COLUMNS = ["study", "image_set", "group", "n", "flagged", "share"]


def best_and_best_other(images, vectors, true_ids):
    """Every image's best concept, and its best that is no true name: ids and cosines [N, 1 or 2].

    These two are all that `flagged_by_match` needs, for any margin. One column if the corpus holds
    true names only.
    """
    found = [top_concepts(images.blocks(), vectors, 1)]
    others = np.delete(np.arange(len(vectors)), true_ids)
    if len(true_ids) and len(others):
        ids, cosines = top_concepts(images.blocks(), vectors[others], 1)
        found.append((others[ids], cosines))
    return tuple(np.hstack(columns) for columns in zip(*found, strict=True))


def open_sets(embeddings, index, shards):
    """Image set -> its embeddings. shards: image set -> number of shards, in their order."""
    first, found = 0, {}
    for name, number in shards.items():
        part = slice(first, first + number)
        found[name] = open_embeddings(embeddings[part], index[part])
        first += number
    return found


def warn_of_unknown(image_set, labels, known):
    """Log why no label of an image set can be a true name: there is none, or all are unknown.

    labels: names, None where there is none. known: names of the corpus, the tree and the classes.
    """
    distinct = {*labels} - {None, ""}
    if not distinct:
        logging.warning("the images of %s have no labels: none is flagged", image_set)
    elif known.isdisjoint(distinct):
        logging.warning(
            "no label of %s is in the corpus or the tree, e.g. %r: none is flagged; if they are "
            "ids, name them (image_sets.%s.label_names)", image_set, min(distinct), image_set,
        )  # fmt: skip


def flag_images(images, vectors, true_ids, margin, by_label=None):
    """Every image's best concept, int [N], and whether the image is flagged, bool [N].

    by_label: the flags of the rule "label"; None for the rule "match".
    """
    needs_other = by_label is None and margin > 0
    ids, cosines = best_and_best_other(images, vectors, true_ids if needs_other else [])
    flagged = flagged_by_match(ids, cosines, true_ids, margin) if by_label is None else by_label
    return ids[:, 0], flagged


def flag_contamination(inputs, cfg, study, output_flags, output_table):
    """inputs: named lists of paths, embeddings and index (of the images, by set in the order of
    cfg's image_sets), texts and concepts (one file each, of the corpus), train_index (of the
    training images), label_names (the tables that name labels) and trees (the files of one concept
    tree, or none; with one, the rule "label" takes synonyms too).
    cfg: rule ("match" or "label"), margin (of the rule "match"), image_sets (name -> number of
    shards), groups (name -> "near", "far" or "test") and label_names (of the training images, then
    of the image sets, see `lib.texts.label_names.naming`).
    """
    names = artifacts.read_table(inputs.concepts[0], ["concept"])["concept"].to_pylist()
    vectors = np.asarray(artifacts.read_array(inputs.texts[0]), dtype=np.float32)
    name_of_train, *names_of = naming(inputs.label_names, cfg["label_names"])
    true_names = true_names_of(inputs.train_index, name_of_train)
    true_ids = [i for i, name in enumerate(names) if name in true_names]
    logging.info("%d true names, %d of them in the corpus", len(true_names), len(true_ids))
    if not (true_names if cfg["rule"] == "label" else true_ids):
        logging.warning("no true name is known, or none is in the corpus: nothing is flagged")
    synonyms_of, by_label, known = None, None, true_names.union(names)
    if cfg["rule"] == "label" and inputs.trees and true_names:
        tree = noun_tree(inputs.trees)
        synonyms_of, _ = tree_functions(tree, true_names)
        known = known.union(tree.names)

    flags, rows = [], []
    sets = open_sets(inputs.embeddings, inputs.index, cfg["image_sets"])
    found = zip(sets.items(), names_of, strict=True)
    for (image_set, images), name_of in progress(found, total=len(sets), unit="set"):
        check_same_encoder(images.meta, artifacts.read_meta(inputs.concepts[0]))
        if cfg["rule"] == "label":
            labels = [label and name_of(label) for label in images.labels]
            warn_of_unknown(image_set, labels, known)
            by_label = flagged_by_label(labels, true_names, synonyms_of)
        best, flagged = flag_images(images, vectors, true_ids, cfg["margin"], by_label)
        columns = {"image_set": image_set, "image_id": images.ids}
        columns["concept"] = [names[i] for i in best]
        columns["label"] = pd.array(images.labels, dtype="string")
        flags.append(pd.DataFrame(columns | {"flagged": flagged}))
        row = {"study": study, "image_set": image_set, "group": cfg["groups"][image_set]}
        row |= {"n": len(flagged), "flagged": int(flagged.sum()), "share": float(flagged.mean())}
        rows.append(row)
    meta = {"encoder": images.meta.get("encoder"), "rule": cfg["rule"], "margin": cfg["margin"]}
    write_frame(output_flags, pd.concat(flags, ignore_index=True), meta)
    write_frame(output_table, pd.DataFrame(rows, columns=COLUMNS))


if __name__ == "__main__":
    with job(snakemake):
        flag_contamination(
            snakemake.input,
            snakemake.params.cfg,
            snakemake.wildcards.study,
            snakemake.output.flags,
            snakemake.output.table,
        )
