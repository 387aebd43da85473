"""Functions for the rules: the validated config, the code digest, paths and input functions."""

import ast
import functools
import hashlib
import os
from pathlib import Path

import yaml
from snakemake.exceptions import WorkflowError
from workflow_scripts.lib import config as configuration
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.folders import folder_state

ROOT = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parent
RENDERED = "results/demo/images/"

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
    CONFIG = configuration.resolve_config(config, SCHEMA)
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
def code(script):
    """Name and digest of a script and of all it imports from here; the digest changes when the
    code does, not when comments, docstrings, layout or file times do."""
    seen, todo = set(), [ROOT / "workflow_scripts" / script]
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


def of_method(section, method):
    """Wildcard constraint: the names in a config section with this method."""
    return one_of([name for name, block in CONFIG[section].items() if block["method"] == method])


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


def folder_of(image_set):
    return located(CONFIG["image_sets"][image_set]["folder"])


# A folder that the user owns is read once per invocation; a rendered one may appear in between.
cached_folder_state = functools.cache(folder_state)


def listing(wildcards):
    """Params of an image listing: what to list and the state of the folder."""
    image_set = CONFIG["image_sets"][wildcards.image_set]
    state = folder_state if image_set["folder"].startswith(RENDERED) else cached_folder_state
    return {
        "labels": image_set["labels"],
        "shards": image_set["shards"],
        "state": state(folder_of(wildcards.image_set)),
    }


def without_threads(block):
    """A config block as params: the number of threads does not change what comes out."""
    return {key: value for key, value in block.items() if key != "threads"}


def encoder_model(wildcards):
    return without_threads(CONFIG["encoders"][wildcards.encoder])


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
    return {"encoder": wildcards.encoder, "label_column": files["label_column"]}


def imported_texts(wildcards):
    """Params of an import of text embeddings."""
    lists = CONFIG["encoders"][wildcards.encoder]["texts"][wildcards.corpus]
    sources = [Path(files["index"]).stem for files in lists]
    return {"encoder": wildcards.encoder, "sources": sources}


def text_encoder(wildcards):
    """Params of a text embedding job: the encoder and the corpus's prompts."""
    prompts = CONFIG["corpora"][wildcards.corpus]["prompts"]
    return {"encoder": encoder_model(wildcards), "prompts": prompts}


# ---- input functions --------------------------------------------------------------------------
# Every rule below the image listings asks for its inputs through `listed`, so that Snakemake
# decides what to run after the listings are up to date: a listing that comes out the same, e.g.
# of touched files, then re-runs nothing.


def shards_of(encoder, image_set):
    """Names of the parts that an image set's embeddings are stored in."""
    precomputed = CONFIG["encoders"][encoder]["method"] == "precomputed"
    count = 1 if precomputed else CONFIG["image_sets"][image_set]["shards"]
    return [f"{shard:05d}" for shard in range(count)]


def listed(encoders, image_sets):
    """Wait until these image sets are listed, unless all encoders bring their own embeddings."""
    if any(CONFIG["encoders"][encoder]["method"] != "precomputed" for encoder in encoders):
        for image_set in image_sets:
            checkpoints.list_images.get(image_set=image_set)


def image_folder(wildcards):
    """The folder of an image set, rendered first if it belongs to the demo."""
    folder = CONFIG["image_sets"][wildcards.image_set]["folder"]
    if folder.startswith(RENDERED):
        checkpoints.render_images.get(demo_set=folder.removeprefix(RENDERED))
    return folder_of(wildcards.image_set)


def shard_to_embed(wildcards):
    """Manifest of one shard, the image folder and local weights."""
    listed([wildcards.encoder], [wildcards.image_set])
    return {
        "manifest": f"results/images/{wildcards.image_set}/manifest/{wildcards.shard}.parquet",
        "folder": ancient(folder_of(wildcards.image_set)),
        "weights": encoder_weights(wildcards),
    }


def encoder_weights(wildcards):
    """The files of a local checkpoint; none for a pretrained tag."""
    encoder = CONFIG["encoders"][wildcards.encoder]
    if "checkpoint" in encoder:
        names = ["open_clip_model.safetensors", "open_clip_config.json"]
        return [located(f"{encoder['checkpoint']}/{name}") for name in names]
    pretrained = encoder.get("pretrained", "")
    return [located(pretrained)] if "/" in pretrained else []


def image_embeddings(wildcards, image_sets=None):
    """All shards of the embeddings of the wildcards' image set (or of several)."""
    image_sets = image_sets or [wildcards.image_set]
    listed([wildcards.encoder], image_sets)
    stems = [
        f"results/embeddings/{wildcards.encoder}/images/{image_set}/{shard}"
        for image_set in image_sets
        for shard in shards_of(wildcards.encoder, image_set)
    ]
    return {
        "embeddings": [f"{stem}.npy" for stem in stems],
        "index": [f"{stem}.parquet" for stem in stems],
    }


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


def tree_files(study):
    """Files of the concept trees that a study's negatives ask."""
    files = []
    for tree in dict.fromkeys(CONFIG["negatives"][name]["tree"] for name in study["negatives"]):
        folder = located(tree) if tree else None
        if folder and os.path.isdir(folder):
            files += [
                f"{folder}/{kind}.{pos}" for kind in ("data", "index") for pos in ("noun", "adj")
            ]
        elif folder:
            files.append(folder)
    return files


def negatives_inputs(wildcards):
    """What the choice of negatives reads: one list of positives, corpora and concept trees."""
    study = CONFIG["studies"][wildcards.study]
    listed([wildcards.encoder], [study["train"]])
    return texts_of(wildcards.encoder, configuration.study_corpora(study, CONFIG)) | {
        "positives": positives_file(wildcards),
        "trees": tree_files(study),
    }


def scoring_inputs(wildcards):
    """What a scoring job reads: the images of a study and what its detectors compare them with.

    Detectors that need no names are scored apart, with mining "none".
    """
    study = CONFIG["studies"][wildcards.study]
    images = image_embeddings(wildcards, scored_sets(study))
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
    train = image_embeddings(wildcards, [study["train"]])
    sources = {"train": train["embeddings"], "train_index": train["index"]}
    if wildcards.clustering != "none":
        sources["clusters"] = (
            "results/clusters/{encoder}/{train}/{clustering}/seed{seed}.parquet"
        ).format(train=study["train"], **wildcards)
    return images | sources


def scored_sets(study):
    """Image sets that a study scores, each once: ID test, near and far OOD, shifted ID."""
    return list(dict.fromkeys(configuration.study_image_sets(study)[1:]))


def precomputed_images(wildcards):
    files = CONFIG["encoders"][wildcards.encoder]["images"][wildcards.image_set]
    return {key: located(files[key]) for key in ("embeddings", "index")}


def precomputed_texts(wildcards):
    lists = CONFIG["encoders"][wildcards.encoder]["texts"][wildcards.corpus]
    return {key: [located(files[key]) for files in lists] for key in ("embeddings", "index")}


def conjugated(wildcards):
    """The corpus whose adjectives a derived corpus joins to superclasses."""
    source = CONFIG["corpora"][wildcards.corpus]["conjugate"]["corpus"]
    return f"results/corpora/{source}.parquet"


def corpora_with(key):
    """Wildcard constraint: the corpora whose config block has this key."""
    return one_of([name for name, block in CONFIG["corpora"].items() if key in block])


def corpus_files(wildcards):
    return [located(file["path"]) for file in CONFIG["corpora"][wildcards.corpus]["files"]]


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
    }


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
    """The score files of a study."""
    study = CONFIG["studies"][wildcards.study]
    listed(study["encoders"], configuration.study_image_sets(study))
    path = "results/scores/{}/{}/{}/{}/seed{}.parquet"
    return [path.format(wildcards.study, *names) for names in score_files(study)]


def training_indexes(study):
    """Indexes of the training images by all encoders, for their labels."""
    return [
        f"results/embeddings/{encoder}/images/{study['train']}/{shard}.parquet"
        for encoder in study["encoders"]
        for shard in shards_of(encoder, study["train"])
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
        "index": training_indexes(study),
        "test": [f"{stem}.npy" for stem in test],
        "test_index": [f"{stem}.parquet" for stem in test],
        "texts": [f"{stem}.npy" for stem in texts],
        "concepts": [f"{stem}.parquet" for stem in texts],
    }


def test_shards(wildcards):
    """Params of an evaluation on the test images: number of shards by encoder."""
    study = CONFIG["studies"][wildcards.study]
    encoders = {name: len(shards_of(name, study["test"])) for name in study["encoders"]}
    return {"encoders": encoders}


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
        "index": training_indexes(study),
    }


def studies_in_run():
    return [CONFIG["studies"][name] for name in CONFIG["run"]]


def run_listed():
    """Wait until all image folders in the run are listed."""
    for study in studies_in_run():
        listed(study["encoders"], configuration.study_image_sets(study))


def listings():
    """The listings of all image folders in the run, asked for at once so that they run in parallel."""
    image_sets = [
        image_set
        for study in studies_in_run()
        if any(CONFIG["encoders"][name]["method"] != "precomputed" for name in study["encoders"])
        for image_set in configuration.study_image_sets(study)
    ]
    return [f"results/images/{name}/quarantine.parquet" for name in dict.fromkeys(image_sets)]


def quarantine_tables(wildcards):
    """The quarantine of every image set in the run, by listing and by embedding."""
    run_listed()
    shards = [
        f"results/embeddings/{encoder}/images/{image_set}/{shard}.quarantine.parquet"
        for study in studies_in_run()
        for encoder in study["encoders"]
        for image_set in configuration.study_image_sets(study)
        for shard in shards_of(encoder, image_set)
    ]
    return list(dict.fromkeys([*listings(), *shards]))


def run_tables(wildcards):
    """One table of every study in the run."""
    run_listed()
    return [f"results/studies/{study}/{wildcards.table}.parquet" for study in CONFIG["run"]]


def all_results(wildcards):
    """What `snakemake` makes: the tables of the studies in the run."""
    run_listed()
    names = ["ood", "concepts", "label_quality", "clustering", "quarantine"]
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
