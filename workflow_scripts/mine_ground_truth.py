"""The oracle: take the true class names of the training images, as far as the corpus has them,
alone or together with mined names.

The only mining method that reads labels. Out: as mine_concepts.
"""

import logging

from workflow_scripts.lib.artifacts import read_meta, read_table
from workflow_scripts.lib.concepts import mining
from workflow_scripts.lib.concepts.positives import read_evidence, write_positives
from workflow_scripts.lib.concepts.quality import true_names_of
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.job import job
from workflow_scripts.lib.texts.label_names import naming


def true_concepts(index, names, name_of):
    """Concept ids of the labels that the corpus has, sorted. Raises InputError if there is none.

    name_of: label -> the name that concepts are compared with.
    """
    labels = true_names_of(index, name_of)
    if not labels:
        raise InputError(
            "ground_truth: no training image has a label; leave this mining out or give labels"
        )
    id_of = {name: i for i, name in enumerate(names.to_pylist())}
    missing = sorted(labels - id_of.keys())
    logging.info("%d class names, %d not in the corpus: %s", len(labels), len(missing), missing)
    if len(missing) == len(labels):
        raise InputError(
            f"ground_truth: none of the {len(labels)} class names of the training images is in "
            f"the corpus (e.g. {missing[:3]}); leave this mining out, add the names, or if labels "
            "are ids give the image set's label_names"
        )
    return sorted(id_of[label] for label in labels & id_of.keys())


def mine_ground_truth(index, similarity, concepts, clusters, label_names, cfg, meta, output):
    """label_names: the table that names the labels, in a list, or none.

    cfg: mining (its config block), label_names (see `lib.texts.label_names.naming`).
    """
    names = read_table(concepts, ["concept"])["concept"].combine_chunks()
    true_ids = true_concepts(index, names, *naming(label_names, cfg["label_names"]))
    method, parameters = cfg["mining"]["method"], dict(cfg["mining"])
    del parameters["method"]
    evidence, image_ids = read_evidence(similarity, len(names), clusters, true_ids)
    columns = getattr(mining, method)(evidence, **parameters)
    meta |= {"method": method}
    if clusters:
        meta["clustering_encoder"] = read_meta(clusters)["encoder"]
    write_positives(output, columns, names, image_ids, meta)


if __name__ == "__main__":
    with job(snakemake):
        mine_ground_truth(
            snakemake.input.index,
            snakemake.input.similarity,
            snakemake.input.concepts,
            snakemake.input.clusters or None,
            snakemake.input.label_names,
            snakemake.params.cfg,
            {**snakemake.wildcards, "seed": int(snakemake.wildcards.seed)},
            snakemake.output[0],
        )
