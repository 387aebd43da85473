"""Text corpora -> concept tables -> text embeddings.

In: word lists, or the user's own embeddings. Out: results/corpora/{corpus}.parquet,
results/embeddings/{encoder}/texts/{corpus}.npy with its index.
"""

from workflow_scripts.lib.texts.word_lists import kind_of


def corpora_with(key):
    """Wildcard constraint: the corpora whose config block has this key."""
    return one_of([name for name, block in CONFIG["corpora"].items() if key in block])


# ---- corpora ------------------------------------------------------------------------------------------


def database_file(file, kind):
    """A word list's path, or of WordNet, a folder or a data file, its file of this kind with this
    part of speech."""
    path = source(file["path"])
    ending = "adj" if file["pos"] == "adjective" else "noun"
    if os.path.isdir(path):
        return f"{path}/{kind}.{ending}"
    return path if kind == "data" else str(Path(path).with_name(f"{kind}{Path(path).suffix}"))


def word_lists(wildcards):
    """The word lists of a corpus, those whose names it leaves out, and the indexes of WordNet's."""
    block = CONFIG["corpora"][wildcards.corpus]
    lists = block["files"] + block["exclude"]
    wordnets = [file for file in lists if kind_of(located(file["path"]), file) == "wordnet"]
    return {
        "files": in_place(database_file(file, "data") for file in block["files"]),
        "exclude": in_place(database_file(file, "data") for file in block["exclude"]),
        "indexes": in_place(database_file(file, "index") for file in wordnets),
    }


def word_list_modules(wildcards):
    """The modules that read the word lists of a corpus, for the digest of a job's code."""
    block = CONFIG["corpora"][wildcards.corpus]
    kinds = {kind_of(located(file["path"]), file) for file in block["files"] + block["exclude"]}
    return [f"texts/sources/{kind}" for kind in sorted(kinds)]


def corpus_config(wildcards):
    """How the word lists of a corpus are read."""
    block = CONFIG["corpora"][wildcards.corpus]
    return {"files": block["files"], "exclude": block["exclude"]}


rule build_corpus:
    input:
        unpack(word_lists),
    output:
        corpus="results/corpora/{corpus}.parquet",
    log:
        "results/logs/build_corpus/{corpus}.log",
    wildcard_constraints:
        corpus=corpora_with("files"),
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=corpus_config,
        code=code("build_corpus", word_list_modules),
        above=above("build_corpus"),
    script:
        "../workflow_scripts/build_corpus.py"


def conjugated_corpus(wildcards):
    """The corpus whose adjectives a derived corpus joins to superclasses."""
    source = CONFIG["corpora"][wildcards.corpus]["conjugate"]["corpus"]
    return f"results/corpora/{source}.parquet"


rule conjugate_corpus:
    input:
        corpus=conjugated_corpus,
    output:
        corpus="results/corpora/{corpus}.parquet",
    log:
        "results/logs/conjugate_corpus/{corpus}.log",
    wildcard_constraints:
        corpus=corpora_with("conjugate"),
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=lambda wildcards: CONFIG["corpora"][wildcards.corpus]["conjugate"],
        code=code("conjugate_corpus"),
        above=above("conjugate_corpus"),
    script:
        "../workflow_scripts/conjugate_corpus.py"


# ---- embeddings ---------------------------------------------------------------------------------------


def encoder_tokenizer(wildcards):
    """The tokenizer's files, if the encoder has one of its own on disk."""
    return in_place(tokenizer_files(CONFIG["encoders"][wildcards.encoder], source))


def encoder_and_prompts(wildcards):
    """The encoder, and the prompts that it gets."""
    prompts = configuration.prompts_of(wildcards.encoder, wildcards.corpus, CONFIG)
    return {"encoder": encoder_config(wildcards), "prompts": prompts}


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
        cfg=encoder_and_prompts,
        code=code("embed_texts", encoder_module),
        above=above("embed_texts"),
    script:
        "../workflow_scripts/embed_texts.py"


def precomputed_texts(wildcards):
    """The user's own embeddings of a corpus."""
    lists = CONFIG["encoders"][wildcards.encoder]["texts"][wildcards.corpus]
    arrays, indexes = zip(*(precomputed_files(files, "text_emb") for files in lists))
    return {"embeddings": sum(arrays, []), "index": sum(indexes, [])}


def text_columns(wildcards):
    """Source and column of the concepts in each of the user's own files."""
    sources, columns = [], []
    for files in CONFIG["encoders"][wildcards.encoder]["texts"][wildcards.corpus]:
        theirs = "clip_retrieval" in files
        count = len(precomputed_files(files, "text_emb")[0])
        sources += [Path(files["clip_retrieval" if theirs else "index"]).stem] * count
        columns += ["caption" if theirs else "concept"] * count
    return {"encoder": wildcards.encoder, "sources": sources, "columns": columns}


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
        cfg=text_columns,
        code=code("import_texts"),
        above=above("import_texts"),
    script:
        "../workflow_scripts/import_texts.py"
