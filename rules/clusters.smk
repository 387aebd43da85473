"""Image embeddings -> clusters.

Out: results/neighbours/{encoder}/{image_set}/k{k}.npy (kNN graph),
results/clusters/{encoder}/{image_set}/{clustering}/seed{seed}.parquet (one row per image),
its model and training history beside it, its time and memory (.cost.json),
results/centres/... (mean embeddings).
"""


def images_to_cluster(wildcards):
    """Embeddings of an image set, and the kNN graph if the method trains on one."""
    on_graph = "neighbours" in CONFIG["clusterings"][wildcards.clustering]
    return (images_and_neighbours if on_graph else image_embeddings)(wildcards)


def code_with_method(script):
    """Params function: digest of a script and of the module of a clustering's method."""

    def digest(wildcards):
        method = CONFIG["clusterings"][wildcards.clustering]["method"]
        return f"{code(script)} {code(f'lib/clustering/{method}.py')}"

    return digest


rule find_neighbours:
    input:
        unpack(image_embeddings),
    output:
        "results/neighbours/{encoder}/{image_set}/k{k}.npy",
    log:
        "results/logs/find_neighbours/{encoder}/{image_set}/k{k}.log",
    conda:
        "../envs/workflow.yaml"
    threads: 8
    resources:
        gpu=1,
    params:
        cfg=lambda wildcards: {"k": int(wildcards.k)},
        code=code("find_neighbours.py"),
    script:
        "../workflow_scripts/find_neighbours.py"


rule cluster:
    input:
        unpack(images_to_cluster),
    output:
        clusters="results/clusters/{encoder}/{image_set}/{clustering}/seed{seed}.parquet",
        model="results/clusters/{encoder}/{image_set}/{clustering}/seed{seed}.safetensors",
        history="results/clusters/{encoder}/{image_set}/{clustering}/seed{seed}.history.parquet",
        cost="results/clusters/{encoder}/{image_set}/{clustering}/seed{seed}.cost.json",
    log:
        "results/logs/cluster/{encoder}/{image_set}/{clustering}/seed{seed}.log",
    conda:
        "../envs/workflow.yaml"
    threads: clustering_threads
    resources:
        gpu=1,
    params:
        cfg=clustering,
        code=code_with_method("cluster.py"),
    script:
        "../workflow_scripts/cluster.py"


rule average_clusters:
    input:
        unpack(images_and_clusters),
    output:
        "results/centres/{encoder}/{image_set}/{clustering}/seed{seed}.npy",
    log:
        "results/logs/centres/{encoder}/{image_set}/{clustering}/seed{seed}.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg={},
        code=code("average_clusters.py"),
    script:
        "../workflow_scripts/average_clusters.py"


rule rank_clusters:
    input:
        unpack(clusters_and_model),
    output:
        "results/clusters/{encoder}/{image_set}/{clustering}/seed{seed}.top{predictions}.parquet",
    log:
        "results/logs/rank_clusters/{encoder}/{image_set}/{clustering}/seed{seed}.top{predictions}.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=ranking,
        code=code_with_method("rank_clusters.py"),
    script:
        "../workflow_scripts/rank_clusters.py"
