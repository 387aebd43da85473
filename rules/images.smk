"""Image sets -> manifests -> image embeddings.

In: folders of images, or the user's own embeddings. Out: results/images/{image_set}/ (manifest by
shard, quarantine), results/embeddings/{encoder}/images/{image_set}/{shard}.npy with its index.
"""


checkpoint list_images:
    input:
        folder=image_folder,
    output:
        manifest=directory("results/images/{image_set}/manifest"),
        quarantine="results/images/{image_set}/quarantine.parquet",
        hashes=update("results/images/{image_set}/hashes.parquet"),
    log:
        "results/logs/list_images/{image_set}.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=listing,
        code=code("list_images.py"),
    script:
        "../workflow_scripts/list_images.py"


rule embed_images:
    input:
        unpack(shard_to_embed),
    output:
        embeddings="results/embeddings/{encoder}/images/{image_set}/{shard}.npy",
        index="results/embeddings/{encoder}/images/{image_set}/{shard}.parquet",
        quarantine="results/embeddings/{encoder}/images/{image_set}/{shard}.quarantine.parquet",
    log:
        "results/logs/embed_images/{encoder}/{image_set}/{shard}.log",
    wildcard_constraints:
        encoder=of_method("encoders", "open_clip"),
    conda:
        "../envs/workflow.yaml"
    threads: encoder_threads
    resources:
        gpu=1,
    params:
        cfg=encoder_model,
        code=code("embed_images.py"),
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
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=imported_images,
        code=code("import_images.py"),
    script:
        "../workflow_scripts/import_images.py"
