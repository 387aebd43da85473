"""Positives, negatives and test images -> scores -> tables of each study.

Out: results/scores/{study}/... (one row per image, one column per detector),
results/contamination/{study}.parquet (OOD images that show an ID class),
results/studies/{study}/{ood,comparison,concepts,label_quality,clustering,contamination}.parquet.
"""


rule score_images:
    input:
        unpack(scoring_inputs),
    output:
        "results/scores/{study}/{encoder}/{clustering}/{mining}/seed{seed}.parquet",
    log:
        "results/logs/score_images/{study}/{encoder}/{clustering}/{mining}/seed{seed}.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=scoring,
        code=code("score_images.py"),
    script:
        "../workflow_scripts/score_images.py"


rule flag_contamination:
    input:
        unpack(images_to_judge),
    output:
        flags="results/contamination/{study}.parquet",
        table="results/studies/{study}/contamination.parquet",
    log:
        "results/logs/flag_contamination/{study}.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=contamination,
        code=code("flag_contamination.py"),
    script:
        "../workflow_scripts/flag_contamination.py"


rule evaluate_ood:
    input:
        unpack(study_scores),
    output:
        ood="results/studies/{study}/ood.parquet",
        comparison="results/studies/{study}/comparison.parquet",
    log:
        "results/logs/evaluate_ood/{study}.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=study_params("test", "near", "far", "shift", "resamples", "reference"),
        code=code("evaluate_ood.py"),
    script:
        "../workflow_scripts/evaluate_ood.py"


rule evaluate_concepts:
    input:
        unpack(study_concepts),
    output:
        concepts="results/studies/{study}/concepts.parquet",
        label_quality="results/studies/{study}/label_quality.parquet",
    log:
        "results/logs/evaluate_concepts/{study}.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=concept_judging,
        code=code("evaluate_concepts.py"),
    script:
        "../workflow_scripts/evaluate_concepts.py"


rule evaluate_clustering:
    input:
        unpack(study_clusters),
    output:
        "results/studies/{study}/clustering.parquet",
    log:
        "results/logs/evaluate_clustering/{study}.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=study_params("train"),
        code=code("evaluate_clustering.py"),
    script:
        "../workflow_scripts/evaluate_clustering.py"
