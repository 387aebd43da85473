"""Clusterings of several image sets -> tables and plots that compare the methods.

Out: results/benchmarks/{benchmark}/clustering.parquet (and hits.parquet),
results/tables/{deep_clustering,multiple_classes}.{parquet,csv,md}, results/figures/benchmarks/.
"""


def runs_of(benchmark):
    """(level, encoder, image set, clustering, seed) of every clustering of a benchmark, each once.

    A clustering with an encoder of its own serves all encoders of the benchmark.
    """
    block = CONFIG["benchmarks"][benchmark]
    runs = (
        (
            level,
            configuration.clustering_encoder(clustering, encoder, CONFIG),
            image_set,
            clustering,
            seed,
        )
        for level, image_set in block["levels"].items()
        for encoder in block["encoders"]
        for clustering in block["clusterings"]
        for seed in block["seeds"]
    )
    return list(dict.fromkeys(runs))


def clusterings_to_compare(wildcards):
    """Clusterings, time and memory of their jobs, labels, and for several classes the ranks."""
    block = CONFIG["benchmarks"][wildcards.benchmark]
    runs = runs_of(wildcards.benchmark)
    stems = ["results/clusters/{}/{}/{}/seed{}".format(*run[1:]) for run in runs]
    several = block["axis"] == "multiple_classes"
    labels = [file for run in runs for file in indexes_of([run[1]], run[2])]
    return {
        "clusters": [f"{stem}.parquet" for stem in stems],
        "costs": [f"{stem}.cost.json" for stem in stems],
        "ranks": [f"{stem}.top{block['predictions']}.parquet" for stem in stems] if several else [],
        "labels": list(dict.fromkeys(labels)),
        "tree": tree_files([block["tree"]]) if several else [],
    }


def benchmark_config(wildcards):
    """A benchmark's axis, and of every clustering its level and the number of its label files."""
    block = CONFIG["benchmarks"][wildcards.benchmark]
    runs = runs_of(wildcards.benchmark)
    return {
        "axis": block["axis"],
        "levels": {image_set: level for level, image_set in block["levels"].items()},
        "parts": {f"{e}/{s}": len(parts_of(e, s)) for _, e, s, _, _ in runs},
    }


rule evaluate_benchmark:
    input:
        unpack(clusterings_to_compare),
    output:
        table="results/benchmarks/{benchmark}/clustering.parquet",
    log:
        "results/logs/evaluate_benchmark/{benchmark}.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=benchmark_config,
        code=code("evaluate_benchmark"),
        above=above("evaluate_benchmark"),
    script:
        "../workflow_scripts/evaluate_benchmark.py"


rule evaluate_predictions:
    input:
        unpack(clusterings_to_compare),
    output:
        table="results/benchmarks/{benchmark}/hits.parquet",
    log:
        "results/logs/evaluate_predictions/{benchmark}.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=benchmark_config,
        code=code("evaluate_predictions"),
        above=above("evaluate_predictions"),
    script:
        "../workflow_scripts/evaluate_predictions.py"


def compared_tables(comparison):
    """The part of a comparison that every benchmark in `compare` brings, if it has it."""
    blocks = {name: CONFIG["benchmarks"][name] for name in CONFIG["compare"]}
    if comparison == "deep_clustering":
        return [f"results/benchmarks/{name}/clustering.parquet" for name in blocks]
    several = [name for name, block in blocks.items() if block["axis"] == "multiple_classes"]
    return [f"results/benchmarks/{name}/hits.parquet" for name in several]


rule write_comparison:
    input:
        tables=lambda wildcards: compared_tables(wildcards.comparison),
    output:
        **table("results/tables/{comparison}", "{comparison}"),
    log:
        "results/logs/write_comparison/{comparison}.log",
    wildcard_constraints:
        comparison="deep_clustering|multiple_classes",
    localrule: True
    conda:
        "../envs/workflow.yaml"
    params:
        cfg={"benchmarks": CONFIG["compare"]},
        code=code("write_comparison"),
        above=above("write_comparison"),
    script:
        "../workflow_scripts/write_comparison.py"


rule plot_benchmark:
    input:
        table="results/benchmarks/{benchmark}/clustering.parquet",
    output:
        **figure(
            "results/figures/benchmarks/{benchmark}.{metric}",
            "plot_benchmark",
            of="benchmark {benchmark}",
            shows="{metric}",
        ),
    log:
        "results/logs/plot_benchmark/{benchmark}.{metric}.log",
    wildcard_constraints:
        metric="acc|nmi",
    localrule: True
    conda:
        "../envs/workflow.yaml"
    params:
        cfg={},
        code=code("plot_benchmark"),
        above=above("plot_benchmark"),
    script:
        "../workflow_scripts/plot_benchmark.py"


def all_comparisons(wildcards):
    """What `snakemake deep_clustering` makes: tables of all benchmarks, and plots of each."""
    blocks = {benchmark: CONFIG["benchmarks"][benchmark] for benchmark in CONFIG["compare"]}
    tables = ["deep_clustering"]
    tables += ["multiple_classes"] if compared_tables("multiple_classes") else []
    plots = [
        f"results/figures/benchmarks/{name}.{metric}.{ending}"
        for name, block in blocks.items()
        if len(block["levels"]) > 1
        for metric in ("acc", "nmi")
        for ending in FIGURE_ENDINGS
    ]
    tables = [f"results/tables/{table}.{ending}" for table in tables for ending in TABLE_ENDINGS]
    return [*plots, *tables]
