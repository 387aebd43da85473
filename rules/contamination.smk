"""Images of a study that are where they should not be: ID content in OOD sets, copies across sets.

Out: results/contamination/{study}.parquet (OOD images that show an ID class),
results/duplicates/{study}.parquet (images that occur twice),
results/studies/{study}/contamination.parquet.
"""

# ---- contamination --------------------------------------------------------------------------------


def groups_of_judged_sets(study):
    """Image set -> its group, of the sets that are searched for ID images: OOD, and the ID test set."""
    groups = {study["test"]: "test"}
    return groups | {name: group for group in ("near", "far") for name in study[group]}


def images_to_judge(wildcards):
    """Images, names and labels that tell which OOD images show an ID class."""
    study = CONFIG["studies"][wildcards.study]
    judge, sets = configuration.judge_of(study, CONFIG), groups_of_judged_sets(study)
    return (
        embeddings_of(judge, list(sets))
        | texts_of(judge, [study["corpus"]])
        | {"train_index": indexes_of([judge], study["train"]), "trees": tree_files([study["tree"]])}
        | {"label_names": label_tables(study["train"], *sets)}
    )


def contamination_config(wildcards):
    """The rule that finds ID images in OOD sets, the sets, and how labels get their names."""
    study = CONFIG["studies"][wildcards.study]
    block, sets = CONFIG["contaminations"][study["contamination"]], groups_of_judged_sets(study)
    return {
        "rule": block["method"],
        "margin": block.get("margin", 0),
        "image_sets": numbers_of_parts(configuration.judge_of(study, CONFIG), sets),
        "groups": sets,
        "label_names": label_columns(study["train"], *sets),
    }


rule flag_contamination:
    input:
        unpack(images_to_judge),
    output:
        flags="results/contamination/{study}.parquet",
        table="results/studies/{study}/contamination.parquet",
    log:
        "results/logs/flag_contamination/{study}.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=contamination_config,
        code=code("flag_contamination"),
        above=above("flag_contamination"),
    script:
        "../workflow_scripts/flag_contamination.py"


# ---- duplicates -------------------------------------------------------------------------------------


def compared_sets(study):
    """The image sets of a study, each once, the training set first."""
    return list(dict.fromkeys([study["train"], *configuration.scored_sets(study)]))


def images_to_compare(wildcards):
    """All images of a study by its first encoder, and the kNN graph of the training images if near
    duplicates are wanted and a clustering of the study uses one."""
    study = CONFIG["studies"][wildcards.study]
    encoder, sets = study["encoders"][0], compared_sets(study)
    graphs = [
        CONFIG["clusterings"][name].get("neighbours", 0)
        for name in study["clusterings"]
        if configuration.clustering_encoder(name, encoder, CONFIG) == encoder
    ]
    k = max(graphs, default=0)
    graph = f"results/neighbours/{encoder}/{study['train']}/k{k}"
    wanted = k and study["near_duplicates"] is not None
    return embeddings_of(encoder, sets) | {
        "neighbours": [f"{graph}.npy", f"{graph}.json"] if wanted else []
    }


def duplicates_config(wildcards):
    """The image sets in order, whose images each shows, and the least cosine of near duplicates."""
    study = CONFIG["studies"][wildcards.study]
    sets = numbers_of_parts(study["encoders"][0], compared_sets(study))
    shifted = dict.fromkeys(study["shift"], study["test"])
    return {
        "image_sets": sets,
        "shown": {name: source_of(shifted.get(name, name)) for name in sets},
        "near_duplicates": study["near_duplicates"],
    }


rule find_duplicates:
    input:
        unpack(images_to_compare),
    output:
        duplicates="results/duplicates/{study}.parquet",
    log:
        "results/logs/find_duplicates/{study}.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=duplicates_config,
        code=code("find_duplicates"),
        above=above("find_duplicates"),
    script:
        "../workflow_scripts/find_duplicates.py"
