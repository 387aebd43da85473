"""Clusterings of several image sets -> tables and plots that compare the methods.

Out: results/benchmarks/{benchmark}/clustering.parquet (and hits.parquet),
results/tables/{deep_clustering,multiple_classes}.{parquet,csv,md}, results/figures/benchmarks/.
"""


rule evaluate_benchmark:
    input:
        unpack(benchmark_inputs),
    output:
        "results/benchmarks/{benchmark}/clustering.parquet",
    log:
        "results/logs/evaluate_benchmark/{benchmark}.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=benchmark_params,
        code=code("evaluate_benchmark.py"),
    script:
        "../workflow_scripts/evaluate_benchmark.py"


rule evaluate_predictions:
    input:
        unpack(benchmark_inputs),
    output:
        "results/benchmarks/{benchmark}/hits.parquet",
    log:
        "results/logs/evaluate_predictions/{benchmark}.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=benchmark_params,
        code=code("evaluate_predictions.py"),
    script:
        "../workflow_scripts/evaluate_predictions.py"


rule write_comparison:
    input:
        lambda wildcards: compared_tables(wildcards.comparison),
    output:
        parquet="results/tables/{comparison}.parquet",
        csv="results/tables/{comparison}.csv",
        md="results/tables/{comparison}.md",
    log:
        "results/logs/write_comparison/{comparison}.log",
    wildcard_constraints:
        comparison="deep_clustering|multiple_classes",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg={"benchmarks": CONFIG["compare"]},
        code=code("write_comparison.py"),
    script:
        "../workflow_scripts/write_comparison.py"


rule plot_benchmark:
    input:
        "results/benchmarks/{benchmark}/clustering.parquet",
    output:
        svg="results/figures/benchmarks/{benchmark}.{metric}.svg",
        png="results/figures/benchmarks/{benchmark}.{metric}.png",
    log:
        "results/logs/plot_benchmark/{benchmark}.{metric}.log",
    wildcard_constraints:
        metric="acc|nmi",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg={},
        code=code("plot_benchmark.py"),
    script:
        "../workflow_scripts/plot_benchmark.py"
