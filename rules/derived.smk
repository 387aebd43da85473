"""Image sets made of others, for benchmarks and calibration: some images, or coarser labels.

Out: results/embeddings/{encoder}/images/{image_set}/... with the index of the chosen images; sets
with coarser labels have an index alone and share the embeddings of their source.
"""


def derivation(wildcards):
    """The config block that says how an image set is derived."""
    return CONFIG["image_sets"][wildcards.image_set]["derive"]


def images_to_derive_from(wildcards):
    """Embeddings of the image set that the wildcards' one is derived from."""
    return embeddings_of(wildcards.encoder, [derivation(wildcards)["from"]])


rule derive_images:
    input:
        unpack(images_to_derive_from),
    output:
        embeddings="results/embeddings/{encoder}/images/{image_set}/00000.npy",
        index="results/embeddings/{encoder}/images/{image_set}/00000.parquet",
    log:
        "results/logs/derive_images/{encoder}/{image_set}.log",
    wildcard_constraints:
        image_set=derived_by("sample", "holdout", "imbalance", "long_tail", "difficulty"),
    conda:
        "../envs/workflow.yaml"
    resources:
        gpu=lambda wildcards: int(derivation(wildcards).get("classifier") == "knn"),
    params:
        cfg=derivation,
        code=code("derive_images"),
        above=above("derive_images"),
    script:
        "../workflow_scripts/derive_images.py"


def labels_to_coarsen(wildcards):
    """All indexes of the image set that the wildcards' one is derived from, and the tree."""
    cut = derivation(wildcards)
    folder = f"results/embeddings/{wildcards.encoder}/images/{cut['from']}"
    return {
        "index": indexes_of([wildcards.encoder], cut["from"]),
        "part": f"{folder}/{wildcards.part}.parquet",
        "tree": tree_files([cut["tree"]]),
    }


rule coarsen_labels:
    input:
        unpack(labels_to_coarsen),
    output:
        index="results/embeddings/{encoder}/images/{image_set}/{part}.parquet",
    log:
        "results/logs/coarsen_labels/{encoder}/{image_set}/{part}.log",
    wildcard_constraints:
        image_set=derived_by("granularity"),
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=derivation,
        code=code("coarsen_labels"),
        above=above("coarsen_labels"),
    script:
        "../workflow_scripts/coarsen_labels.py"
