"""Detectors to take away: one list of positives with all that scores images -> two files.

Out: results/detectors/{study}/... (detector.json, detector.safetensors). Asked for by name. They
need neither the training images nor other results.
"""


def parts_of_detector(wildcards):
    """What a detector is made of: names with their embeddings, clusters, calibration scores."""
    study = CONFIG["studies"][wildcards.study]
    names = "results/negatives/{study}/{encoder}/{clustering}/{mining}/seed{seed}.parquet"
    parts = texts_of(wildcards.encoder, configuration.study_corpora(study, CONFIG))
    parts |= {"positives": positives_file(wildcards), "negatives": names.format(**wildcards)}
    parts |= dict.fromkeys(("similarity", "clusters", "model", "train", "train_index"), [])
    kinds = {"positives"}
    if wildcards.clustering != "none":
        parts |= clusters_to_store(wildcards, study)
        kinds.add("clusters")
    return parts | {"scores": scores_to_store(wildcards, study, kinds)}


def clusters_to_store(wildcards, study):
    """One clustering with what names it and, for Mahalanobis, what its covariance is fitted on."""
    path = "results/clusters/{encoder}/{train}/{clustering}/seed{seed}"
    stem = path.format(train=study["train"], **wildcards)
    similarity = (
        f"results/similarity/{wildcards.encoder}/{study['train']}/{study['corpus']}.parquet"
    )
    parts = {
        "similarity": similarity,
        "clusters": f"{stem}.parquet",
        "model": f"{stem}.safetensors",
    }
    if any(detector_needs(name) == "clusters" for name in study["detectors"]):
        train = embeddings_of(wildcards.encoder, [study["train"]])
        parts |= {"train": train["embeddings"], "train_index": train["index"]}
    return parts


def scores_to_store(wildcards, study, kinds):
    """The score files with the study's calibration images, of detectors of these kinds; else none."""
    if not study.get("calibration"):
        return []
    path = "results/scores/{study}/{encoder}/{clustering}/{mining}/seed{seed}.parquet"
    minings = {"positives": wildcards.mining, "clusters": "none"}
    needed = {detector_needs(name) for name in study["detectors"]} & kinds
    return [path.format(**{**wildcards, "mining": minings[kind]}) for kind in sorted(needed)]


def detector_config(wildcards):
    """What a stored detector says of itself, and what it is made of."""
    study = CONFIG["studies"][wildcards.study]
    clustered = wildcards.clustering != "none"
    return {
        "corpora": configuration.study_corpora(study, CONFIG),
        "prompts": configuration.prompts_of(wildcards.encoder, study["corpus"], CONFIG),
        "encoder": encoder_config(wildcards),
        "detectors": {name: CONFIG["detectors"][name] for name in study["detectors"]},
        "clustering": clustering_config(wildcards) if clustered else None,
        "calibration": study.get("calibration"),
        "rate": study.get("rate", 0.05),
        "decide_by": study.get("decide_by"),
    }


rule save_detector:
    input:
        unpack(parts_of_detector),
    output:
        json="results/detectors/{study}/{encoder}/{clustering}/{mining}/seed{seed}/detector.json",
        arrays="results/detectors/{study}/{encoder}/{clustering}/{mining}/seed{seed}/detector.safetensors",
    log:
        "results/logs/save_detector/{study}/{encoder}/{clustering}/{mining}/seed{seed}.log",
    wildcard_constraints:
        mining=one_of(CONFIG["minings"]),
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=detector_config,
        code=code("save_detector"),
        above=above("save_detector"),
    script:
        "../workflow_scripts/save_detector.py"
