"""Tables of single studies -> results/tables/, and pictures to look at.

Out: results/tables/{ood,comparison,concepts,label_quality,cluster_names,number_of_clusters,
clustering,contamination,decisions}.{parquet,csv,md,html,tex}, duplicates and quarantine (no tex),
results/figures/ (a plot of each study, sheets of concepts).
"""

NAME_TABLES = ("concepts", "label_quality")
OF_EVERY_STUDY = ("ood", "comparison", "clustering")
OF_SOME_STUDIES = (
    *NAME_TABLES,
    "cluster_names",
    "number_of_clusters",
    "contamination",
    "decisions",
)

# ---- tables ---------------------------------------------------------------------------------------


def studies_in_run():
    return [CONFIG["studies"][name] for name in CONFIG["run"]]


def contaminated_studies():
    """The studies in the run that look for ID images in their OOD sets."""
    return [name for name in CONFIG["run"] if CONFIG["studies"][name]["contamination"]]


def studies_with_names(names):
    """Those of these studies that mine names."""
    return [name for name in names if CONFIG["studies"][name]["minings"]]


def studies_with_named_clusters():
    """The studies in the run whose clusters get names."""
    studies = dict(zip(CONFIG["run"], studies_in_run(), strict=True))
    return [n for n, study in studies.items() if study["clusterings"] and naming_encoders(study)]


def studies_with_sweeps():
    """The studies in the run that leave a number of clusters to the sweep and can name clusters."""
    return [name for name in CONFIG["run"] if sweeps_of(CONFIG["studies"][name])]


def tables_of_run(wildcards):
    """One table of every study in the run that has it."""
    having = {
        "contamination": contaminated_studies(),
        "cluster_names": studies_with_named_clusters(),
        "number_of_clusters": studies_with_sweeps(),
        "decisions": calibrated_studies(),
    }
    having |= dict.fromkeys(NAME_TABLES, studies_with_names(CONFIG["run"]))
    names = having.get(wildcards.table, CONFIG["run"])
    return [f"results/studies/{study}/{wildcards.table}.parquet" for study in names]


rule write_table:
    input:
        tables=tables_of_run,
    output:
        **table("results/tables/{table}", "{table}"),
        tex="results/tables/{table}.tex",
    log:
        "results/logs/write_table/{table}.log",
    wildcard_constraints:
        table=one_of([*OF_EVERY_STUDY, *OF_SOME_STUDIES]),
    localrule: True
    conda:
        "../envs/workflow.yaml"
    params:
        cfg={"studies": CONFIG["run"]},
        code=code("write_table"),
        above=above("write_table"),
    script:
        "../workflow_scripts/write_table.py"


def quarantined_parts(image_set):
    """The quarantine of every part of an image set, of all encoders in the run that embed it."""
    encoders = {
        encoder: parts_of(encoder, image_set)
        for study in studies_in_run()
        for encoder, (image_sets, _) in configuration.encoders_of(study, CONFIG).items()
        if image_set in image_sets and CONFIG["encoders"][encoder]["method"] != "precomputed"
    }
    return [
        f"results/embeddings/{encoder}/images/{image_set}/{part}.quarantine.parquet"
        for encoder, parts in encoders.items()
        for part in parts
    ]


def quarantines_of_run(wildcards):
    """The quarantine of every image set in the run, by listing and by embedding."""
    names = configuration.embedded_sets(CONFIG, CONFIG["run"])
    return {
        "listings": [f"results/images/{name}/quarantine.parquet" for name in names],
        "manifests": [f"results/images/{name}/manifest.parquet" for name in names],
        "locators": [f"results/images/{name}/locators.parquet" for name in names],
        "parts": [file for name in names for file in quarantined_parts(name)],
    }


def quarantine_config(wildcards):
    """Of every image set in the run where its files are, and how many of them may be lost."""
    return {
        "studies": CONFIG["run"],
        "image_sets": {
            name: {
                "root": root_of_files(name),
                "parts": len(quarantined_parts(name)),
                "maximum_quarantine": CONFIG["image_sets"][name]["maximum_quarantine"],
            }
            for name in configuration.embedded_sets(CONFIG, CONFIG["run"])
        },
    }


rule collect_quarantine:
    input:
        unpack(quarantines_of_run),
    output:
        **table("results/tables/quarantine", "quarantine"),
    log:
        "results/logs/collect_quarantine.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=quarantine_config,
        code=code("collect_quarantine"),
        above=above("collect_quarantine"),
    script:
        "../workflow_scripts/collect_quarantine.py"


def duplicates_of_run(wildcards):
    """The duplicates of every study in the run."""
    return [f"results/duplicates/{study}.parquet" for study in CONFIG["run"]]


rule collect_duplicates:
    input:
        tables=duplicates_of_run,
    output:
        **table("results/tables/duplicates", "duplicates"),
    log:
        "results/logs/collect_duplicates.log",
    localrule: True
    conda:
        "../envs/workflow.yaml"
    params:
        cfg={"studies": CONFIG["run"]},
        code=code("collect_duplicates"),
        above=above("collect_duplicates"),
    script:
        "../workflow_scripts/collect_duplicates.py"


# ---- figures ----------------------------------------------------------------------------------------


rule plot_ood:
    input:
        ood="results/studies/{study}/ood.parquet",
    output:
        **figure("results/figures/{study}", "plot_ood", of="study {study}", shows="AUROC"),
    log:
        "results/logs/plot_ood/{study}.log",
    localrule: True
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=study_config("reference"),
        code=code("plot_ood"),
        above=above("plot_ood"),
    script:
        "../workflow_scripts/plot_ood.py"


def images_to_draw(wildcards):
    """The indexes of a set's images, and the container of the images."""
    stored = unless_made("draw_concepts", wildcards, stored_images(wildcards.image_set))
    return stored | {"index": indexes_of([wildcards.encoder], wildcards.image_set)}


rule draw_concepts:
    input:
        unpack(images_to_draw),
        positives="results/concepts/{encoder}/{image_set}/{corpus}/{clustering}/{mining}/seed{seed}.parquet",
    output:
        png=report(
            "results/figures/{encoder}/{image_set}/{corpus}/{clustering}/{mining}/seed{seed}.png",
            caption="captions/draw_concepts.rst",
            category="Concepts with example images",
            labels={
                "image set": "{image_set}",
                "encoder": "{encoder}",
                "clustering": "{clustering}",
                "mining": "{mining}",
            },
        ),
    log:
        "results/logs/draw_concepts/{encoder}/{image_set}/{corpus}/{clustering}/{mining}/seed{seed}.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg={},
        code=code("draw_concepts", reading_modules),
        above=above("draw_concepts"),
    script:
        "../workflow_scripts/draw_concepts.py"


def figures():
    """A plot of the AUROC of every study in the run, and a sheet of concepts of every mining method
    that uses clusters."""
    for name, study in zip(CONFIG["run"], studies_in_run(), strict=True):
        named = any(detector_needs(detector) == "positives" for detector in study["detectors"])
        if named and (study["near"] or study["far"]):
            yield from (f"results/figures/{name}.{ending}" for ending in FIGURE_ENDINGS)
        encoder, train = study["encoders"][0], study["train"]
        if CONFIG["encoders"][encoder]["method"] != "precomputed":
            for mining in study["minings"]:
                if needs("minings", mining) != ("clusters",):
                    continue
                mined = f"{study['corpus']}/{study['clusterings'][0]}/{mining}"
                yield f"results/figures/{encoder}/{train}/{mined}/seed{study['seeds'][0]}.png"


def folders_of_figures():
    """Where the figures of the run are -> what they show."""
    found = {}
    for path in figures():
        folder, _, file = path.removeprefix("results/figures/").partition("/")
        if file:
            found[f"results/figures/{folder}/"] = "names with example images"
        else:
            found["results/figures/*.svg"] = "AUROC at a glance"
    return found


def figures_of_k(studies):
    """How every number of clusters was chosen that these studies leave to the sweep."""
    sets = [
        f"{configuration.clustering_encoder(name, encoder, CONFIG)}/{study['train']}"
        for study in studies
        for name in study["clusterings"]
        if CONFIG["clusterings"][name]["k"] == "auto"
        for encoder in study["encoders"]
    ]
    names = dict.fromkeys(sets)
    return [f"results/figures/k/{name}.{ending}" for name in names for ending in FIGURE_ENDINGS]
