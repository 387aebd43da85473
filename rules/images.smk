"""Image sets -> manifests -> image embeddings.

In: folders, lists, archives or tables of images, or the user's own embeddings. Out:
results/images/{image_set}/ (manifest, quarantine, locators of images in archives),
results/embeddings/{encoder}/images/{image_set}/{shard}.npy with its index.
Derived sets are made of the embeddings of others. `snakemake check_image_sets` counts the images.
"""


rule list_images:
    input:
        unpack(images_to_list),
    output:
        manifest="results/images/{image_set}/manifest.parquet",
        locators="results/images/{image_set}/locators.parquet",
        quarantine="results/images/{image_set}/quarantine.parquet",
    log:
        "results/logs/list_images/{image_set}.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=listing,
        code=lambda wildcards: container_code("list_images.py", wildcards.image_set),
    script:
        "../workflow_scripts/list_images.py"


rule check_image_sets:
    log:
        "results/logs/check_image_sets.log",
    localrule: True
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=sets_to_check,
        code=code("check_image_sets.py"),
    script:
        "../workflow_scripts/check_image_sets.py"


rule embed_images:
    input:
        unpack(shard_to_embed),
    output:
        embeddings="results/embeddings/{encoder}/images/{image_set}/{shard}.npy",
        index="results/embeddings/{encoder}/images/{image_set}/{shard}.parquet",
        quarantine="results/embeddings/{encoder}/images/{image_set}/{shard}.quarantine.parquet",
        recipe="results/embeddings/{encoder}/images/{image_set}/{shard}.recipe.json",
    log:
        "results/logs/embed_images/{encoder}/{image_set}/{shard}.log",
    wildcard_constraints:
        encoder=of_method("encoders", "open_clip", "timm"),
        image_set=derived_by(None),
    conda:
        "../envs/workflow.yaml"
    threads: encoder_threads
    resources:
        gpu=1,
    params:
        cfg=encoder_model,
        recipe=embed_recipe,
    script:
        "../workflow_scripts/embed_images.py"


rule import_images:
    input:
        unpack(precomputed_images),
    output:
        embeddings="results/embeddings/{encoder}/images/{image_set}/{shard}.npy",
        index="results/embeddings/{encoder}/images/{image_set}/{shard}.parquet",
        quarantine="results/embeddings/{encoder}/images/{image_set}/{shard}.quarantine.parquet",
    log:
        "results/logs/import_images/{encoder}/{image_set}/{shard}.log",
    wildcard_constraints:
        encoder=of_method("encoders", "precomputed"),
        image_set=derived_by(None),
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=imported_images,
        code=code("import_images.py"),
    script:
        "../workflow_scripts/import_images.py"


rule derive_images:
    input:
        unpack(images_to_derive_from),
    output:
        embeddings="results/embeddings/{encoder}/images/{image_set}/00000.npy",
        index="results/embeddings/{encoder}/images/{image_set}/00000.parquet",
    log:
        "results/logs/derive_images/{encoder}/{image_set}.log",
    wildcard_constraints:
        image_set=derived_by("sample", "imbalance", "long_tail", "difficulty"),
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=derivation,
        code=code("derive_images.py"),
    script:
        "../workflow_scripts/derive_images.py"


rule coarsen_labels:
    input:
        unpack(labels_to_coarsen),
    output:
        "results/embeddings/{encoder}/images/{image_set}/{shard}.parquet",
    log:
        "results/logs/coarsen_labels/{encoder}/{image_set}/{shard}.log",
    wildcard_constraints:
        image_set=derived_by("granularity"),
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=derivation,
        code=code("coarsen_labels.py"),
    script:
        "../workflow_scripts/coarsen_labels.py"
