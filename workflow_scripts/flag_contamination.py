"""Flag the images of OOD sets that show an in-distribution class.

The ID test set is judged too: it shows how much of true ID content the rule finds. Evaluation only:
labels of training, test and OOD images are read here. What the flags can and cannot say is in
`lib.detection.contamination`.

Out: flags.parquet, one row per image: image_set, image_id, concept (its best of the corpus), label
and flagged; contamination.parquet, one row per image set: study, image_set, group, n, flagged,
share, and a note where flags of an OOD set say little.
"""

import logging

import pandas as pd

from workflow_scripts.lib import artifacts
from workflow_scripts.lib.concepts.quality import true_names_of
from workflow_scripts.lib.detection.contamination import doubts, flag_images, label_rule
from workflow_scripts.lib.embeddings import check_same_encoder, open_sets, read_texts
from workflow_scripts.lib.job import job, progress
from workflow_scripts.lib.report.tables import write_frame
from workflow_scripts.lib.texts.label_names import naming
from workflow_scripts.lib.texts.trees import noun_tree

COLUMNS = ["study", "image_set", "group", "n", "flagged", "share", "note"]


def flag_contamination(inputs, cfg, study, output_flags, output_table):
    """inputs: named lists of paths, embeddings and index (of the images, by set in the order of
    cfg's image_sets), texts and concepts (one file each, of the corpus), train_index (of the
    training images), label_names (the tables that name labels) and trees (the files of one concept
    tree, or none; with one, the rule "label" takes synonyms too).
    cfg: rule ("match" or "label"), margin (of the rule "match"), image_sets (name -> number of
    parts), groups (name -> "near", "far" or "test") and label_names (of the training images, then
    of the image sets, see `lib.texts.label_names.naming`).
    """
    names = artifacts.read_table(inputs.concepts[0], ["concept"])["concept"].to_pylist()
    vectors = read_texts(inputs.texts[0], inputs.concepts[0])
    name_of_train, *names_of = naming(inputs.label_names, cfg["label_names"])
    true_names = true_names_of(inputs.train_index, name_of_train)
    true_ids = [i for i, name in enumerate(names) if name in true_names]
    logging.info("%d true names, %d of them in the corpus", len(true_names), len(true_ids))
    if not (true_names if cfg["rule"] == "label" else true_ids):
        logging.warning("no true name is known, or none is in the corpus: nothing is flagged")
    by_label = None
    if cfg["rule"] == "label":
        tree = noun_tree(inputs.trees) if inputs.trees and true_names else None
        by_label = label_rule(true_names, names, tree)

    flags, rows = [], []
    sets = open_sets(inputs.embeddings, inputs.index, cfg["image_sets"])
    found = zip(sets.items(), names_of, strict=True)
    for (image_set, images), name_of in progress(found, total=len(sets), unit="set"):
        check_same_encoder(images.meta, artifacts.read_meta(inputs.concepts[0]))
        flagged = None
        if by_label:
            flagged = by_label(image_set, [label and name_of(label) for label in images.labels])
        best, flagged = flag_images(images, vectors, true_ids, cfg["margin"], flagged)
        columns = {"image_set": image_set, "image_id": images.ids}
        columns["concept"] = [names[i] for i in best]
        columns["label"] = pd.array(images.labels, dtype="string")
        flags.append(pd.DataFrame(columns | {"flagged": flagged}))
        row = {"study": study, "image_set": image_set, "group": cfg["groups"][image_set]}
        row |= {"n": len(flagged), "flagged": int(flagged.sum()), "share": float(flagged.mean())}
        rows.append(row)
    meta = {"encoder": images.meta.get("encoder"), "rule": cfg["rule"], "margin": cfg["margin"]}
    write_frame(output_flags, pd.concat(flags, ignore_index=True), meta)
    table = pd.DataFrame(rows, columns=COLUMNS)
    table["note"] = doubts(table, cfg["rule"])
    write_frame(output_table, table)


if __name__ == "__main__":
    with job(snakemake):
        flag_contamination(
            snakemake.input,
            snakemake.params.cfg,
            snakemake.wildcards.study,
            snakemake.output.flags,
            snakemake.output.table,
        )
