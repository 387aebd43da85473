"""Text corpora -> concept tables -> text embeddings.

In: word lists, or the user's own embeddings. Out: results/corpora/{corpus}.parquet,
results/embeddings/{encoder}/texts/{corpus}.npy with its index.
"""


rule build_corpus:
    input:
        files=corpus_files,
        indexes=corpus_indexes,
        exclude=excluded_files,
    output:
        "results/corpora/{corpus}.parquet",
    log:
        "results/logs/build_corpus/{corpus}.log",
    wildcard_constraints:
        corpus=corpora_with("files"),
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=corpus_params,
        code=code("build_corpus.py"),
    script:
        "../workflow_scripts/build_corpus.py"


rule conjugate_corpus:
    input:
        conjugated,
    output:
        "results/corpora/{corpus}.parquet",
    log:
        "results/logs/conjugate_corpus/{corpus}.log",
    wildcard_constraints:
        corpus=corpora_with("conjugate"),
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=lambda wildcards: CONFIG["corpora"][wildcards.corpus]["conjugate"],
        code=code("conjugate_corpus.py"),
    script:
        "../workflow_scripts/conjugate_corpus.py"


rule embed_texts:
    input:
        corpus="results/corpora/{corpus}.parquet",
        weights=encoder_weights,
        tokenizer=encoder_tokenizer,
    output:
        embeddings="results/embeddings/{encoder}/texts/{corpus}.npy",
        index="results/embeddings/{encoder}/texts/{corpus}.parquet",
    log:
        "results/logs/embed_texts/{encoder}/{corpus}.log",
    wildcard_constraints:
        encoder=of_method("encoders", "open_clip"),
    conda:
        "../envs/workflow.yaml"
    threads: encoder_threads
    resources:
        gpu=1,
    params:
        cfg=text_encoder,
        code=code("embed_texts.py"),
    script:
        "../workflow_scripts/embed_texts.py"


rule import_texts:
    input:
        unpack(precomputed_texts),
    output:
        embeddings="results/embeddings/{encoder}/texts/{corpus}.npy",
        index="results/embeddings/{encoder}/texts/{corpus}.parquet",
    log:
        "results/logs/import_texts/{encoder}/{corpus}.log",
    wildcard_constraints:
        encoder=of_method("encoders", "precomputed"),
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=imported_texts,
        code=code("import_texts.py"),
    script:
        "../workflow_scripts/import_texts.py"
