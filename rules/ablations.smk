"""Studies that an ablation varies -> a table and a plot: results/tables/ablations/ and
results/figures/ablations/.
"""

from workflow_scripts.lib.config.names import ablated_studies


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
    localrule: True
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
    localrule: True
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
