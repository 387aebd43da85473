"""Detectors to take away: one list of positives with all that scores images -> two files.

Out: results/detectors/{study}/... (detector.json, detector.safetensors). Asked for by name. They
need neither the training images nor other results. results/scored/{scored}/outliers.csv: new images,
scored by one of them.
"""

from workflow_scripts.lib.config.scored import START, scored_name
from workflow_scripts.lib.detection.methods import METHODS
from workflow_scripts.lib.images.kinds import ARCHIVES
from workflow_scripts.lib.recipes import digest

# ---- storing ----------------------------------------------------------------------------------------


def stores_clusters(wildcards):
    """Whether a detector takes its clusters along: those of another encoder could take in nothing."""
    clustering = wildcards.clustering
    return clustering != "none" and not configuration.own_encoders(clustering, CONFIG)


def parts_of_detector(wildcards):
    """What a detector is made of: names with their embeddings, clusters, calibration scores."""
    study = CONFIG["studies"][wildcards.study]
    names = "results/negatives/{study}/{encoder}/{clustering}/{mining}/seed{seed}.parquet"
    parts = texts_of(wildcards.encoder, configuration.study_corpora(study, CONFIG))
    parts |= {"positives": positives_file(wildcards), "negatives": names.format(**wildcards)}
    parts |= dict.fromkeys(("similarity", "clusters", "model", "train", "train_index"), [])
    kinds = {"positives"}
    if stores_clusters(wildcards):
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
    if not study["calibrate"]:
        return []
    path = "results/scores/{study}/{encoder}/{clustering}/{mining}/seed{seed}.parquet"
    minings = {"positives": wildcards.mining, "clusters": "none"}
    needed = {detector_needs(name) for name in study["detectors"]} & kinds
    return [path.format(**{**wildcards, "mining": minings[kind]}) for kind in sorted(needed)]


def detector_config(wildcards):
    """What a stored detector says of itself, and what it is made of."""
    study = CONFIG["studies"][wildcards.study]
    clustered = stores_clusters(wildcards)
    return {
        "corpora": configuration.study_corpora(study, CONFIG),
        "prompts": configuration.prompts_of(wildcards.encoder, study["corpus"], CONFIG),
        "encoder": encoder_config(wildcards),
        "detectors": {name: CONFIG["detectors"][name] for name in study["detectors"]},
        "clustering": clustering_config(wildcards) if clustered else None,
        "calibration": study["calibrate"] and study["calibrate"]["set"],
        "rate": study["false_alarm_rate"],
        "decide_by": configuration.deciding(study, CONFIG, clustered),
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


# ---- scoring ----------------------------------------------------------------------------------------


def images_for_detector(wildcards):
    """The embeddings of the new images, by the detector's encoder."""
    return embeddings_of(START + DETECTOR["encoder"]["name"], [START + wildcards.scored])


def modules_of_detector(wildcards):
    """The modules of a stored detector's methods, for the digest of a job's code."""
    modules = {f"detection/{METHODS[b['method']].module}" for b in DETECTOR["detectors"].values()}
    clusters = DETECTOR["clusters"]
    return sorted(modules | ({f"clustering/{clusters['cfg']['method']}"} if clusters else set()))


def config_for_detector(wildcards):
    """The detector, with a digest since it is no input: Snakemake would make it anew, from the
    training images. And where images that are files lie."""
    kind, _ = container_of(START + wildcards.scored)
    return {
        "detector": CONFIG["detector"],
        "content": digest(DETECTOR),
        "decide_by": CONFIG.get("decide_by"),
        "folder": None if kind in ARCHIVES else image_folder(START + wildcards.scored),
    }


rule score_with_detector:
    input:
        unpack(images_for_detector),
    output:
        parquet="results/scored/{scored}/outliers.parquet",
        csv="results/scored/{scored}/outliers.csv",
    log:
        "results/logs/score_with_detector/{scored}.log",
    wildcard_constraints:
        scored=one_of([scored_name(CONFIG)] if "detector" in CONFIG else []),
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=config_for_detector,
        code=code("score_with_detector", modules_of_detector),
        above=above("score_with_detector"),
    script:
        "../workflow_scripts/score_with_detector.py"


def scored_images(wildcards):
    """What `snakemake score` makes: the images by rank."""
    if "detector" not in CONFIG:
        raise WorkflowError(
            "score needs a detector and images: snakemake score --config folder=/data/new "
            "detector=results/detectors/..."
        )
    folder = f"results/scored/{scored_name(CONFIG)}"
    return [f"{folder}/outliers.parquet", f"{folder}/outliers.csv"]
