"""Image embeddings -> clusters.

Out: results/neighbours/{encoder}/{image_set}/k{k}.npy (kNN graph),
results/clusters/{encoder}/{image_set}/{clustering}/seed{seed}.parquet (one row per image),
its model and training history beside it, its time and memory (.cost.json),
results/centres/... (mean embeddings).
"""


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


rule cluster_kmeans:
    input:
        unpack(image_embeddings),
    output:
        clusters="results/clusters/{encoder}/{image_set}/{clustering}/seed{seed}.parquet",
        model="results/clusters/{encoder}/{image_set}/{clustering}/seed{seed}.safetensors",
        history="results/clusters/{encoder}/{image_set}/{clustering}/seed{seed}.history.parquet",
        cost="results/clusters/{encoder}/{image_set}/{clustering}/seed{seed}.cost.json",
    log:
        "results/logs/cluster/{encoder}/{image_set}/{clustering}/seed{seed}.log",
    wildcard_constraints:
        clustering=of_method("clusterings", "kmeans"),
    conda:
        "../envs/workflow.yaml"
    threads: clustering_threads
    resources:
        gpu=1,
    params:
        cfg=clustering,
        code=code("cluster_kmeans.py"),
    script:
        "../workflow_scripts/cluster_kmeans.py"


rule cluster_minibatch:
    input:
        unpack(image_embeddings),
    output:
        clusters="results/clusters/{encoder}/{image_set}/{clustering}/seed{seed}.parquet",
        model="results/clusters/{encoder}/{image_set}/{clustering}/seed{seed}.safetensors",
        history="results/clusters/{encoder}/{image_set}/{clustering}/seed{seed}.history.parquet",
        cost="results/clusters/{encoder}/{image_set}/{clustering}/seed{seed}.cost.json",
    log:
        "results/logs/cluster/{encoder}/{image_set}/{clustering}/seed{seed}.log",
    wildcard_constraints:
        clustering=of_method("clusterings", "minibatch"),
    conda:
        "../envs/workflow.yaml"
    threads: clustering_threads
    resources:
        gpu=1,
    params:
        cfg=clustering,
        code=code("cluster_minibatch.py"),
    script:
        "../workflow_scripts/cluster_minibatch.py"


rule cluster_temi:
    input:
        unpack(images_and_neighbours),
    output:
        clusters="results/clusters/{encoder}/{image_set}/{clustering}/seed{seed}.parquet",
        model="results/clusters/{encoder}/{image_set}/{clustering}/seed{seed}.safetensors",
        history="results/clusters/{encoder}/{image_set}/{clustering}/seed{seed}.history.parquet",
        cost="results/clusters/{encoder}/{image_set}/{clustering}/seed{seed}.cost.json",
    log:
        "results/logs/cluster/{encoder}/{image_set}/{clustering}/seed{seed}.log",
    wildcard_constraints:
        clustering=of_method("clusterings", "temi"),
    conda:
        "../envs/workflow.yaml"
    threads: clustering_threads
    resources:
        gpu=1,
    params:
        cfg=clustering,
        code=code("cluster_temi.py"),
    script:
        "../workflow_scripts/cluster_temi.py"


rule cluster_scan:
    input:
        unpack(images_and_neighbours),
    output:
        clusters="results/clusters/{encoder}/{image_set}/{clustering}/seed{seed}.parquet",
        model="results/clusters/{encoder}/{image_set}/{clustering}/seed{seed}.safetensors",
        history="results/clusters/{encoder}/{image_set}/{clustering}/seed{seed}.history.parquet",
        cost="results/clusters/{encoder}/{image_set}/{clustering}/seed{seed}.cost.json",
    log:
        "results/logs/cluster/{encoder}/{image_set}/{clustering}/seed{seed}.log",
    wildcard_constraints:
        clustering=of_method("clusterings", "scan"),
    conda:
        "../envs/workflow.yaml"
    threads: clustering_threads
    resources:
        gpu=1,
    params:
        cfg=clustering,
        code=code("cluster_scan.py"),
    script:
        "../workflow_scripts/cluster_scan.py"


rule cluster_turtle:
    input:
        unpack(image_embeddings),
    output:
        clusters="results/clusters/{encoder}/{image_set}/{clustering}/seed{seed}.parquet",
        model="results/clusters/{encoder}/{image_set}/{clustering}/seed{seed}.safetensors",
        history="results/clusters/{encoder}/{image_set}/{clustering}/seed{seed}.history.parquet",
        cost="results/clusters/{encoder}/{image_set}/{clustering}/seed{seed}.cost.json",
    log:
        "results/logs/cluster/{encoder}/{image_set}/{clustering}/seed{seed}.log",
    wildcard_constraints:
        clustering=of_method("clusterings", "turtle"),
    conda:
        "../envs/workflow.yaml"
    threads: clustering_threads
    resources:
        gpu=1,
    params:
        cfg=clustering,
        code=code("cluster_turtle.py"),
    script:
        "../workflow_scripts/cluster_turtle.py"


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
        code=code("rank_clusters.py"),
    script:
        "../workflow_scripts/rank_clusters.py"
