"""Detectors to take away: one list of positives with all that scores images -> two files.

Out: results/detectors/{study}/... (detector.json, detector.safetensors). Asked for by name. They
need neither the training images nor other results. results/scored/{scored}/outliers.csv: new images,
scored by one of them.
"""

from workflow_scripts.lib.config.scored import START, images_to_score, scored_name
from workflow_scripts.lib.detection.methods import METHODS
from workflow_scripts.lib.recipes import digest

# ---- storing ----------------------------------------------------------------------------------------


def parts_of_detector(wildcards):
    """What a detector is made of: names with their embeddings, clusters, calibration scores."""
    study = CONFIG["studies"][wildcards.study]
    names = "results/negatives/{study}/{encoder}/{clustering}/{mining}/seed{seed}.parquet"
    parts = texts_of(wildcards.encoder, configuration.study_corpora(study, CONFIG))
    parts |= {"positives": positives_file(wildcards), "negatives": names.format(**wildcards)}
    unused = ("similarity", "clusters", "model", "centres", "train", "train_index")
    parts |= dict.fromkeys(unused, [])
    kinds = {"positives"}
    if wildcards.clustering != "none":
        parts |= clusters_to_store(wildcards, study)
        kinds.add("clusters")
    return parts | {"scores": scores_to_store(wildcards, study, kinds)}


def clusters_to_store(wildcards, study):
    """One clustering with what names it, what assigns images to it (its model, or of another encoder
    the mean embeddings) and, for Mahalanobis, what its covariance is fitted on."""
    encoder, clustering, train = wildcards.encoder, wildcards.clustering, study["train"]
    clusters = clusters_of(encoder, train, clustering, wildcards.seed)
    parts = {
        "similarity": f"results/similarity/{encoder}/{train}/{study['corpus']}.parquet",
        "clusters": clusters,
    }
    if configuration.own_encoders(clustering, CONFIG):
        centres = f"results/centres/{encoder}/{train}/{clustering}/seed{wildcards.seed}"
        parts["centres"] = [f"{centres}.npy", f"{centres}.json"]
    else:
        parts["model"] = str(Path(clusters).with_suffix(".safetensors"))
    if any(detector_needs(name) == "clusters" for name in study["detectors"]):
        images = embeddings_of(encoder, [train])
        parts |= {"train": images["embeddings"], "train_index": images["index"]}
    return parts


def scores_to_store(wildcards, study, kinds):
    """The score files with the study's calibration images, of detectors of these kinds; else none."""
    if not study["calibrate"]:
        return []
    path = "results/scores/{study}/{encoder}/{clustering}/{mining}/seed{seed}.parquet"
    minings = {"positives": wildcards.mining, "clusters": "none"}
    needed = {detector_needs(name) for name in study["detectors"]} & kinds
    return [path.format(**{**wildcards, "mining": minings[kind]}) for kind in sorted(needed)]


def assignment_config(wildcards):
    """How a stored detector assigns images to clusters; None without clusters."""
    if wildcards.clustering == "none":
        return None
    own = configuration.own_encoders(wildcards.clustering, CONFIG)
    return {"method": "centres", "encoders": own} if own else clustering_config(wildcards)


def detector_config(wildcards):
    """What a stored detector says of itself, and what it is made of."""
    study, clustering = CONFIG["studies"][wildcards.study], assignment_config(wildcards)
    return {
        "corpora": configuration.study_corpora(study, CONFIG),
        "prompts": configuration.prompts_of(wildcards.encoder, study["corpus"], CONFIG),
        "encoder": encoder_config(wildcards),
        "detectors": {name: CONFIG["detectors"][name] for name in study["detectors"]},
        "clustering": clustering,
        "calibration": study["calibrate"] and study["calibrate"]["set"],
        "rate": study["false_alarm_rate"],
        "deciders": configuration.deciders(study, CONFIG),
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
    """The embeddings of the new images, by the detector's encoder, and where archives hold them."""
    encoder, image_set = START + DETECTOR["encoder"]["name"], START + wildcards.scored
    locators = []
    if is_archived(image_set, encoder):
        locators = f"results/images/{image_set}/locators.parquet"
    return embeddings_of(encoder, [image_set]) | {"locators": locators}


def modules_of_detector(wildcards):
    """The modules of a stored detector's methods, for the digest of a job's code."""
    modules = {f"detection/{METHODS[b['method']].module}" for b in DETECTOR["detectors"].values()}
    clusters = DETECTOR["clusters"]
    return sorted(modules | set(modules_to_cluster(clusters["cfg"]) if clusters else ()))


def config_for_detector(wildcards):
    """The detector, with a digest since it is no input: Snakemake would make it anew, from the
    training images. And what holds the images, and how they were given."""
    encoder = START + DETECTOR["encoder"]["name"]
    return {
        "detector": CONFIG["detector"],
        "content": digest(DETECTOR),
        "decide_by": CONFIG.get("decide_by"),
        "images": list(images_to_score(CONFIG)),
        "root": root_of(START + wildcards.scored, encoder),
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
    resources:
        gpu=1,
    params:
        cfg=config_for_detector,
        code=code("score_with_detector", modules_of_detector),
        above=above("score_with_detector"),
    script:
        "../workflow_scripts/score_with_detector.py"


@functools.cache
def say_what_is_left_out():
    """Say once which scores of its study a stored detector lacks, and why."""
    if IS_MAIN and DETECTOR["left_out"]:
        reasons = "; ".join(f"{name}: {why}" for name, why in DETECTOR["left_out"].items())
        logger.warning(f"The detector was stored without these of its study: {reasons}")


def scored_images(wildcards):
    """What `snakemake score` makes: the images by rank."""
    if "detector" not in CONFIG:
        raise WorkflowError(
            "score needs a detector and images: snakemake score --config folder=/data/new "
            "detector=results/detectors/..."
        )
    say_what_is_left_out()
    folder = f"results/scored/{scored_name(CONFIG)}"
    return [f"{folder}/outliers.parquet", f"{folder}/outliers.csv"]
