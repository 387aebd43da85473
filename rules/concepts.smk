"""Image and text embeddings, clusters -> mined concepts (positives) and negatives.

Out: results/similarity/... (best concepts per image), results/concepts/... (positives with their
votes), results/names/... (the name of every cluster), results/negatives/...,
results/studies/{study}/number_of_clusters.parquet (sweeps over k with names). Only one rule reads
labels: mine_ground_truth, the oracle.
"""


rule match_concepts:
    input:
        unpack(image_embeddings),
        texts="results/embeddings/{encoder}/texts/{corpus}.npy",
        concepts="results/embeddings/{encoder}/texts/{corpus}.parquet",
    output:
        similarity="results/similarity/{encoder}/{image_set}/{corpus}.parquet",
    log:
        "results/logs/match_concepts/{encoder}/{image_set}/{corpus}.log",
    conda:
        "../envs/workflow.yaml"
    threads: 8
    resources:
        gpu=1,
    params:
        cfg=lambda wildcards: {"top": CONFIG["corpora"][wildcards.corpus]["top_concepts"]},
        code=code("match_concepts"),
        above=above("match_concepts"),
    script:
        "../workflow_scripts/match_concepts.py"


# ---- positives --------------------------------------------------------------------------------------


def reading_labels(yes):
    """Wildcard constraint: the mining methods that read labels, or those that do not."""
    return one_of(
        [name for name in CONFIG["minings"] if ("labels" in needs("minings", name)) == yes]
    )


def clusters_if_any(wildcards):
    """The clusters that the wildcards name; none for methods that work on single images."""
    return [] if wildcards.clustering == "none" else clusters_file(wildcards)


def centres_and_texts(wildcards):
    """Cluster centres, what is beside them, and text embeddings, for methods that compare them."""
    if "centres" not in needs("minings", wildcards.mining):
        return []
    centres = "results/centres/{encoder}/{image_set}/{clustering}/seed{seed}".format(**wildcards)
    return [
        f"{centres}.npy",
        f"{centres}.json",
        f"results/embeddings/{wildcards.encoder}/texts/{wildcards.corpus}.npy",
    ]


def given_files(section, names):
    """The files of the blocks of a section with a given list of names, in the order of the blocks."""
    blocks = [CONFIG[section][name] for name in names]
    return in_place(source(block["file"]["path"]) for block in blocks if block["method"] == "given")


def given_modules(section, names):
    """The modules that read these files, for the digest of a job's code."""
    blocks = [CONFIG[section][name] for name in names]
    kinds = {block["file"]["format"] for block in blocks if block["method"] == "given"}
    return [f"texts/sources/{kind}" for kind in sorted(kinds)]


rule mine_concepts:
    input:
        similarity="results/similarity/{encoder}/{image_set}/{corpus}.parquet",
        concepts="results/embeddings/{encoder}/texts/{corpus}.parquet",
        clusters=clusters_if_any,
        centres=centres_and_texts,
        given=lambda wildcards: given_files("minings", [wildcards.mining]),
    output:
        positives="results/concepts/{encoder}/{image_set}/{corpus}/{clustering}/{mining}/seed{seed}.parquet",
    log:
        "results/logs/mine_concepts/{encoder}/{image_set}/{corpus}/{clustering}/{mining}/seed{seed}.log",
    wildcard_constraints:
        mining=reading_labels(False),
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=block("minings", "mining"),
        code=code("mine_concepts", lambda w: given_modules("minings", [w.mining])),
        above=above("mine_concepts"),
    script:
        "../workflow_scripts/mine_concepts.py"


def oracle_config(wildcards):
    """The oracle's block, and how labels get their names."""
    mining = CONFIG["minings"][wildcards.mining]
    return {"mining": mining, "label_names": label_columns(wildcards.image_set)}


rule mine_ground_truth:
    input:
        similarity="results/similarity/{encoder}/{image_set}/{corpus}.parquet",
        concepts="results/embeddings/{encoder}/texts/{corpus}.parquet",
        clusters=clusters_if_any,
        index=lambda wildcards: indexes_of([wildcards.encoder], wildcards.image_set),
        label_names=lambda wildcards: label_tables(wildcards.image_set),
    output:
        positives="results/concepts/{encoder}/{image_set}/{corpus}/{clustering}/{mining}/seed{seed}.parquet",
    log:
        "results/logs/mine_ground_truth/{encoder}/{image_set}/{corpus}/{clustering}/{mining}/seed{seed}.log",
    wildcard_constraints:
        mining=reading_labels(True),
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=oracle_config,
        code=code("mine_ground_truth"),
        above=above("mine_ground_truth"),
    script:
        "../workflow_scripts/mine_ground_truth.py"


# ---- names of clusters ------------------------------------------------------------------------------


rule name_clusters:
    input:
        unpack(images_and_clusters),
        similarity="results/similarity/{encoder}/{image_set}/{corpus}.parquet",
        centres="results/centres/{encoder}/{image_set}/{clustering}/seed{seed}.npy",
        about_centres="results/centres/{encoder}/{image_set}/{clustering}/seed{seed}.json",
        texts="results/embeddings/{encoder}/texts/{corpus}.npy",
        concepts="results/embeddings/{encoder}/texts/{corpus}.parquet",
    output:
        names="results/names/{encoder}/{image_set}/{corpus}/{clustering}/seed{seed}.parquet",
    log:
        "results/logs/name_clusters/{encoder}/{image_set}/{corpus}/{clustering}/seed{seed}.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg={},
        code=code("name_clusters"),
        above=above("name_clusters"),
    script:
        "../workflow_scripts/name_clusters.py"


def sweeps_of(study):
    """(encoder, clustering encoder) of every number of clusters that a study leaves to the sweep:
    the study's encoder, which can name clusters, and the one whose space the sweep is in."""
    pairs = [
        (encoder, configuration.clustering_encoder(name, encoder, CONFIG))
        for name in study["clusterings"]
        if CONFIG["clusterings"][name]["k"] == "auto"
        for encoder in naming_encoders(study)
    ]
    return list(dict.fromkeys(pairs))


def study_sweeps(wildcards):
    """The sweeps over the number of clusters of a study, and the best concepts of its images."""
    study = CONFIG["studies"][wildcards.study]
    files = {
        "sweeps": "results/k/{own}/{train}/sweep.parquet",
        "choices": "results/k/{own}/{train}/choice.json",
        "clusters": "results/k/{own}/{train}/clusters.parquet",
        "similarity": "results/similarity/{encoder}/{train}/{corpus}.parquet",
    }
    return {
        key: [path.format(encoder=encoder, own=own, **study) for encoder, own in sweeps_of(study)]
        for key, path in files.items()
    }


def sweeps_config(wildcards):
    """The encoders of a study's sweeps, in the order of the files."""
    return {"encoders": [list(pair) for pair in sweeps_of(CONFIG["studies"][wildcards.study])]}


rule tabulate_sweep:
    input:
        unpack(study_sweeps),
    output:
        table="results/studies/{study}/number_of_clusters.parquet",
    log:
        "results/logs/tabulate_sweep/{study}.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=sweeps_config,
        code=code("tabulate_sweep"),
        above=above("tabulate_sweep"),
    script:
        "../workflow_scripts/tabulate_sweep.py"


# ---- negatives --------------------------------------------------------------------------------------


def positives_file(wildcards):
    """The list of positives that the wildcards of a study name."""
    study = CONFIG["studies"][wildcards.study]
    return (
        "results/concepts/{encoder}/{train}/{corpus}/{clustering}/{mining}/seed{seed}.parquet"
    ).format(train=study["train"], corpus=study["corpus"], **wildcards)


def far_from_images(wildcards):
    """Whether negatives of a study are to be far from the training images."""
    blocks = CONFIG["studies"][wildcards.study]["negatives"]
    return any(CONFIG["negatives"][name]["distance_to"] == "images" for name in blocks)


def positives_and_candidates(wildcards):
    """What the choice of negatives reads: one list of positives, corpora, concept trees, given lists
    of names and, where distances are to images, the training images."""
    study = CONFIG["studies"][wildcards.study]
    sets = [study["train"]] if far_from_images(wildcards) else []
    train = embeddings_of(wildcards.encoder, sets)
    return texts_of(wildcards.encoder, configuration.study_corpora(study, CONFIG)) | {
        "train": train["embeddings"],
        "train_index": train["index"],
        "positives": positives_file(wildcards),
        "trees": tree_files(CONFIG["negatives"][name]["tree"] for name in study["negatives"]),
        "given": given_files("negatives", study["negatives"]),
    }


def negatives_config(wildcards):
    """A study's corpora, and its blocks of negatives by name."""
    study = CONFIG["studies"][wildcards.study]
    blocks = {name: CONFIG["negatives"][name] for name in study["negatives"]}
    return {"corpora": configuration.study_corpora(study, CONFIG), "negatives": blocks}


def negatives_modules(wildcards):
    """The modules that read the given lists of a study's negatives, for the digest."""
    return given_modules("negatives", CONFIG["studies"][wildcards.study]["negatives"])


rule mine_negatives:
    input:
        unpack(positives_and_candidates),
    output:
        negatives="results/negatives/{study}/{encoder}/{clustering}/{mining}/seed{seed}.parquet",
    log:
        "results/logs/mine_negatives/{study}/{encoder}/{clustering}/{mining}/seed{seed}.log",
    conda:
        "../envs/workflow.yaml"
    resources:
        gpu=lambda wildcards: int(far_from_images(wildcards)),
    params:
        cfg=negatives_config,
        code=code("mine_negatives", negatives_modules),
        above=above("mine_negatives"),
    script:
        "../workflow_scripts/mine_negatives.py"
