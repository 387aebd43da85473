"""One row per image of a study: where it is, its cluster and names, its scores.

Out: results/studies/{study}/images.{parquet,csv}. They are made when asked for by name.
"""


def described_run(study):
    """(encoder, clustering, mining, seed) that describe the images of a study: its first ones by
    clusters. None if the study scores no images by the names of clusters."""
    named = any(detector_needs(name) == "positives" for name in study["detectors"])
    for encoder, clustering, mining, seed in positives_of(study) if named else ():
        # Clusters of another encoder's images cannot take in the images of this one.
        if clustering != "none" and not configuration.own_encoders(clustering, CONFIG):
            return encoder, clustering, mining, seed
    return None


def places_of(encoder, image_sets):
    """Image set -> the root of its images, None of precomputed embeddings; are they in archives?"""
    return {
        name: {"root": root_of(name, encoder), "archived": is_archived(name, encoder)}
        for name in image_sets
    }


def images_to_describe(wildcards):
    """What is known of the training images and of the scored images of a study."""
    study = CONFIG["studies"][wildcards.study]
    encoder, clustering, mining, seed = described_run(study)
    train, corpus = study["train"], study["corpus"]
    clusters = f"results/clusters/{encoder}/{train}/{clustering}/seed{seed}"
    places = places_of(encoder, [train, *configuration.scored_sets(study)])
    return embeddings_of(encoder, configuration.scored_sets(study)) | {
        "similarity": f"results/similarity/{encoder}/{train}/{corpus}.parquet",
        "concepts": f"results/embeddings/{encoder}/texts/{corpus}.parquet",
        "clusters": f"{clusters}.parquet",
        "model": f"{clusters}.safetensors",
        "names": f"results/names/{encoder}/{train}/{corpus}/{clustering}/seed{seed}.parquet",
        "scores": f"results/scores/{wildcards.study}/{encoder}/{clustering}/{mining}/seed{seed}.parquet",
        "locators": [
            f"results/images/{source_of(name)}/locators.parquet"
            for name, place in places.items()
            if place["archived"]
        ],
        "decisions": deciding_files(wildcards.study, "decisions") if study["calibrate"] else [],
    }


def description_config(wildcards):
    """The training set, where images are, the clustering, and what may decide."""
    study = CONFIG["studies"][wildcards.study]
    encoder, clustering, _, seed = described_run(study)
    return {
        "train": study["train"],
        "places": places_of(encoder, [study["train"], *configuration.scored_sets(study)]),
        "clustering": config_to_cluster(clustering, study["train"], seed),
        "deciders": configuration.deciders(study, CONFIG) if study["calibrate"] else None,
    }


def description_modules(wildcards):
    """The modules of the clustering, for the digest of a job's code."""
    study = CONFIG["studies"][wildcards.study]
    _, clustering, _, seed = described_run(study)
    return modules_to_cluster(config_to_cluster(clustering, study["train"], seed))


rule describe_images:
    input:
        unpack(images_to_describe),
    output:
        parquet="results/studies/{study}/images.parquet",
        csv="results/studies/{study}/images.csv",
    log:
        "results/logs/describe_images/{study}.log",
    wildcard_constraints:
        study=one_of([name for name, block in CONFIG["studies"].items() if described_run(block)]),
    conda:
        "../envs/workflow.yaml"
    resources:
        gpu=1,
    params:
        cfg=description_config,
        code=code("describe_images", description_modules),
        above=above("describe_images"),
    script:
        "../workflow_scripts/describe_images.py"
