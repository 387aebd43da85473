"""Positives, negatives and test images -> scores -> tables of each study.

Out: results/scores/{study}/... (one row per image, one column per detector),
results/studies/{study}/{ood,comparison,concepts,label_quality,cluster_names,clustering}.parquet.
"""

from workflow_scripts.lib.detection.methods import METHODS

# ---- scores ---------------------------------------------------------------------------------------


def images_to_score(wildcards):
    """The images of a study and what its detectors compare them with.

    Detectors that need no names are scored apart, with mining "none".
    """
    study = CONFIG["studies"][wildcards.study]
    images = embeddings_of(wildcards.encoder, configuration.scored_sets(study))
    if wildcards.mining != "none":
        names = "results/negatives/{study}/{encoder}/{clustering}/{mining}/seed{seed}.parquet"
        texts = texts_of(wildcards.encoder, configuration.study_corpora(study, CONFIG))
        positives = {"positives": positives_file(wildcards)}
        return images | texts | positives | {"negatives": names.format(**wildcards)}
    train = embeddings_of(wildcards.encoder, [study["train"]])
    sources = {"train": train["embeddings"], "train_index": train["index"]}
    if wildcards.clustering != "none":
        names = (wildcards.encoder, study["train"], wildcards.clustering, wildcards.seed)
        sources["clusters"] = clusters_of(*names)
    return images | sources


def compared_with(clustering, mining):
    """What the detectors of one score file compare images with."""
    if mining != "none":
        return "positives"
    return "train" if clustering == "none" else "clusters"


def scoring_config(wildcards):
    """The image sets in order, those that may have training images, the corpora, the blocks of the
    detectors, and for detectors with a memory the pairs of sets that each is to see by itself."""
    study = CONFIG["studies"][wildcards.study]
    kind = compared_with(wildcards.clustering, wildcards.mining)
    sets, trained = configuration.scored_sets(study), source_of(study["train"])
    detectors = {
        name: CONFIG["detectors"][name]
        for name in study["detectors"]
        if detector_needs(name) == kind
    }
    stateful = any(METHODS[block["method"]].stateful for block in detectors.values())
    return {
        "image_sets": numbers_of_parts(wildcards.encoder, sets),
        "trained_on": [name for name in sets if source_of(name) == trained],
        "corpora": configuration.study_corpora(study, CONFIG),
        "detectors": detectors,
        "pairs": configuration.scored_pairs(study) if stateful else [],
    }


def detector_modules(wildcards):
    """The modules of the detectors of one score file, for the digest of a job's code."""
    blocks = scoring_config(wildcards)["detectors"].values()
    return sorted({f"detection/{METHODS[block['method']].module}" for block in blocks})


rule score_images:
    input:
        unpack(images_to_score),
    output:
        scores="results/scores/{study}/{encoder}/{clustering}/{mining}/seed{seed}.parquet",
    log:
        "results/logs/score_images/{study}/{encoder}/{clustering}/{mining}/seed{seed}.log",
    conda:
        "../envs/workflow.yaml"
    resources:
        gpu=1,
    params:
        cfg=scoring_config,
        code=code("score_images", detector_modules),
        above=above("score_images"),
    script:
        "../workflow_scripts/score_images.py"


# ---- tables of a study ------------------------------------------------------------------------------


def naming_encoders(study):
    """The encoders of a study that have texts of its corpus, if any, and so can name clusters."""
    if study["corpus"] is None:
        return []
    blocks = {name: CONFIG["encoders"][name] for name in study["encoders"]}
    return [
        name
        for name, block in blocks.items()
        if block["method"] == "open_clip" or study["corpus"] in block.get("texts", {})
    ]


def positives_of(study):
    """(encoder, clustering, mining, seed) of every list of positives that a study compares."""
    for encoder in study["encoders"]:
        for mining in study["minings"]:
            if "clusters" in needs("minings", mining):
                for clustering in study["clusterings"]:
                    for seed in study["seeds"]:
                        yield encoder, clustering, mining, seed
            else:
                yield encoder, "none", mining, 0


def score_files(study):
    """(encoder, clustering, mining, seed) of every score file of a study: each list of positives,
    and mining "none" for the detectors that need no names."""
    kinds = {detector_needs(name) for name in study["detectors"]}
    if "positives" in kinds:
        yield from positives_of(study)
    for encoder in study["encoders"]:
        if "train" in kinds:
            yield encoder, "none", "none", 0
        if "clusters" in kinds:
            for clustering in study["clusterings"]:
                yield from ((encoder, clustering, "none", seed) for seed in study["seeds"])


def study_scores(wildcards):
    """The score files of a study, the flags of contaminated images, what groups images, and for the
    leaks of names the negatives, the labels of OOD images and the tree."""
    study, path = CONFIG["studies"][wildcards.study], "results/{}/{}/{}/{}/{}/seed{}.parquet"
    flags = f"results/contamination/{wildcards.study}.parquet"
    files = list(score_files(study))
    named = [names for names in files if names[2] != "none"]
    oods = [*study["near"], *study["far"]]
    return {
        "scores": [path.format("scores", wildcards.study, *names) for names in files],
        "flags": flags if study["contamination"] else [],
        "groups": group_tables([*compared_with_oods(study), *oods]),
        "negatives": [path.format("negatives", wildcards.study, *names) for names in named],
        "ood_index": [file for name in oods for file in indexes_of(study["encoders"][:1], name)],
        "label_names": label_tables(*oods),
        "trees": tree_files([study["tree"]]),
    }


def compared_with_oods(study):
    """The ID sets of a study: test and shifted."""
    return [study["test"], *study["shift"]]


def evaluation_config(wildcards):
    """The image sets by their part in a study, what groups their images and names the classes of OOD
    sets, the resamples and the reference."""
    study = CONFIG["studies"][wildcards.study]
    keys = ("test", "near", "far", "shift", "resamples", "reference")
    oods = [*study["near"], *study["far"]]
    return {key: study[key] for key in keys} | {
        "groups": group_blocks([*compared_with_oods(study), *oods]),
        "ood_parts": numbers_of_parts(study["encoders"][0], oods),
        "label_names": label_columns(*oods),
    }


def study_config(*keys):
    """Params function: these keys of the wildcards' study."""
    return lambda wildcards: {key: CONFIG["studies"][wildcards.study][key] for key in keys}


rule evaluate_ood:
    input:
        unpack(study_scores),
    output:
        ood="results/studies/{study}/ood.parquet",
        comparison="results/studies/{study}/comparison.parquet",
    log:
        "results/logs/evaluate_ood/{study}.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=evaluation_config,
        code=code("evaluate_ood"),
        above=above("evaluate_ood"),
    script:
        "../workflow_scripts/evaluate_ood.py"


def study_concepts(wildcards):
    """The lists of positives of a study, and the labels, images and names to judge them by."""
    study = CONFIG["studies"][wildcards.study]
    path = "results/concepts/{}/{train}/{corpus}/{}/{}/seed{}.parquet"
    test = [embeddings_of(encoder, [study["test"]]) for encoder in study["encoders"]]
    texts = [texts_of(encoder, [study["corpus"]]) for encoder in study["encoders"]]
    return {
        "positives": [path.format(*names, **study) for names in positives_of(study)],
        "index": indexes_of(study["encoders"], study["train"]),
        "test": [file for files in test for file in files["embeddings"]],
        "test_index": [file for files in test for file in files["index"]],
        "texts": [file for files in texts for file in files["texts"]],
        "concepts": [file for files in texts for file in files["concepts"]],
        "trees": tree_files([study["tree"]]),
        "label_names": label_tables(study["train"], study["test"]),
    }


def concepts_config(wildcards):
    """Number of parts of the test images by encoder, and how labels get their names."""
    study = CONFIG["studies"][wildcards.study]
    encoders = {name: len(parts_of(name, study["test"])) for name in study["encoders"]}
    return {"encoders": encoders, "label_names": label_columns(study["train"], study["test"])}


rule evaluate_concepts:
    input:
        unpack(study_concepts),
    output:
        concepts="results/studies/{study}/concepts.parquet",
        label_quality="results/studies/{study}/label_quality.parquet",
    log:
        "results/logs/evaluate_concepts/{study}.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=concepts_config,
        code=code("evaluate_concepts"),
        above=above("evaluate_concepts"),
    script:
        "../workflow_scripts/evaluate_concepts.py"


def vote_of(study):
    """The first mining method of a study by ClusterMine's vote; None if there is none."""
    methods = {name: CONFIG["minings"][name]["method"] for name in study["minings"]}
    return next((name for name, method in methods.items() if method == "clustermine"), None)


def study_names(wildcards):
    """The names of a study's clusters, and in the same order the positives of its vote."""
    study = CONFIG["studies"][wildcards.study]
    names = "results/names/{}/{train}/{corpus}/{}/seed{}.parquet"
    positives = "results/concepts/{}/{train}/{corpus}/{}/{vote}/seed{}.parquet"
    runs = [
        (encoder, clustering, seed)
        for encoder in naming_encoders(study)
        for clustering in study["clusterings"]
        for seed in study["seeds"]
    ]
    vote = vote_of(study)
    return {
        "names": [names.format(*run, **study) for run in runs],
        "positives": [positives.format(*run, **study, vote=vote) for run in runs if vote],
    }


rule tabulate_clusters:
    input:
        unpack(study_names),
    output:
        table="results/studies/{study}/cluster_names.parquet",
    log:
        "results/logs/tabulate_clusters/{study}.log",
    localrule: True
    conda:
        "../envs/workflow.yaml"
    params:
        cfg={},
        code=code("tabulate_clusters"),
        above=above("tabulate_clusters"),
    script:
        "../workflow_scripts/tabulate_clusters.py"


def clusterings_of(study):
    """(encoder, image set, clustering, seed) of every clustering of a study; the study's encoder."""
    for encoder in study["encoders"]:
        for clustering in study["clusterings"]:
            yield from ((encoder, study["train"], clustering, seed) for seed in study["seeds"])


def study_clusters(wildcards):
    """The clusterings of a study, and the labels to judge them by."""
    study = CONFIG["studies"][wildcards.study]
    encoders = [*study["encoders"], *configuration.clustering_encoders(study, CONFIG)]
    return {
        "clusters": [clusters_of(*names) for names in clusterings_of(study)],
        "index": indexes_of(dict.fromkeys(encoders), study["train"]),
    }


def clusters_config(wildcards):
    """The training images, and the study's encoder that each of its clusterings serves."""
    study = CONFIG["studies"][wildcards.study]
    encoders = [encoder for encoder, *_ in clusterings_of(study)]
    return {"train": study["train"], "encoders": encoders}


rule evaluate_clustering:
    input:
        unpack(study_clusters),
    output:
        table="results/studies/{study}/clustering.parquet",
    log:
        "results/logs/evaluate_clustering/{study}.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=clusters_config,
        code=code("evaluate_clustering"),
        above=above("evaluate_clustering"),
    script:
        "../workflow_scripts/evaluate_clustering.py"
