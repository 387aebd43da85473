"""Image embeddings -> clusters.

Out: results/neighbours/{encoder}/{image_set}/k{k}.npy (kNN graph), .json (exact, or its recall),
results/k/{encoder}/{image_set}/ (sweep over the number of clusters, the choice, sampled images'
clusters for every number),
results/clusters/{encoder}/{image_set}/{clustering}/seed{seed}.parquet (one row per image; the
encoder is the clustering's own, if it names one),
its model and training history beside it, its time and memory (.cost.json),
results/centres/... (mean embeddings, and of what).
"""


rule find_neighbours:
    input:
        unpack(image_embeddings),
    output:
        neighbours="results/neighbours/{encoder}/{image_set}/k{k}.npy",
        quality="results/neighbours/{encoder}/{image_set}/k{k}.json",
    log:
        "results/logs/find_neighbours/{encoder}/{image_set}/k{k}.log",
    conda:
        "../envs/workflow.yaml"
    threads: 8
    resources:
        gpu=1,
    params:
        cfg=lambda wildcards: CONFIG["neighbours"] | {"k": int(wildcards.k)},
        code=code("find_neighbours"),
        above=above("find_neighbours"),
    script:
        "../workflow_scripts/find_neighbours.py"


rule choose_k:
    input:
        unpack(image_embeddings),
    output:
        parquet="results/k/{encoder}/{image_set}/sweep.parquet",
        csv="results/k/{encoder}/{image_set}/sweep.csv",
        md="results/k/{encoder}/{image_set}/sweep.md",
        html="results/k/{encoder}/{image_set}/sweep.html",
        choice="results/k/{encoder}/{image_set}/choice.json",
        clusters="results/k/{encoder}/{image_set}/clusters.parquet",
    log:
        "results/logs/choose_k/{encoder}/{image_set}.log",
    conda:
        "../envs/workflow.yaml"
    threads: 8
    resources:
        gpu=1,
    params:
        cfg=CONFIG["sweep"],
        code=code("choose_k"),
        above=above("choose_k"),
    script:
        "../workflow_scripts/choose_k.py"


rule plot_k:
    input:
        table="results/k/{encoder}/{image_set}/sweep.parquet",
        choice="results/k/{encoder}/{image_set}/choice.json",
    output:
        **figure(
            "results/figures/k/{encoder}/{image_set}",
            "plot_k",
            of="{image_set}, {encoder}",
            shows="number of clusters",
        ),
    log:
        "results/logs/plot_k/{encoder}/{image_set}.log",
    localrule: True
    conda:
        "../envs/workflow.yaml"
    params:
        cfg={},
        code=code("plot_k"),
        above=above("plot_k"),
    script:
        "../workflow_scripts/plot_k.py"


def modules_to_cluster(cfg):
    """The modules of a clustering's method and of its members', of a dict of `config_to_cluster`."""
    members = [member["cfg"] for member in cfg.get("members", [])]
    return sorted({f"clustering/{block['method']}" for block in (cfg, *members)})


def clustering_module(wildcards):
    """The modules of the wildcards' clustering, for the digest of a job's code."""
    return modules_to_cluster(clustering_config(wildcards))


def config_to_cluster(clustering, image_set, seed):
    """A clustering's block without its encoder, which the folder names, and its seed.

    Of several spaces the number of parts; of an ensemble the same of its members.
    """
    block = without_threads(CONFIG["clusterings"][clustering])
    block = {key: block[key] for key in block if key != "encoder"} | {"seed": seed}
    own = configuration.own_encoders(clustering, CONFIG)
    if len(own) > 1:
        block["spaces"] = {name: len(parts_of(name, image_set)) for name in own}
    if "of" in block:
        block["members"] = [
            {"cfg": config_to_cluster(name, image_set, of_member), "spaces": spaces_in(own, name)}
            for name, of_member in members_of(clustering, seed)
        ]
    return block


def spaces_in(encoders, clustering):
    """Which of several spaces a clustering uses, by number; one without encoders the first."""
    return [encoders.index(e) for e in configuration.own_encoders(clustering, CONFIG)] or [0]


def members_of(clustering, seed):
    """(clustering, seed) of the members of an ensemble, whose own seed chooses theirs."""
    block = CONFIG["clusterings"][clustering]
    seeds = range(seed * block["runs"], (seed + 1) * block["runs"])
    return [(name, one) for name in block["of"] for one in seeds]


def clustering_config(wildcards):
    """`config_to_cluster` of the wildcards; without an image set where no parts are asked for."""
    image_set = wildcards.get("image_set")
    return config_to_cluster(wildcards.clustering, image_set, int(wildcards.seed))


def clustering_threads(wildcards):
    return CONFIG["clusterings"][wildcards.clustering]["threads"]


def clustering_processes(wildcards):
    return CONFIG["clusterings"][wildcards.clustering].get("processes", 1)


def clustering_gpu(wildcards):
    """The cards of a clustering, one for each process; scikit-learn's mini-batches use none."""
    method = CONFIG["clusterings"][wildcards.clustering]["method"]
    return 0 if method == "minibatch" else clustering_processes(wildcards)


def spaces_to_cluster(wildcards):
    """Embeddings of an image set by all encoders of a clustering, one after the other."""
    own = configuration.own_encoders(wildcards.clustering, CONFIG)
    if own and own[0] != wildcards.encoder:
        key = f"clusterings.{wildcards.clustering}"
        raise WorkflowError(f"{key}.encoder is {own[0]}, not {wildcards.encoder}")
    parts = [embeddings_of(name, [wildcards.image_set]) for name in own or [wildcards.encoder]]
    return {key: sum((part[key] for part in parts), []) for key in ("embeddings", "index")}


def images_to_cluster(wildcards):
    """Embeddings of an image set; for methods that train on one, the kNN graph; for `k: auto`, the
    chosen number of clusters; for k-means from centroids of the user's, their file; for an ensemble
    the models of its members."""
    files, block = spaces_to_cluster(wildcards), CONFIG["clusterings"][wildcards.clustering]
    place = f"{wildcards.encoder}/{wildcards.image_set}"
    if "neighbours" in block:
        files["neighbours"] = f"results/neighbours/{place}/k{block['neighbours']}.npy"
        files["about_neighbours"] = f"results/neighbours/{place}/k{block['neighbours']}.json"
    if block["k"] == "auto":
        files["choice"] = f"results/k/{place}/choice.json"
    if "of" in block:
        files["members"] = [
            model_of(wildcards.encoder, wildcards.image_set, name, seed)
            for name, seed in members_of(wildcards.clustering, int(wildcards.seed))
        ]
    if block.get("init", "").endswith(".npy"):
        files["init"] = source(block["init"])
    return files


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
        gpu=clustering_gpu,
        processes=clustering_processes,
    params:
        cfg=clustering_config,
        code=code("cluster", clustering_module),
        above=above("cluster"),
    script:
        "../workflow_scripts/cluster.py"


def clusters_of(encoder, image_set, clustering, seed):
    """The clusters of an image set that serve an encoder: of the clustering's own encoder, if any."""
    own = configuration.clustering_encoder(clustering, encoder, CONFIG)
    return f"results/clusters/{own}/{image_set}/{clustering}/seed{seed}.parquet"


def model_of(encoder, image_set, clustering, seed):
    """What assigns images to these clusters."""
    return str(Path(clusters_of(encoder, image_set, clustering, seed)).with_suffix(".safetensors"))


def clusters_file(wildcards):
    """The clusters that serve the wildcards' encoder."""
    return clusters_of(*(wildcards[n] for n in ("encoder", "image_set", "clustering", "seed")))


def images_and_clusters(wildcards):
    """Embeddings of an image set and one clustering of it, which may be another encoder's."""
    return image_embeddings(wildcards) | {"clusters": clusters_file(wildcards)}


rule average_clusters:
    input:
        unpack(images_and_clusters),
    output:
        centres="results/centres/{encoder}/{image_set}/{clustering}/seed{seed}.npy",
        about="results/centres/{encoder}/{image_set}/{clustering}/seed{seed}.json",
    log:
        "results/logs/average_clusters/{encoder}/{image_set}/{clustering}/seed{seed}.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg={},
        code=code("average_clusters"),
        above=above("average_clusters"),
    script:
        "../workflow_scripts/average_clusters.py"


def clusters_and_model(wildcards):
    """Embeddings of an image set, one clustering of it, and what assigns further images."""
    clusters = clusters_file(wildcards)
    model = Path(clusters).with_suffix(".safetensors")
    return spaces_to_cluster(wildcards) | {"clusters": clusters, "model": str(model)}


def ranking_config(wildcards):
    """A clustering's block, and how many clusters of each image to rank."""
    return clustering_config(wildcards) | {"predictions": int(wildcards.predictions)}


rule rank_clusters:
    input:
        unpack(clusters_and_model),
    output:
        ranks="results/clusters/{encoder}/{image_set}/{clustering}/seed{seed}.top{predictions}.parquet",
    log:
        "results/logs/rank_clusters/{encoder}/{image_set}/{clustering}/seed{seed}.top{predictions}.log",
    conda:
        "../envs/workflow.yaml"
    resources:
        gpu=lambda wildcards: min(1, clustering_gpu(wildcards)),
    params:
        cfg=ranking_config,
        code=code("rank_clusters", clustering_module),
        above=above("rank_clusters"),
    script:
        "../workflow_scripts/rank_clusters.py"
