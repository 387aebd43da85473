"""Store a detector: all that scores images of the same encoder, without the training images.

Out: detector.json and detector.safetensors, which lib/detection/stored.py opens. Detectors that
need all training images (kNN), learn from the images that they score (AdaNeg) or cannot score
(too few negatives for NegLabel's groups) are left out, with the reason.
"""

import numpy as np
import pyarrow.compute as pc

from workflow_scripts.lib.artifacts import read_array, read_meta, read_table
from workflow_scripts.lib.clustering.joined import clusters_of_images
from workflow_scripts.lib.concepts.evidence import best_of_groups
from workflow_scripts.lib.concepts.positives import check_centres, read_chosen, read_evidence
from workflow_scripts.lib.detection.bundle import write_detector
from workflow_scripts.lib.detection.detectors import (
    column_of,
    possible,
    score_blocks,
    with_temperatures,
)
from workflow_scripts.lib.detection.images import fit_gaussians
from workflow_scripts.lib.detection.methods import METHODS
from workflow_scripts.lib.digest import PACKAGES, version_of
from workflow_scripts.lib.embeddings import open_embeddings
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.job import RECIPE, job
from workflow_scripts.lib.tensors import read_tensors


def save_detector(inputs, cfg, meta, outputs):
    """inputs: named paths, see `rules/detectors.smk`. cfg: corpora, prompts, encoder (its block),
    detectors (name -> block), clustering (its block with the seed, of another encoder that of
    `centres.assign`, or None), calibration (an image set or None), rate and deciders (of
    `queries`)."""
    names, positives, negatives = read_chosen(
        inputs.positives, inputs.negatives, cfg["corpora"], inputs.texts, inputs.concepts
    )
    description = read_meta(inputs.concepts[0]).get("encoder", {})
    left_out = not_storable(cfg["detectors"], bool(cfg["clustering"]))
    kept = {name: block for name, block in cfg["detectors"].items() if name not in left_out}
    kept, arrays = with_temperatures(kept, description), {"positives": positives}
    arrays |= {f"negatives.{name}": rows for name, rows in negatives.items()}
    clusters = fitted = None
    if cfg["clustering"]:
        weights = cluster_weights(inputs)
        arrays |= {f"clusters.{name}": array for name, array in weights.items()}
        clusters = {"cfg": cfg["clustering"], "names": cluster_names(inputs)}
    if inputs.train:
        train = open_embeddings(inputs.train, inputs.train_index)
        assigned = clusters_of_images(inputs.clusters, train.index["image_id"])
        fitted = fit_gaussians(train, assigned)
        arrays |= {"gaussians.means": fitted.means, "gaussians.covariance": fitted.covariance}
    unfound = read_meta(inputs.negatives).get("missing", {})
    left_out |= cannot_score(kept, positives, negatives, unfound, fitted)
    left_out |= not_calibrated(inputs.scores, cfg["calibration"], kept)
    scored = columns_of(kept, negatives, left_out)
    columns = [column for of_one in scored.values() for column in of_one]
    kept = {name: block for name, block in kept.items() if scored[name]}
    arrays |= calibration_scores(inputs.scores, cfg["calibration"], columns)
    meta |= {
        "encoder": {"name": meta["encoder"], "block": cfg["encoder"], "description": description},
        "prompts": cfg["prompts"],
        "positives": names.to_pylist(),
        "negatives": negative_names(inputs.negatives, negatives),
        "detectors": kept,
        "left_out": left_out,
        "columns": columns,
        "clusters": clusters,
        "calibration": cfg["calibration"],
        "rate": cfg["rate"],
        "decide_by": deciding(cfg["deciders"], columns, left_out, meta["study"]),
        "versions": {package: version_of(package) for package in sorted(PACKAGES)},
        "recipe": RECIPE.get()(),
    }
    write_detector(outputs.json, outputs.arrays, meta, arrays)


def not_storable(detectors, clustered):
    """Name -> why a detector is not stored, of those that need more than is stored."""
    left_out = {}
    for name, block in detectors.items():
        method = METHODS[block["method"]]
        if method.stateful:
            left_out[name] = "learns from the images that it scores"
        elif "train" in method.needs:
            left_out[name] = "needs the embeddings of all training images"
        elif "clusters" in method.needs and not clustered:
            left_out[name] = "needs clusters"
    return left_out


def cannot_score(detectors, positives, negatives, unfound, clusters):
    """Column -> why it cannot be scored, found by scoring one image, the first positive.

    detectors, positives, negatives, clusters: as in `score_blocks`; unfound: as in `possible`.
    """
    known, missing = possible(detectors, negatives, unfound)
    image = positives[:1].astype(np.float32)
    score_blocks([image], positives, negatives, known, clusters=clusters, missing=missing)
    return {column_of(*key): why for key, why in missing.items()}


def not_calibrated(files, image_set, detectors):
    """Column -> why the study has no scores of it for its calibration images; {} without these."""
    cells = [cell for path in files if image_set for cell in read_meta(path)["missing"]]
    return {column_named(cell): cell["reason"] for cell in cells if cell["detector"] in detectors}


def column_named(cell):
    """The column of a detector and its negatives, "none" for a detector without."""
    negatives = None if cell["negatives"] == "none" else cell["negatives"]
    return column_of(cell["detector"], negatives)


def columns_of(detectors, negatives, left_out):
    """Detector -> its columns in score files that are not left out."""
    columns = {}
    for name, block in detectors.items():
        against = negatives if "negatives" in METHODS[block["method"]].needs else [None]
        every = [column_of(name, block_name) for block_name in against]
        columns[name] = [column for column in every if column not in left_out]
    return columns


def deciding(deciders, columns, left_out, study):
    """The column that decides: the first of the deciders that is stored.

    deciders: dicts with detector and negatives. columns: what is stored. left_out: column, or
    detector, -> why it is not. study: its name. Raises InputError if none is stored.
    """
    asked = {column_named(names): names["detector"] for names in deciders}
    for column in asked:
        if column in columns:
            return column
    mend = f"name another score in its `decide_by`: {', '.join(columns)}"
    if not columns:
        mend = "add a detector that can be stored to its `detectors`, e.g. max_logit"
    reasons = [
        f"{column} ({left_out.get(column) or left_out[name]})" for column, name in asked.items()
    ]
    raise InputError(f"studies.{study}: cannot be stored to decide: {'; '.join(reasons)}; {mend}")


def negative_names(path, blocks):
    """Block -> names of its negatives, in the order of their embeddings."""
    table = read_table(path, ["negatives", "concept"])
    return {
        name: table.filter(pc.equal(table["negatives"], name))["concept"].to_pylist()
        for name in blocks
    }


def cluster_weights(inputs):
    """What assigns images: the clustering's weights, or the mean embeddings of its clusters."""
    if inputs.model:
        return read_tensors(inputs.model)
    check_centres(*inputs.centres, inputs.clusters)
    return {"centres": read_array(*inputs.centres)}


def cluster_names(inputs):
    """The best concept of most images of every cluster, ties as in `clustermine`; None if empty."""
    concepts = read_table(inputs.concepts[0], ["concept"])["concept"].to_pylist()
    evidence, _ = read_evidence(inputs.similarity, len(concepts), inputs.clusters)
    clusters, ids, votes, cosines = evidence.cluster_votes
    best = best_of_groups(clusters, ids, votes, cosines, 1)
    names = [None] * read_meta(inputs.clusters)["k"]
    for cluster, concept in zip(clusters[best].tolist(), ids[best].tolist(), strict=True):
        names[cluster] = concepts[concept]
    return names


def calibration_scores(files, image_set, columns):
    """calibration.{column} -> scores of the calibration images, float32 [n]; {} without these."""
    found = {}
    for path in files if image_set else []:
        table = read_table(path)
        table = table.filter(pc.equal(table["image_set"], image_set))
        for column in set(columns) & set(table.column_names):
            found[f"calibration.{column}"] = table[column].to_numpy()
    return found


if __name__ == "__main__":
    with job(snakemake):
        save_detector(
            snakemake.input,
            snakemake.params.cfg,
            {**snakemake.wildcards, "seed": int(snakemake.wildcards.seed)},
            snakemake.output,
        )
