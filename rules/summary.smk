"""All tables of the run -> results/tables/means.{parquet,csv,md,html,tex} and summary.{md,html}, the
first ones to read; and what `snakemake` makes by default.
"""

from snakemake.logging import logger


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
    localrule: True
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
    """The tables of the run, and the score files that tell what decides in its studies."""
    unread = ("ood", "number_of_clusters")
    names = [name for name in tables_made() if name not in unread]
    tables = {name: f"results/tables/{name}.parquet" for name in names}
    return tables | {"scores": [file for name in CONFIG["run"] for file in deciding_files(name)]}


def headline_config(name):
    """What `lib/report/headline.py` needs to know of a study."""
    study = CONFIG["studies"][name]
    oracles = [mining for mining in study["minings"] if "labels" in needs("minings", mining)]
    return {
        "collection": source_of(study["train"]),
        "image_sets": configuration.study_sources(study, CONFIG),
        "deciders": configuration.deciders(study, CONFIG),
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
    localrule: True
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=summary_config,
        code=code("summarise"),
        above=above("summarise"),
    script:
        "../workflow_scripts/summarise.py"


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
    pictures = [*figures(), *figures_of_k(studies_in_run()), *pages_of_run()]
    return [
        "results/tables/summary.md",
        "results/tables/summary.html",
        *tables,
        *outliers_of_run(),
        *pictures,
    ]
