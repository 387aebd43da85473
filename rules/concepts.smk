"""Image and text embeddings, clusters -> mined concepts (positives) and negatives.

Out: results/similarity/... (best concepts per image), results/concepts/... (positives with their
votes), results/negatives/.... Labels enter one rule only, mine_ground_truth, the oracle.
"""


rule match_concepts:
    input:
        unpack(images_and_texts),
    output:
        "results/similarity/{encoder}/{image_set}/{corpus}.parquet",
    log:
        "results/logs/match_concepts/{encoder}/{image_set}/{corpus}.log",
    conda:
        "../envs/workflow.yaml"
    threads: 8
    resources:
        gpu=1,
    params:
        cfg=lambda wildcards: {"top": CONFIG["corpora"][wildcards.corpus]["top_concepts"]},
        code=code("match_concepts.py"),
    script:
        "../workflow_scripts/match_concepts.py"


rule mine_concepts:
    input:
        similarity=after_listing("results/similarity/{encoder}/{image_set}/{corpus}.parquet"),
        concepts="results/embeddings/{encoder}/texts/{corpus}.parquet",
        clusters=clusters_of,
        centres=centres_and_texts,
    output:
        "results/concepts/{encoder}/{image_set}/{corpus}/{clustering}/{mining}/seed{seed}.parquet",
    log:
        "results/logs/concepts/{encoder}/{image_set}/{corpus}/{clustering}/{mining}/seed{seed}.log",
    wildcard_constraints:
        mining=reading_labels(False),
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=block("minings", "mining"),
        code=code("mine_concepts.py"),
    script:
        "../workflow_scripts/mine_concepts.py"


rule mine_ground_truth:
    input:
        unpack(labels_and_similarity),
        clusters=clusters_of,
    output:
        "results/concepts/{encoder}/{image_set}/{corpus}/{clustering}/{mining}/seed{seed}.parquet",
    log:
        "results/logs/concepts/{encoder}/{image_set}/{corpus}/{clustering}/{mining}/seed{seed}.log",
    wildcard_constraints:
        mining=reading_labels(True),
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=oracle,
        code=code("mine_ground_truth.py"),
    script:
        "../workflow_scripts/mine_ground_truth.py"


rule mine_negatives:
    input:
        unpack(negatives_inputs),
    output:
        "results/negatives/{study}/{encoder}/{clustering}/{mining}/seed{seed}.parquet",
    log:
        "results/logs/negatives/{study}/{encoder}/{clustering}/{mining}/seed{seed}.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=study_negatives,
        code=code("mine_negatives.py"),
    script:
        "../workflow_scripts/mine_negatives.py"
