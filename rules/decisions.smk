"""Scores -> which images do not belong: p-values, flags, lists of outliers.

Out: results/decisions/{study}/... (the scores with p-values and flags),
results/outliers/{study}/{image_set}.{csv,parquet} (the images of a set, those that belong least first),
results/studies/{study}/decisions.parquet (how many images of every set are flagged).
Labels reach none of these.
"""


def decision_config(wildcards):
    """The calibration set of a study, or None, and the share of ID images that may be flagged."""
    study = CONFIG["studies"][wildcards.study]
    calibration = configuration.calibration_set(study)
    return {"calibration": calibration, "false_alarm_rate": study["false_alarm_rate"]}


rule decide_images:
    input:
        scores="results/scores/{study}/{encoder}/{clustering}/{mining}/seed{seed}.parquet",
    output:
        decisions="results/decisions/{study}/{encoder}/{clustering}/{mining}/seed{seed}.parquet",
    log:
        "results/logs/decide_images/{study}/{encoder}/{clustering}/{mining}/seed{seed}.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=decision_config,
        code=code("decide_images"),
        above=above("decide_images"),
    script:
        "../workflow_scripts/decide_images.py"


def files_at(name, places, kind="scores"):
    """The scores or decisions of a study, of (encoder, clustering, mining, seed) each."""
    path = "results/{}/{}/{}/{}/{}/seed{}.parquet"
    return [path.format(kind, name, *place) for place in places]


def deciding_files(name, kind="scores"):
    """The scores or decisions of a study of which one column decides."""
    places = configuration.deciding_scores(CONFIG["studies"][name], CONFIG)
    return files_at(name, places, kind)


def images_to_sort(wildcards):
    """The decisions on an image set, its embeddings and those of the training images."""
    study = CONFIG["studies"][wildcards.study]
    encoder, image_set = deciding_encoder(study), wildcards.image_set
    train, locators = embeddings_of(encoder, [study["train"]]), []
    if is_archived(image_set, encoder):
        locators = f"results/images/{source_of(image_set)}/locators.parquet"
    return {
        "decisions": deciding_files(wildcards.study, "decisions"),
        **embeddings_of(encoder, [image_set]),
        "train": train["embeddings"],
        "train_index": train["index"],
        "locators": locators,
    }


def outlier_config(wildcards):
    """The detectors that may decide, and where images are."""
    study = CONFIG["studies"][wildcards.study]
    encoder, train = deciding_encoder(study), study["train"]
    return {
        "deciders": configuration.deciders(study, CONFIG),
        "trained_on": source_of(wildcards.image_set) == source_of(train),
        "root": root_of(wildcards.image_set, encoder),
        "train_root": None if is_archived(train, encoder) else root_of(train, encoder),
    }


rule list_outliers:
    input:
        unpack(images_to_sort),
    output:
        parquet="results/outliers/{study}/{image_set}.parquet",
        csv="results/outliers/{study}/{image_set}.csv",
    log:
        "results/logs/list_outliers/{study}/{image_set}.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=outlier_config,
        code=code("list_outliers"),
        above=above("list_outliers"),
    script:
        "../workflow_scripts/list_outliers.py"


def all_decisions(wildcards):
    """The decisions of every score file of a study, and what groups its images."""
    study = CONFIG["studies"][wildcards.study]
    return {
        "decisions": files_at(wildcards.study, score_files(study), "decisions"),
        "groups": group_tables(configuration.study_image_sets(study)[1:]),
    }


def counting_config(wildcards):
    """The image sets by their part in a study, and what groups their images."""
    study = CONFIG["studies"][wildcards.study]
    parts = {key: study[key] for key in ("test", "near", "far", "shift")}
    return parts | {"groups": group_blocks(configuration.study_image_sets(study)[1:])}


rule evaluate_decisions:
    input:
        unpack(all_decisions),
    output:
        table="results/studies/{study}/decisions.parquet",
    log:
        "results/logs/evaluate_decisions/{study}.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=counting_config,
        code=code("evaluate_decisions"),
        above=above("evaluate_decisions"),
    script:
        "../workflow_scripts/evaluate_decisions.py"


def calibrated_studies():
    """The studies in the run that hold out calibration images."""
    return [name for name in CONFIG["run"] if CONFIG["studies"][name]["calibrate"]]


def listed_sets(name):
    """The image sets of a study whose outliers are listed by default: all that it scores, if it
    flags images or has no OOD sets to measure on."""
    study = CONFIG["studies"][name]
    if study["calibrate"] or not (study["near"] or study["far"]):
        return list(dict.fromkeys(configuration.study_image_sets(study)[1:]))
    return []


def outliers_of_run():
    """The lists of outliers of the studies in the run."""
    for name in CONFIG["run"]:
        for image_set in listed_sets(name):
            yield from (f"results/outliers/{name}/{image_set}.{end}" for end in ("csv", "parquet"))
