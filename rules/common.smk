"""Functions for the rules: the validated config, the code digest, paths and input functions."""

import ast
import functools
import hashlib
import json
import os
import sys
from pathlib import Path

import yaml
from snakemake.exceptions import WorkflowError
from workflow_scripts.lib.config import resolve as configuration
from workflow_scripts.lib.encoders.clip_retrieval import clip_retrieval_files
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images.state import fingerprint, recorded_state, set_state

ROOT = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parent
RENDERED = "results/demo/images/"
# What tokenizers of transformers are read from, in a checkpoint folder.
TOKENIZER_FILES = [
    "tokenizer*", "special_tokens_map.json", "added_tokens.json", "spiece.model", "vocab.*",
    "merges.txt",
]  # fmt: skip

# Threads that wait must sleep: spinning ones slow two jobs on the same cores down tenfold.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def located(path):
    """A path of the config: from the working directory, else from the repository."""
    return path if path.startswith("results/") or os.path.exists(path) else str(ROOT / path)


def check_paths(config):
    """Snakemake goes on with old results when a source file is gone, so look for it here."""
    for key, path in configuration.paths_in_run(config):
        if not path.startswith("results/") and not os.path.exists(located(path)):
            raise InputError(f"config: {key}: {path} does not exist")


try:
    SCHEMA = yaml.load((ROOT / "config/schemas/config.schema.yaml").read_bytes(), yaml.CSafeLoader)
    OWN = workflow.config_settings.overwrite_config  # by --configfile and --config
    CONFIG = configuration.resolve_config(configuration.with_own_blocks(config, OWN), SCHEMA)
    # Snakemake does not know its targets yet, and this one looks for what is missing.
    if "check_image_sets" not in [argument.partition(":")[0] for argument in sys.argv]:
        check_paths(CONFIG)
except InputError as error:
    raise WorkflowError(str(error)) from None


wildcard_constraints:
    encoder=r"[\w.]+",
    image_set=r"[\w.]+",
    corpus=r"[\w.]+",
    clustering=r"[\w.]+",
    mining=r"[\w.]+",
    study=r"[\w.]+",
    ablation=r"[\w.]+",
    benchmark=r"[\w.]+",
    predictions=r"\d+",
    shard=r"\d{5}",
    seed=r"\d+",
    k=r"\d+",


# ---- code digest ------------------------------------------------------------------------------


def imported_files(tree):
    """Files of this repository that a syntax tree imports directly."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            stem = ROOT.joinpath(*name.split("."))
            yield from (f for f in (stem.with_suffix(".py"), stem / "__init__.py") if f.is_file())


def without_docstrings(tree):
    """The syntax tree without its docstrings, which do not change what the code does."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
            and ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return tree


@functools.cache
def parsed(file):
    """A Python file as text without comments, docstrings and layout, and the files it imports."""
    tree = ast.parse(file.read_text("utf-8"))
    return ast.unparse(without_docstrings(tree)), tuple(imported_files(tree))


@functools.cache
def code(script, *modules):
    """Name and digest of a script, of all it imports from here, and of the modules that it loads by
    name; the digest changes when the code does, not when comments, docstrings, layout or file times
    do."""
    seen, todo = set(), [ROOT / "workflow_scripts" / file for file in (script, *modules)]
    while todo:
        file = todo.pop()
        if file not in seen:
            seen.add(file)
            todo.extend(parsed(file)[1])
    digest = hashlib.sha256()
    for file in sorted(seen):
        digest.update(f"{file.relative_to(ROOT)}\n{parsed(file)[0]}\n".encode())
    return f"{script}@{digest.hexdigest()[:12]}"


# ---- config -----------------------------------------------------------------------------------


def one_of(names):
    """Wildcard constraint: one of these names."""
    return "|".join(names).replace(".", r"\.") or "(?!)"


def of_method(section, *methods):
    """Wildcard constraint: the names in a config section with one of these methods."""
    return one_of([name for name, block in CONFIG[section].items() if block["method"] in methods])


def needs(section, name):
    """What the method of a config block works on, e.g. ["clusters"] (schema: x-needs)."""
    return configuration.needs(CONFIG[section][name], section, SCHEMA)


def reading_labels(yes):
    """Wildcard constraint: the minings that read labels, or those that do not."""
    return one_of(
        [name for name in CONFIG["minings"] if ("labels" in needs("minings", name)) == yes]
    )


def block(section, wildcard):
    """Params function: the config block of a section that a wildcard names."""
    return lambda wildcards: CONFIG[section][wildcards[wildcard]]


def source_of(image_set):
    """The image set that holds the images of this one."""
    return configuration.source_set(image_set, CONFIG)


def derived_by(*methods):
    """Wildcard constraint: the image sets derived from others by these methods; None: not derived."""
    sets = CONFIG["image_sets"].items()
    return one_of(
        [name for name, block in sets if block.get("derive", {}).get("method") in methods]
    )


def images_of(image_set):
    """(kind, options) of what holds an image set's images; options has its `path`."""
    return configuration.images_of(CONFIG["image_sets"][source_of(image_set)])


def files_of(image_set):
    """The folder, archives or tables that an image set's images are in."""
    kind, options = images_of(image_set)
    if "root" in options:
        return located(options["root"])
    path = located(options["path"])
    return os.path.dirname(path) or "." if kind == "list" else path


def container_code(script, image_set):
    """Code of a script that opens the container of an image set."""
    return code(script, f"lib/images/{images_of(image_set)[0]}.py")


@functools.cache
def state_of(image_set):
    """Names of the state of an image set's files; None for images that the workflow renders."""
    if is_rendered(image_set):
        return None
    record = f"results/images/{image_set}/hashes.parquet"
    if not workflow.is_main_process:
        return recorded_state(record)
    kind, options = images_of(image_set)
    source, cfg = located(options["path"]), what_to_list(image_set)
    root = files_of(image_set) if kind == "list" else None

    def listed(known):
        from workflow_scripts.lib.images.listing import scan

        return scan(source, cfg, known, root, os.cpu_count())

    now = fingerprint(source, cfg, container_code("list_images.py", image_set), root)
    return set_state(record, now, cfg["shards"], listed)


def what_to_list(image_set):
    """How an image set is listed; see `listing.scan`."""
    kind, options = images_of(image_set)
    return {
        "kind": kind,
        "labels": CONFIG["image_sets"][image_set]["labels"],
        "options": {key: options[key] for key in options if key not in ("path", "root")},
        "shards": CONFIG["image_sets"][image_set]["shards"],
    }


def listing(wildcards):
    """Params of an image listing: how to list, and the names of the set's state."""
    return what_to_list(wildcards.image_set) | {"state": state_of(wildcards.image_set)}


def shard_state(wildcards):
    """Name of the state of one shard of an image set."""
    state = state_of(wildcards.image_set)
    return state and state["shards"][int(wildcards.shard)]


def sets_to_check(wildcards):
    """Params of the check: the image sets to count, and further files that must be there; nothing
    that the workflow makes itself."""
    names = configuration.image_sets_in_use(CONFIG)
    if CONFIG["check"] == "all":
        names = dict.fromkeys(source_of(name) for name in CONFIG["image_sets"])
    stored = [name for name in names if images_of(name)[0]]
    files = configuration.files_in_use(CONFIG)
    return {
        "image_sets": {name: set_to_check(name) for name in stored if not is_rendered(name)},
        "files": {k: located(path) for path, k in files.items() if not path.startswith("results/")},
    }


def is_rendered(image_set):
    """Whether an image set's images are of the demo, which renders them."""
    return images_of(image_set)[1]["path"].startswith(RENDERED)


def set_to_check(image_set):
    """Where the images of a set are, and what is expected."""
    kind, options = images_of(image_set)
    block = CONFIG["image_sets"][image_set]
    places = {key: located(options[key]) for key in ("path", "root") if key in options}
    return {
        "kind": kind,
        "labels": block["labels"],
        "options": options | places,
        "expected": block.get("expected", {}),
    }


def without_threads(block):
    """A config block as params: the number of threads does not change what comes out."""
    return {key: value for key, value in block.items() if key != "threads"}


def encoder_model(wildcards):
    """Params of an embedding job: the encoder, without its prompts, which only texts have."""
    block = without_threads(CONFIG["encoders"][wildcards.encoder])
    return {key: value for key, value in block.items() if key != "prompts"}


def encoder_threads(wildcards):
    return CONFIG["encoders"][wildcards.encoder]["threads"]


def clustering(wildcards):
    """Params of a clustering job."""
    block = without_threads(CONFIG["clusterings"][wildcards.clustering])
    return block | {"seed": int(wildcards.seed)}


def clustering_threads(wildcards):
    return CONFIG["clusterings"][wildcards.clustering]["threads"]


def imported_images(wildcards):
    """Params of an import of image embeddings."""
    files = CONFIG["encoders"][wildcards.encoder]["images"][wildcards.image_set]
    id_column = "image_path" if "clip_retrieval" in files else "image_id"
    label_column = files["label_column"]
    return {"encoder": wildcards.encoder, "id_column": id_column, "label_column": label_column}


def imported_texts(wildcards):
    """Params of an import of text embeddings: source and column of the concepts of each file."""
    sources, columns = [], []
    for files in CONFIG["encoders"][wildcards.encoder]["texts"][wildcards.corpus]:
        theirs = "clip_retrieval" in files
        count = len(precomputed_files(files, "text_emb")[0])
        sources += [Path(files["clip_retrieval" if theirs else "index"]).stem] * count
        columns += ["caption" if theirs else "concept"] * count
    return {"encoder": wildcards.encoder, "sources": sources, "columns": columns}


def text_encoder(wildcards):
    """Params of a text embedding job: the encoder and the prompts."""
    prompts = configuration.prompts_of(wildcards.encoder, wildcards.corpus, CONFIG)
    return {"encoder": encoder_model(wildcards), "prompts": prompts}


# ---- input functions --------------------------------------------------------------------------


def shards_of(encoder, image_set):
    """Names of the parts that an image set's embeddings are stored in."""
    precomputed = CONFIG["encoders"][encoder]["method"] == "precomputed"
    block = CONFIG["image_sets"][configuration.embedded_set(image_set, CONFIG)]
    count = 1 if precomputed or "derive" in block else block["shards"]
    return [f"{shard:05d}" for shard in range(count)]


def listed(encoders, image_sets):
    """No more than a mark of where rules wait for listings."""


def images_to_list(wildcards):
    """What an image set is listed from; a folder of the demo is rendered first."""
    kind, options = images_of(wildcards.image_set)
    if options["path"].startswith(RENDERED):
        checkpoints.render_images.get(demo_set=options["path"].removeprefix(RENDERED))
    source = located(options["path"])
    if is_rendered(wildcards.image_set):
        return {"source": source}
    root = {"root": ancient(files_of(wildcards.image_set))} if kind == "list" else {}
    return {"source": ancient(source)} | root


def stored_images(image_set):
    """What holds the images of a set, and where in it."""
    name = source_of(image_set)
    return {
        "source": ancient(files_of(name)),
        "locators": f"results/images/{name}/locators.parquet",
    }


def shard_to_embed(wildcards):
    """Manifest of the set, what holds its images, and local weights.

    A new listing of the set re-runs the jobs of changed shards only. To these it is not `ancient`:
    Snakemake does not look at the params of a job whose `ancient` input will be written anew.
    """
    files = stored_images(wildcards.image_set)
    files["manifest"] = f"results/images/{wildcards.image_set}/manifest.parquet"
    if is_embedded(wildcards) and not is_rendered(wildcards.image_set):
        files = {name: ancient(file) for name, file in files.items()}
    return files | {"weights": encoder_weights(wildcards)}


def embed_code(wildcards):
    """Code of an embedding; images that are files of their own are read without their container."""
    if images_of(wildcards.image_set)[0] in ("tar", "parquet"):
        return container_code("embed_images.py", wildcards.image_set)
    return code("embed_images.py")


def is_embedded(wildcards):
    """Whether a shard was last embedded as it would be now."""
    path = "results/embeddings/{encoder}/images/{image_set}/{shard}.recipe.json"
    path = Path(path.format(**wildcards))
    return path.exists() and path.read_text("utf-8") == embed_recipe(wildcards)


def embed_recipe(wildcards):
    """All that decides what comes of the embedding of a shard, as JSON."""
    source = files_of(wildcards.image_set)
    recipe = [encoder_model(wildcards), shard_state(wildcards), embed_code(wildcards), source]
    return json.dumps(recipe, sort_keys=True)


def example_images(wildcards):
    """What holds the images of a set, to draw some of them."""
    return stored_images(wildcards.image_set)


def encoder_weights(wildcards):
    """The weights file or the files of a local checkpoint; none for a pretrained tag."""
    encoder = CONFIG["encoders"][wildcards.encoder]
    if "checkpoint" in encoder:
        folder = located(encoder["checkpoint"])
        return [f"{folder}/open_clip_model.safetensors", f"{folder}/open_clip_config.json"]
    file = configuration.weights_file(encoder)
    return [located(file)] if file else []


def encoder_tokenizer(wildcards):
    """The tokenizer's files in a local checkpoint that has a tokenizer of its own."""
    encoder = CONFIG["encoders"][wildcards.encoder]
    folder = Path(located(encoder.get("checkpoint", "")))
    patterns = TOKENIZER_FILES if "checkpoint" in encoder else []
    return sorted({str(path) for pattern in patterns for path in folder.glob(pattern)})


def embeddings_of(encoder, image_sets):
    """All shards of the embeddings of image sets by one encoder, in order."""
    listed([encoder], image_sets)
    path = f"results/embeddings/{encoder}/images"
    parts = [(name, shard) for name in image_sets for shard in shards_of(encoder, name)]
    embedded = [(configuration.embedded_set(name, CONFIG), shard) for name, shard in parts]
    return {
        "embeddings": [f"{path}/{name}/{shard}.npy" for name, shard in embedded],
        "index": [f"{path}/{name}/{shard}.parquet" for name, shard in parts],
    }


def image_embeddings(wildcards):
    """All shards of the embeddings of the wildcards' image set."""
    return embeddings_of(wildcards.encoder, [wildcards.image_set])


def texts_of(encoder, corpora):
    """Embeddings of these corpora, in order."""
    stems = [f"results/embeddings/{encoder}/texts/{corpus}" for corpus in corpora]
    return {
        "texts": [f"{stem}.npy" for stem in stems],
        "concepts": [f"{stem}.parquet" for stem in stems],
    }


def positives_file(wildcards):
    study = CONFIG["studies"][wildcards.study]
    return (
        "results/concepts/{encoder}/{train}/{corpus}/{clustering}/{mining}/seed{seed}.parquet"
    ).format(train=study["train"], corpus=study["corpus"], **wildcards)


def tree_files(trees):
    """The files of concept trees, given as the config does: folders, tables, or None."""
    files = []
    for tree in dict.fromkeys(trees):
        folder = located(tree) if tree else None
        if folder and os.path.isdir(folder):
            files += [
                f"{folder}/{kind}.{pos}" for kind in ("data", "index") for pos in ("noun", "adj")
            ]
        elif folder:
            files.append(folder)
    return files


def named_labels(*image_sets):
    """The tables that name these sets' labels, as input files, for the sets that have one."""
    paths = [located(b["path"]) for b in label_name_blocks(image_sets) if b]
    return [f"{path}/data.noun" if os.path.isdir(path) else path for path in paths]


def label_naming(*image_sets):
    """Params of the naming of these sets' labels: a table's columns, or None without a table."""
    return [
        block and {key: value for key, value in block.items() if key != "path"}
        for block in label_name_blocks(image_sets)
    ]


def label_name_blocks(image_sets):
    return [configuration.label_names(image_set, CONFIG) for image_set in image_sets]


def negatives_inputs(wildcards):
    """What the choice of negatives reads: one list of positives, corpora and concept trees."""
    study = CONFIG["studies"][wildcards.study]
    listed([wildcards.encoder], [study["train"]])
    return texts_of(wildcards.encoder, configuration.study_corpora(study, CONFIG)) | {
        "positives": positives_file(wildcards),
        "trees": tree_files(CONFIG["negatives"][name]["tree"] for name in study["negatives"]),
    }


def scoring_inputs(wildcards):
    """What a scoring job reads: the images of a study and what its detectors compare them with.

    Detectors that need no names are scored apart, with mining "none".
    """
    study = CONFIG["studies"][wildcards.study]
    images = embeddings_of(wildcards.encoder, scored_sets(study))
    if wildcards.mining != "none":
        negatives = "results/negatives/{study}/{encoder}/{clustering}/{mining}/seed{seed}.parquet"
        return (
            images
            | texts_of(wildcards.encoder, configuration.study_corpora(study, CONFIG))
            | {
                "positives": positives_file(wildcards),
                "negatives": negatives.format(**wildcards),
            }
        )
    train = embeddings_of(wildcards.encoder, [study["train"]])
    sources = {"train": train["embeddings"], "train_index": train["index"]}
    if wildcards.clustering != "none":
        sources["clusters"] = (
            "results/clusters/{encoder}/{train}/{clustering}/seed{seed}.parquet"
        ).format(train=study["train"], **wildcards)
    return images | sources


def scored_sets(study):
    """Image sets that a study scores, each once: ID test, near and far OOD, shifted ID."""
    return list(dict.fromkeys(configuration.study_image_sets(study)[1:]))


def precomputed_files(files, kind):
    """The user's own embeddings in one block of the config: lists of .npy files and of indexes.

    kind: what clip-retrieval calls them, img_emb or text_emb.
    """
    if "clip_retrieval" not in files:
        return [located(files["embeddings"])], [located(files["index"])]
    try:
        return clip_retrieval_files(located(files["clip_retrieval"]), kind)
    except InputError as error:
        raise WorkflowError(str(error)) from None


def precomputed_images(wildcards):
    files = CONFIG["encoders"][wildcards.encoder]["images"][wildcards.image_set]
    return dict(zip(("embeddings", "index"), precomputed_files(files, "img_emb")))


def precomputed_texts(wildcards):
    lists = CONFIG["encoders"][wildcards.encoder]["texts"][wildcards.corpus]
    arrays, indexes = zip(*(precomputed_files(files, "text_emb") for files in lists))
    return {"embeddings": sum(arrays, []), "index": sum(indexes, [])}


def conjugated(wildcards):
    """The corpus whose adjectives a derived corpus joins to superclasses."""
    source = CONFIG["corpora"][wildcards.corpus]["conjugate"]["corpus"]
    return f"results/corpora/{source}.parquet"


def corpora_with(key):
    """Wildcard constraint: the corpora whose config block has this key."""
    return one_of([name for name, block in CONFIG["corpora"].items() if key in block])


def corpus_files(wildcards):
    """The word lists of a corpus."""
    return [database_file(file, "data") for file in CONFIG["corpora"][wildcards.corpus]["files"]]


def excluded_files(wildcards):
    """The word lists whose names a corpus leaves out."""
    return [database_file(file, "data") for file in CONFIG["corpora"][wildcards.corpus]["exclude"]]


def corpus_indexes(wildcards):
    """What belongs to the word lists that are WordNet's database."""
    block = CONFIG["corpora"][wildcards.corpus]
    files = [
        file for file in block["files"] + block["exclude"] if os.path.isdir(located(file["path"]))
    ]
    return [database_file(file, "index") for file in files]


def database_file(file, kind):
    """A word list's path, or for a folder of WordNet its file with this part of speech."""
    path = located(file["path"])
    ending = "adj" if file["pos"] == "adjective" else "noun"
    return f"{path}/{kind}.{ending}" if os.path.isdir(path) else path


def corpus_params(wildcards):
    """Params of a corpus from word lists."""
    block = CONFIG["corpora"][wildcards.corpus]
    return {"files": block["files"], "exclude": block["exclude"]}


def derivation(wildcards):
    """Params of a derived image set."""
    return CONFIG["image_sets"][wildcards.image_set]["derive"]


def labels_to_coarsen(wildcards):
    """All indexes of the image set that the wildcards' one is derived from, and the tree."""
    cut = derivation(wildcards)
    return {
        "index": embeddings_of(wildcards.encoder, [cut["from"]])["index"],
        "shard": f"results/embeddings/{wildcards.encoder}/images/{cut['from']}/{wildcards.shard}.parquet",
        "tree": tree_files([cut["tree"]]),
    }


def images_to_derive_from(wildcards):
    """Embeddings of the image set that the wildcards' one is derived from."""
    return embeddings_of(wildcards.encoder, [derivation(wildcards)["from"]])


def after_listing(path):
    """Input function: this path, with the wildcards filled in, once the images are listed."""

    def file(wildcards):
        listed([wildcards.encoder], [wildcards.image_set])
        return path.format(**wildcards)

    return file


def images_and_neighbours(wildcards):
    """Embeddings of an image set and the kNN graph that its TEMI clustering trains on."""
    k = CONFIG["clusterings"][wildcards.clustering]["neighbours"]
    graph = f"results/neighbours/{wildcards.encoder}/{wildcards.image_set}/k{k}.npy"
    return image_embeddings(wildcards) | {"neighbours": graph}


def images_and_texts(wildcards):
    """Embeddings of an image set and of a corpus by the same encoder."""
    texts = f"results/embeddings/{wildcards.encoder}/texts/{wildcards.corpus}"
    return image_embeddings(wildcards) | {"texts": f"{texts}.npy", "concepts": f"{texts}.parquet"}


def labels_and_similarity(wildcards):
    """What the oracle reads: labels of the training images, and what they are matched to."""
    stem = "{encoder}/{image_set}/{corpus}.parquet".format(**wildcards)
    return {
        "index": image_embeddings(wildcards)["index"],
        "similarity": f"results/similarity/{stem}",
        "concepts": f"results/embeddings/{wildcards.encoder}/texts/{wildcards.corpus}.parquet",
        "label_names": named_labels(wildcards.image_set),
    }


def oracle(wildcards):
    """Params of the oracle: its block, and how labels get their names."""
    block = CONFIG["minings"][wildcards.mining]
    return {"mining": block, "label_names": label_naming(wildcards.image_set)}


def images_and_clusters(wildcards):
    """Embeddings of an image set and one clustering of it."""
    return image_embeddings(wildcards) | {"clusters": clusters_of(wildcards)}


def clusters_of(wildcards):
    """The clusters that the wildcards name; none for minings that work on single images."""
    listed([wildcards.encoder], [wildcards.image_set])
    if wildcards.clustering == "none":
        return []
    return "results/clusters/{encoder}/{image_set}/{clustering}/seed{seed}.parquet".format(
        **wildcards
    )


def centres_and_texts(wildcards):
    """Cluster centres and text embeddings, for the minings that compare them."""
    listed([wildcards.encoder], [wildcards.image_set])
    if "centres" not in needs("minings", wildcards.mining):
        return []
    return [
        "results/centres/{encoder}/{image_set}/{clustering}/seed{seed}.npy".format(**wildcards),
        f"results/embeddings/{wildcards.encoder}/texts/{wildcards.corpus}.npy",
    ]


# ---- studies ----------------------------------------------------------------------------------


def positives_of(study):
    """(encoder, clustering, mining, seed) of every list of positives that a study compares."""
    for encoder in study["encoders"]:
        for mining in study["minings"]:
            if "clusters" in needs("minings", mining):
                for clustering in study["clusterings"]:
                    for seed in study["seeds"]:
                        yield encoder, clustering, mining, seed
            else:
                yield encoder, "none", mining, 0


def study_params(*keys):
    """Params function: these keys of the wildcards' study."""
    return lambda wildcards: {key: CONFIG["studies"][wildcards.study][key] for key in keys}


def scoring(wildcards):
    """Params of a scoring job: the image sets in order and the blocks of the detectors."""
    study = CONFIG["studies"][wildcards.study]
    kind = detector_kind(wildcards.clustering, wildcards.mining)
    return {
        "image_sets": {s: len(shards_of(wildcards.encoder, s)) for s in scored_sets(study)},
        "corpora": configuration.study_corpora(study, CONFIG),
        "detectors": {
            name: CONFIG["detectors"][name]
            for name in study["detectors"]
            if detector_needs(name) == kind
        },
    }


def detector_kind(clustering, mining):
    """What the detectors of one score file compare images with."""
    if mining != "none":
        return "positives"
    return "train" if clustering == "none" else "clusters"


def detector_needs(name):
    needed = needs("detectors", name)
    return next(kind for kind in ("positives", "clusters", "train") if kind in needed)


def study_negatives(wildcards):
    """Params of a job that chooses negatives: the study's corpora, and its blocks by name."""
    study = CONFIG["studies"][wildcards.study]
    blocks = {name: CONFIG["negatives"][name] for name in study["negatives"]}
    return {"corpora": configuration.study_corpora(study, CONFIG), "negatives": blocks}


def score_files(study):
    """(encoder, clustering, mining, seed) of every score file of a study: each list of positives,
    and mining "none" for the detectors that need no names."""
    kinds = {detector_needs(name) for name in study["detectors"]}
    if "positives" in kinds:
        yield from positives_of(study)
    for encoder in study["encoders"]:
        if "train" in kinds:
            yield encoder, "none", "none", 0
        if "clusters" in kinds:
            for clustering in study["clusterings"]:
                yield from ((encoder, clustering, "none", seed) for seed in study["seeds"])


def study_scores(wildcards):
    """The score files of a study, and the flags of contaminated images."""
    study = CONFIG["studies"][wildcards.study]
    listed(study["encoders"], configuration.study_image_sets(study))
    path = "results/scores/{}/{}/{}/{}/seed{}.parquet"
    flags = f"results/contamination/{wildcards.study}.parquet"
    return {
        "scores": [path.format(wildcards.study, *names) for names in score_files(study)],
        "flags": flags if study["contamination"] else [],
    }


def judged_sets(study):
    """Image set -> its group, of the sets looked at for ID images: OOD, and the ID test set."""
    groups = {study["test"]: "test"}
    return groups | {name: group for group in ("near", "far") for name in study[group]}


def images_to_judge(wildcards):
    """Images, names and labels that tell which OOD images show an ID class."""
    study = CONFIG["studies"][wildcards.study]
    judge = configuration.judge_of(study, CONFIG)
    images = embeddings_of(judge, list(judged_sets(study)))
    listed([judge], [study["train"]])
    return (
        images
        | texts_of(judge, [study["corpus"]])
        | {"train_index": indexes_of([judge], study["train"]), "trees": tree_files([study["tree"]])}
        | {"label_names": named_labels(study["train"], *judged_sets(study))}
    )


def contamination(wildcards):
    """Params of the search for ID images in OOD sets."""
    study = CONFIG["studies"][wildcards.study]
    block, sets = CONFIG["contaminations"][study["contamination"]], judged_sets(study)
    judge = configuration.judge_of(study, CONFIG)
    return {
        "rule": block["method"],
        "margin": block.get("margin", 0),
        "image_sets": {name: len(shards_of(judge, name)) for name in sets},
        "groups": sets,
        "label_names": label_naming(study["train"], *sets),
    }


def indexes_of(encoders, image_set):
    """Indexes of an image set by all encoders, for its labels."""
    return [
        f"results/embeddings/{encoder}/images/{image_set}/{shard}.parquet"
        for encoder in encoders
        for shard in shards_of(encoder, image_set)
    ]


def study_concepts(wildcards):
    """The lists of positives of a study, and the labels, images and names to judge them by."""
    study = CONFIG["studies"][wildcards.study]
    listed(study["encoders"], [study["train"], study["test"]])
    path = "results/concepts/{}/{}/{}/{}/{}/seed{}.parquet"
    images = "results/embeddings/{}/images/{}/{}"
    texts = [f"results/embeddings/{name}/texts/{study['corpus']}" for name in study["encoders"]]
    test = [
        images.format(encoder, study["test"], shard)
        for encoder in study["encoders"]
        for shard in shards_of(encoder, study["test"])
    ]
    return {
        "positives": [
            path.format(encoder, study["train"], study["corpus"], clustering, mining, seed)
            for encoder, clustering, mining, seed in positives_of(study)
        ],
        "index": indexes_of(study["encoders"], study["train"]),
        "test": [f"{stem}.npy" for stem in test],
        "test_index": [f"{stem}.parquet" for stem in test],
        "texts": [f"{stem}.npy" for stem in texts],
        "concepts": [f"{stem}.parquet" for stem in texts],
        "trees": tree_files([study["tree"]]),
        "label_names": named_labels(study["train"], study["test"]),
    }


def concept_judging(wildcards):
    """Params of the evaluation of concepts: number of shards of the test images by encoder, and how
    labels get their names."""
    study = CONFIG["studies"][wildcards.study]
    encoders = {name: len(shards_of(name, study["test"])) for name in study["encoders"]}
    return {"encoders": encoders, "label_names": label_naming(study["train"], study["test"])}


def study_clusters(wildcards):
    """The clusterings of a study, and the labels to judge them by."""
    study = CONFIG["studies"][wildcards.study]
    listed(study["encoders"], [study["train"]])
    return {
        "clusters": [
            f"results/clusters/{encoder}/{study['train']}/{clustering}/seed{seed}.parquet"
            for encoder in study["encoders"]
            for clustering in study["clusterings"]
            for seed in study["seeds"]
        ],
        "index": indexes_of(study["encoders"], study["train"]),
    }


# ---- benchmarks of clusterings ----------------------------------------------------------------


def benchmark_runs(benchmark):
    """(level, encoder, image set, clustering, seed) of every clustering of a benchmark."""
    block = CONFIG["benchmarks"][benchmark]
    for level, image_set in block["levels"].items():
        for encoder in block["encoders"]:
            for clustering in block["clusterings"]:
                for seed in block["seeds"]:
                    yield level, encoder, image_set, clustering, seed


def benchmark_inputs(wildcards):
    """Clusterings, time and memory of their jobs, labels, and for several classes the ranks."""
    block = CONFIG["benchmarks"][wildcards.benchmark]
    for encoder in block["encoders"]:
        listed([encoder], block["levels"].values())
    path = "results/clusters/{}/{}/{}/seed{}"
    stems = [path.format(*run[1:]) for run in benchmark_runs(wildcards.benchmark)]
    several = block["axis"] == "multiple_classes"
    labels = [indexes_of([run[1]], run[2]) for run in benchmark_runs(wildcards.benchmark)]
    return {
        "clusters": [f"{stem}.parquet" for stem in stems],
        "costs": [f"{stem}.cost.json" for stem in stems],
        "ranks": [f"{stem}.top{block['predictions']}.parquet" for stem in stems] if several else [],
        "labels": list(dict.fromkeys(file for files in labels for file in files)),
        "tree": tree_files([block["tree"]]) if several else [],
    }


def benchmark_params(wildcards):
    """Params of a benchmark's table: its axis, and of every clustering level and label files."""
    block = CONFIG["benchmarks"][wildcards.benchmark]
    runs = benchmark_runs(wildcards.benchmark)
    return {
        "axis": block["axis"],
        "levels": {image_set: level for level, image_set in block["levels"].items()},
        "shards": {f"{e}/{s}": len(shards_of(e, s)) for _, e, s, _, _ in runs},
    }


def clusters_and_model(wildcards):
    """Images, one clustering of them and what assigns further ones."""
    stem = "results/clusters/{encoder}/{image_set}/{clustering}/seed{seed}".format(**wildcards)
    files = {"clusters": f"{stem}.parquet", "model": f"{stem}.safetensors"}
    return image_embeddings(wildcards) | files


def ranking(wildcards):
    """Params of a ranking of clusters: how many, and the clustering's own."""
    return clustering(wildcards) | {"predictions": int(wildcards.predictions)}


def compared_tables(comparison):
    """The part of a comparison that every benchmark in `compare` brings, if it has it."""
    blocks = {name: CONFIG["benchmarks"][name] for name in CONFIG["compare"]}
    if comparison == "deep_clustering":
        return [f"results/benchmarks/{name}/clustering.parquet" for name in blocks]
    several = [name for name, block in blocks.items() if block["axis"] == "multiple_classes"]
    return [f"results/benchmarks/{name}/hits.parquet" for name in several]


def all_comparisons(wildcards):
    """What `snakemake deep_clustering` makes: tables of all benchmarks, and plots of each."""
    blocks = {benchmark: CONFIG["benchmarks"][benchmark] for benchmark in CONFIG["compare"]}
    tables = ["deep_clustering"]
    tables += ["multiple_classes"] if compared_tables("multiple_classes") else []
    plots = [
        f"results/figures/benchmarks/{name}.{metric}.svg"
        for name, block in blocks.items()
        if len(block["levels"]) > 1
        for metric in ("acc", "nmi")
    ]
    return plots + [f"results/tables/{t}.{end}" for t in tables for end in ("parquet", "csv", "md")]


def compared_listings():
    """Listings of all image folders of the benchmarks in `compare`."""
    names = configuration.embedded_sets(CONFIG, benchmarks=CONFIG["compare"])
    return [f"results/images/{name}/quarantine.parquet" for name in names]


def studies_in_run():
    return [CONFIG["studies"][name] for name in CONFIG["run"]]


def run_listed():
    """Wait until all image folders in the run are listed."""
    for study in studies_in_run():
        for encoder, (image_sets, _) in configuration.encoders_of(study, CONFIG).items():
            listed([encoder], image_sets)


def listings(studies=CONFIG["run"]):
    """The listings of all image folders of studies, asked for at once so that they run in parallel."""
    names = configuration.embedded_sets(CONFIG, studies)
    return [f"results/images/{name}/quarantine.parquet" for name in names]


def quarantine_tables(wildcards):
    """The quarantine of every image set in the run, by listing and by embedding."""
    run_listed()
    shards = [
        f"results/embeddings/{encoder}/images/{image_set}/{shard}.quarantine.parquet"
        for study in studies_in_run()
        for encoder, (image_sets, _) in configuration.encoders_of(study, CONFIG).items()
        for image_set in image_sets
        for shard in shards_of(encoder, image_set)
    ]
    return list(dict.fromkeys([*listings(), *shards]))


def run_tables(wildcards):
    """One table of every study in the run."""
    run_listed()
    names = CONFIG["run"] if wildcards.table != "contamination" else contaminated_studies()
    return [f"results/studies/{study}/{wildcards.table}.parquet" for study in names]


def contaminated_studies():
    """The studies in the run that look for ID images in their OOD sets."""
    return [name for name in CONFIG["run"] if CONFIG["studies"][name]["contamination"]]


def ablated_studies(ablations):
    """Names of all studies of these ablations."""
    blocks = {name: CONFIG["ablations"][name] for name in ablations}
    return [s for name, block in blocks.items() for s in configuration.ablated_studies(name, block)]


def ablation_studies(wildcards):
    """Comparisons and label quality of every study of an ablation."""
    names = ablated_studies([wildcards.ablation])
    for study in (CONFIG["studies"][name] for name in names):
        listed(study["encoders"], configuration.study_image_sets(study))
    return {
        "comparisons": [f"results/studies/{name}/comparison.parquet" for name in names],
        "label_quality": [f"results/studies/{name}/label_quality.parquet" for name in names],
    }


def ablation_params(wildcards):
    """Params of an ablation's table: the values in order, and what they are."""
    ablation = CONFIG["ablations"][wildcards.ablation]
    return {"values": list(ablation["values"]), "vary": ablation["vary"]}


def all_ablations(wildcards):
    """What `snakemake ablations` makes: a table and a plot of each."""
    table = "results/tables/ablations/{}.{}"
    tables = [
        table.format(name, end) for name in CONFIG["ablate"] for end in ("parquet", "csv", "md")
    ]
    return [*tables, *(f"results/figures/ablations/{name}.svg" for name in CONFIG["ablate"])]


def all_results(wildcards):
    """What `snakemake` makes: the tables of the studies in the run."""
    run_listed()
    names = ["ood", "comparison", "concepts", "label_quality", "clustering", "quarantine"]
    names += ["contamination"] if contaminated_studies() else []
    tables = [f"results/tables/{name}.{end}" for name in names for end in ("parquet", "csv", "md")]
    return ["results/tables/summary.md", *tables, *figures()]


def figures():
    """Per study of the run a plot of its AUROC, and per mining by clusters a sheet of concepts."""
    for name, study in zip(CONFIG["run"], studies_in_run(), strict=True):
        named = any(detector_needs(detector) == "positives" for detector in study["detectors"])
        if named and (study["near"] or study["far"]):
            yield f"results/figures/{name}.svg"
        encoder, train = study["encoders"][0], study["train"]
        if CONFIG["encoders"][encoder]["method"] != "precomputed":
            for mining in study["minings"]:
                if needs("minings", mining) != ["clusters"]:
                    continue
                mined = f"{study['corpus']}/{study['clusterings'][0]}/{mining}"
                yield f"results/figures/{encoder}/{train}/{mined}/seed{study['seeds'][0]}.png"
