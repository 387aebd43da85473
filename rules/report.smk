"""Tables of single studies -> results/tables/, and pictures to look at.

Out: results/tables/{ood,concepts,label_quality,clustering}.{parquet,csv,md}, summary.md,
results/figures/ ({study}.svg, sheets of concepts).
"""


rule write_table:
    input:
        run_tables,
    output:
        parquet="results/tables/{table}.parquet",
        csv="results/tables/{table}.csv",
        md="results/tables/{table}.md",
    log:
        "results/logs/write_table/{table}.log",
    wildcard_constraints:
        table="ood|concepts|label_quality|clustering",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg={"studies": CONFIG["run"]},
        code=code("write_table.py"),
    script:
        "../workflow_scripts/write_table.py"


rule collect_quarantine:
    input:
        quarantine_tables,
    output:
        parquet="results/tables/quarantine.parquet",
        csv="results/tables/quarantine.csv",
        md="results/tables/quarantine.md",
    log:
        "results/logs/collect_quarantine.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg={"studies": CONFIG["run"]},
        code=code("collect_quarantine.py"),
    script:
        "../workflow_scripts/collect_quarantine.py"


rule summarise:
    input:
        ood="results/tables/ood.parquet",
        label_quality="results/tables/label_quality.parquet",
        clustering="results/tables/clustering.parquet",
    output:
        "results/tables/summary.md",
    log:
        "results/logs/summarise.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg={"studies": CONFIG["run"]},
        code=code("summarise.py"),
    script:
        "../workflow_scripts/summarise.py"


rule plot_ood:
    input:
        "results/studies/{study}/ood.parquet",
    output:
        "results/figures/{study}.svg",
    log:
        "results/logs/plot_ood/{study}.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg={},
        code=code("plot_ood.py"),
    script:
        "../workflow_scripts/plot_ood.py"


rule draw_concepts:
    input:
        positives=after_listing(
            "results/concepts/{encoder}/{image_set}/{corpus}/{clustering}/{mining}/seed{seed}.parquet"
        ),
        folder=lambda wildcards: ancient(folder_of(wildcards.image_set)),
    output:
        "results/figures/{encoder}/{image_set}/{corpus}/{clustering}/{mining}/seed{seed}.png",
    log:
        "results/logs/figures/{encoder}/{image_set}/{corpus}/{clustering}/{mining}/seed{seed}.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg={},
        code=code("draw_concepts.py"),
    script:
        "../workflow_scripts/draw_concepts.py"
