"""Tables of single studies -> results/tables/, and pictures to look at.

Out: results/tables/{ood,comparison,concepts,label_quality,clustering,contamination}.{parquet,csv,md},
summary.md,
results/figures/ ({study}.svg, sheets of concepts). Ablations join the comparisons of their studies.
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
        table="ood|comparison|concepts|label_quality|clustering|contamination",
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
        comparison="results/tables/comparison.parquet",
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
        svg="results/figures/{study}.svg",
        png="results/figures/{study}.png",
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
        unpack(example_images),
        positives=after_listing(
            "results/concepts/{encoder}/{image_set}/{corpus}/{clustering}/{mining}/seed{seed}.parquet"
        ),
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


rule tabulate_ablation:
    input:
        unpack(ablation_studies),
    output:
        parquet="results/tables/ablations/{ablation}.parquet",
        csv="results/tables/ablations/{ablation}.csv",
        md="results/tables/ablations/{ablation}.md",
    log:
        "results/logs/tabulate_ablation/{ablation}.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=ablation_params,
        code=code("tabulate_ablation.py"),
    script:
        "../workflow_scripts/tabulate_ablation.py"


rule plot_ablation:
    input:
        "results/tables/ablations/{ablation}.parquet",
    output:
        svg="results/figures/ablations/{ablation}.svg",
        png="results/figures/ablations/{ablation}.png",
    log:
        "results/logs/plot_ablation/{ablation}.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=lambda wildcards: {"axis": CONFIG["ablations"][wildcards.ablation]["axis"]},
        code=code("plot_ablation.py"),
    script:
        "../workflow_scripts/plot_ablation.py"
