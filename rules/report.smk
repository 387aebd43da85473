"""Tables of single studies -> results/tables/, and pictures to look at.

Out: results/tables/{means,ood,comparison,concepts,label_quality,cluster_names,number_of_clusters,
clustering,contamination,decisions}.{parquet,csv,md,tex}, duplicates, quarantine, summary.md,
results/figures/ (a plot of each study, sheets of concepts). The table of an ablation joins the
comparisons of its studies.
"""

from snakemake.logging import logger
from workflow_scripts.lib.config.names import ablated_studies

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
    conda:
        "../envs/workflow.yaml"
    params:
        cfg={"studies": CONFIG["run"]},
        code=code("write_table"),
        above=above("write_table"),
    script:
        "../workflow_scripts/write_table.py"


def quarantined_shards(image_set):
    """The quarantine of every shard of an image set, of all encoders in the run that embed it."""
    encoders = {
        encoder: shards_of(encoder, image_set)
        for study in studies_in_run()
        for encoder, (image_sets, _) in configuration.encoders_of(study, CONFIG).items()
        if image_set in image_sets and CONFIG["encoders"][encoder]["method"] != "precomputed"
    }
    return [
        f"results/embeddings/{encoder}/images/{image_set}/{shard}.quarantine.parquet"
        for encoder, shards in encoders.items()
        for shard in shards
    ]


def quarantines_of_run(wildcards):
    """The quarantine of every image set in the run, by listing and by embedding."""
    names = configuration.embedded_sets(CONFIG, CONFIG["run"])
    return {
        "listings": [f"results/images/{name}/quarantine.parquet" for name in names],
        "manifests": [f"results/images/{name}/manifest.parquet" for name in names],
        "locators": [f"results/images/{name}/locators.parquet" for name in names],
        "shards": [file for name in names for file in quarantined_shards(name)],
    }


def quarantine_config(wildcards):
    """Of every image set in the run where its files are, and how many of them may be lost."""
    return {
        "studies": CONFIG["run"],
        "image_sets": {
            name: {
                "root": root_of_files(name),
                "shards": len(quarantined_shards(name)),
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
    conda:
        "../envs/workflow.yaml"
    params:
        cfg={"studies": CONFIG["run"]},
        code=code("collect_duplicates"),
        above=above("collect_duplicates"),
    script:
        "../workflow_scripts/collect_duplicates.py"


def quality_of_names(wildcards):
    """The table of the names of the run; none if no study in it mines names."""
    return "results/tables/label_quality.parquet" if studies_with_names(CONFIG["run"]) else []


rule tabulate_means:
    input:
        ood="results/tables/ood.parquet",
        comparison="results/tables/comparison.parquet",
        label_quality=quality_of_names,
    output:
        **table("results/tables/means", "means"),
        tex="results/tables/means.tex",
    log:
        "results/logs/tabulate_means.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg={"studies": CONFIG["run"]},
        code=code("tabulate_means"),
        above=above("tabulate_means"),
    script:
        "../workflow_scripts/tabulate_means.py"


def tables_made():
    """Names of the tables of the run."""
    names = ["means", "ood", "comparison", "clustering", "duplicates", "quarantine"]
    names += NAME_TABLES if studies_with_names(CONFIG["run"]) else []
    names += ["cluster_names"] if studies_with_named_clusters() else []
    names += ["number_of_clusters"] if studies_with_sweeps() else []
    names += ["contamination"] if contaminated_studies() else []
    return names + (["decisions"] if calibrated_studies() else [])


def tables_to_summarise(wildcards):
    unread = ("ood", "contamination", "number_of_clusters")
    names = [name for name in tables_made() if name not in unread]
    return {name: f"results/tables/{name}.parquet" for name in names}


def headline_config(name):
    """What `lib/report/headline.py` needs to know of a study."""
    study = CONFIG["studies"][name]
    oracles = [mining for mining in study["minings"] if "labels" in needs("minings", mining)]
    return {
        "train": study["train"],
        "image_sets": configuration.study_sources(study, CONFIG),
        "decide_by": configuration.deciding(study, CONFIG),
        "places": configuration.deciding_scores(study, CONFIG),
        "oracles": oracles,
    }


def summary_config(wildcards):
    """The headline of every study in the run, and what else the run makes for people."""
    return {
        "studies": {name: headline_config(name) for name in CONFIG["run"]},
        "tables": tables_made(),
        "outliers": [
            f"results/outliers/{name}/*.csv" for name in CONFIG["run"] if listed_sets(name)
        ],
        "figures": folders_of_figures(),
        "pages": [f"results/explore/{name}/index.html" for name in CONFIG["run"]],
    }


rule summarise:
    input:
        unpack(tables_to_summarise),
    output:
        md="results/tables/summary.md",
        html=table_page("results/tables/summary.html", "summary"),
    log:
        "results/logs/summarise.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=summary_config,
        code=code("summarise"),
        above=above("summarise"),
    script:
        "../workflow_scripts/summarise.py"


# ---- figures ----------------------------------------------------------------------------------------


rule plot_ood:
    input:
        ood="results/studies/{study}/ood.parquet",
    output:
        **figure("results/figures/{study}", "plot_ood", of="study {study}", shows="AUROC"),
    log:
        "results/logs/plot_ood/{study}.log",
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


@functools.cache
def warn_of_replaced_tables():
    """Say once that the tables of other studies go, as those of the demo by an own config."""
    table = "results/tables/ood.parquet"
    if not IS_MAIN or not os.path.exists(table):
        return
    from workflow_scripts.lib.artifacts import read_meta  # imports pyarrow

    try:
        there = read_meta(table)["recipe"]["cfg"]["studies"]
    except (KeyError, OSError, ValueError):  # not as this workflow writes it
        return
    if set(there) - set(CONFIG["run"]):
        logger.warning(
            f"Warning: this run replaces the tables in results/tables/, which have the studies "
            f"{', '.join(there)}, by those of {', '.join(CONFIG['run'])}. To keep both, add "
            "--directory FOLDER, with a folder for the results of this run."
        )


def all_results(wildcards):
    """What `snakemake` makes: the tables of the studies in the run, and figures."""
    warn_of_replaced_tables()
    names = {name: [*TABLE_ENDINGS, "tex"] for name in tables_made()}
    names |= dict.fromkeys(("duplicates", "quarantine"), TABLE_ENDINGS)
    tables = [f"results/tables/{name}.{end}" for name, ends in names.items() for end in ends]
    pictures = [*figures(), *figures_of_k(studies_in_run()), *pages_of_run(), *maps_of_run()]
    return [
        "results/tables/summary.md",
        "results/tables/summary.html",
        *tables,
        *outliers_of_run(),
        *pictures,
    ]


# ---- ablations --------------------------------------------------------------------------------------


def tables_of_ablation(wildcards):
    """Comparisons of every study of an ablation, and the quality of the names of those that mine."""
    block = CONFIG["ablations"][wildcards.ablation]
    names = list(ablated_studies(wildcards.ablation, block))
    return {
        "comparisons": [f"results/studies/{name}/comparison.parquet" for name in names],
        "label_quality": [
            f"results/studies/{name}/label_quality.parquet" for name in studies_with_names(names)
        ],
    }


def ablation_config(wildcards):
    """The values of an ablation in order, those whose studies mine names, and what they are."""
    ablation = CONFIG["ablations"][wildcards.ablation]
    value_of = dict(zip(ablated_studies(wildcards.ablation, ablation), ablation["values"]))
    return {
        "values": list(ablation["values"]),
        "named": [value_of[study] for study in studies_with_names(value_of)],
        "vary": ablation["vary"],
    }


rule tabulate_ablation:
    input:
        unpack(tables_of_ablation),
    output:
        **table("results/tables/ablations/{ablation}", "ablation {ablation}"),
    log:
        "results/logs/tabulate_ablation/{ablation}.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=ablation_config,
        code=code("tabulate_ablation"),
        above=above("tabulate_ablation"),
    script:
        "../workflow_scripts/tabulate_ablation.py"


rule plot_ablation:
    input:
        table="results/tables/ablations/{ablation}.parquet",
    output:
        **figure(
            "results/figures/ablations/{ablation}",
            "plot_ablation",
            of="ablation {ablation}",
            shows="AUROC",
        ),
    log:
        "results/logs/plot_ablation/{ablation}.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=lambda wildcards: {"axis": CONFIG["ablations"][wildcards.ablation]["axis"]},
        code=code("plot_ablation"),
        above=above("plot_ablation"),
    script:
        "../workflow_scripts/plot_ablation.py"


def all_ablations(wildcards):
    """What `snakemake ablations` makes: a table and a plot of each."""
    kinds = (("tables", TABLE_ENDINGS), ("figures", FIGURE_ENDINGS))
    return [
        f"results/{kind}/ablations/{name}.{ending}"
        for name in CONFIG["ablate"]
        for kind, endings in kinds
        for ending in endings
    ]
