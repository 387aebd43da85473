"""Store a detector: all that scores images of the same encoder, without the training images.

Out: detector.json and detector.safetensors, which lib/detection/stored.py opens. Detectors that
need all training images (kNN), or learn from the images that they score (AdaNeg), are left out.
"""

import pyarrow.compute as pc
from safetensors.numpy import load_file

from workflow_scripts.lib.artifacts import read_array, read_meta, read_table
from workflow_scripts.lib.clustering.joined import clusters_of_images
from workflow_scripts.lib.concepts.evidence import best_of_groups
from workflow_scripts.lib.concepts.positives import read_chosen, read_evidence
from workflow_scripts.lib.detection.bundle import write_detector
from workflow_scripts.lib.detection.detectors import column_of, with_temperatures
from workflow_scripts.lib.detection.images import fit_gaussians
from workflow_scripts.lib.detection.methods import METHODS
from workflow_scripts.lib.digest import PACKAGES, version_of
from workflow_scripts.lib.embeddings import open_embeddings
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.job import RECIPE, job


def save_detector(inputs, cfg, meta, outputs):
    """inputs: named paths, see `rules/detectors.smk`. cfg: corpora, prompts, encoder (its block),
    detectors (name -> block), clustering (its block with the seed, of another encoder that of
    `centres.assign`, or None), calibration (an image set or None), rate and decide_by (detector,
    negatives)."""
    names, positives, negatives = read_chosen(
        inputs.positives, inputs.negatives, cfg["corpora"], inputs.texts, inputs.concepts
    )
    description = read_meta(inputs.concepts[0]).get("encoder", {})
    kept, left_out = stored_and_left_out(cfg["detectors"], bool(cfg["clustering"]))
    columns = columns_of(kept, negatives)
    arrays = {"positives": positives}
    arrays |= {f"negatives.{name}": rows for name, rows in negatives.items()}
    arrays |= calibration_scores(inputs.scores, cfg["calibration"], columns)
    clusters = None
    if cfg["clustering"]:
        weights = cluster_weights(inputs)
        arrays |= {f"clusters.{name}": array for name, array in weights.items()}
        clusters = {"cfg": cfg["clustering"], "names": cluster_names(inputs)}
    if inputs.train:
        train = open_embeddings(inputs.train, inputs.train_index)
        assigned = clusters_of_images(inputs.clusters, train.index["image_id"])
        fitted = fit_gaussians(train, assigned)
        arrays |= {"gaussians.means": fitted.means, "gaussians.covariance": fitted.covariance}
    meta |= {
        "encoder": {"name": meta["encoder"], "block": cfg["encoder"], "description": description},
        "prompts": cfg["prompts"],
        "positives": names.to_pylist(),
        "negatives": negative_names(inputs.negatives, negatives),
        "detectors": with_temperatures(kept, description),
        "left_out": left_out,
        "columns": columns,
        "clusters": clusters,
        "calibration": cfg["calibration"],
        "rate": cfg["rate"],
        "decide_by": deciding(cfg["decide_by"], columns),
        "versions": {package: version_of(package) for package in sorted(PACKAGES)},
        "recipe": RECIPE.get()(),
    }
    write_detector(outputs.json, outputs.arrays, meta, arrays)


def stored_and_left_out(detectors, clustered):
    """The detectors that need no training images, and name -> why it is left out of the others."""
    left_out = {}
    for name, block in detectors.items():
        method = METHODS[block["method"]]
        if method.stateful:
            left_out[name] = "learns from the images that it scores"
        elif "train" in method.needs:
            left_out[name] = "needs the embeddings of all training images"
        elif "clusters" in method.needs and not clustered:
            left_out[name] = "needs clusters"
    kept = {name: block for name, block in detectors.items() if name not in left_out}
    if not kept:
        raise InputError(f"no detector of the study can be stored: {left_out}; add one, e.g. mcm")
    return kept, left_out


def columns_of(detectors, negatives):
    """The scores of these detectors, as columns of score files."""
    return [
        column_of(name, against)
        for name, block in detectors.items()
        for against in (negatives if "negatives" in METHODS[block["method"]].needs else [None])
    ]


def deciding(chosen, columns):
    """The column that decides. Raises InputError if its detector is one that is left out."""
    negatives = None if chosen["negatives"] == "none" else chosen["negatives"]
    column = column_of(chosen["detector"], negatives)
    if column not in columns:
        raise InputError(
            f"{column!r} decides in the study, but is not among what can be stored "
            f"({', '.join(columns)}); name another detector in the study's `decide_by`"
        )
    return column


def negative_names(path, blocks):
    """Block -> names of its negatives, in the order of their embeddings."""
    table = read_table(path, ["negatives", "concept"])
    return {
        name: table.filter(pc.equal(table["negatives"], name))["concept"].to_pylist()
        for name in blocks
    }


def cluster_weights(inputs):
    """What assigns images: the clustering's weights, or the mean embeddings of its clusters."""
    return load_file(inputs.model) if inputs.model else {"centres": read_array(inputs.centres)}


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
