"""What several rules files share: the config, recipes, and the paths of embeddings, texts, trees."""

import functools
import os
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from workflow_scripts.lib.config import queries as configuration
from workflow_scripts.lib.config.paths import key_of
from workflow_scripts.lib.config.resolve import resolve_config, with_own_blocks
from workflow_scripts.lib.config.scored import check_name, check_text, with_scored
from workflow_scripts.lib.config.yaml_text import check_yaml
from workflow_scripts.lib.digest import code_digest
from workflow_scripts.lib.encoders.files import tokenizer_files, weights_files
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.recipes import Recipes, in_config, of_no_rule
from workflow_scripts.lib.sources import Sources

ROOT = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parent
# Each job on a cluster starts a Snakemake of its own, which reads no source and walks no folder.
IS_MAIN = workflow.is_main_process
# Folders as outputs are made beside Snakemake then: not every storage sees what a job on another
# machine put into one, or keeps an empty one.
IN_STORAGE = workflow.storage_settings.default_storage_provider is not None

# Threads that wait must sleep: spinning ones slow two jobs on the same cores down tenfold.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Blocks of rows go back to the system when they are freed, where they would leave holes between
# what is kept; huge pages make up for the time that new memory takes.
os.environ.setdefault(
    "GLIBC_TUNABLES", "glibc.malloc.mmap_threshold=1000000:glibc.malloc.hugetlb=1"
)


try:
    if IS_MAIN:
        for file in workflow.config_settings.configfiles:
            check_yaml(file)
    OWN = workflow.config_settings.overwrite_config  # by --configfile and --config
    MERGED = with_own_blocks(config, OWN)
    if "detector" in MERGED:  # on the command line, for `snakemake score`
        from workflow_scripts.lib.detection.bundle import read_description

        check_text("detector", MERGED["detector"])
        DETECTOR = read_description(MERGED["detector"])
        MERGED = with_scored(MERGED, DETECTOR["encoder"])
        if IS_MAIN:
            check_name(MERGED)
    CONFIG = resolve_config(MERGED)
except InputError as error:
    raise WorkflowError(str(error)) from None


def located(path):
    """A path of the config: from the working directory, else from the repository.

    Where these are one folder the path stays as it is, also in a job that does not see the file.
    """
    here = path.startswith("results/") or os.path.exists(path) or Path.cwd() == ROOT
    return path if here else str(ROOT / path)


def source(path):
    """Where a file or folder of the user's is, as an input. Ends with its key if it is gone, or if
    Snakemake would take a part of its name for a wildcard."""
    place = located(path)  # Snakemake would go on with old results
    if IS_MAIN and not path.startswith("results/") and (problem := unusable(path, place)):
        sys.exit(f"config: {key_of(path, CONFIG)}: {path} {problem}")
    if "{" in place or "}" in place:
        sys.exit(
            f"config: {key_of(path, CONFIG)}: {path} holds a brace, which Snakemake cannot have in "
            "a path: rename it, or give a link to it (ln -s)"
        )
    return place


def unusable(path, place):
    """Why a path of the config names nothing that can be read, or None."""
    if not path.strip():
        return "is empty: give a path"
    if not os.path.exists(place):
        return "does not exist" + ": write ~ out" * path.startswith("~")
    if not os.path.isfile(place) and not os.path.isdir(place):
        return "is neither a file nor a folder: give one that can be read"
    return None


def in_place(paths):
    """Files of the user's as inputs: where they are, not in the storage that holds the results, if
    Snakemake is given one (`--default-storage-provider`).
    """
    return [path if path.startswith("results/") else local(path) for path in paths]


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
    part=r"\d{5}",
    seed=r"\d+",
    k=r"\d+",


# ---- params of every rule ---------------------------------------------------------------------
# Every rule has three params: cfg, one plain dict of its config; code, the digest of what it runs;
# and above, the recipes of its inputs (workflow_scripts/lib/recipes.py).

SOURCES = Sources("results/sources.json", read_files=IS_MAIN)
RECIPES = Recipes(workflow, SOURCES.digest)
above = RECIPES.above


def code(script, modules=lambda wildcards: ()):
    """Params function: digest of a rule's script and of the modules of its method.

    modules: function of the wildcards, gives names as "clustering/temi".
    """
    return lambda wildcards: code_digest(script, *modules(wildcards))


def block(section, wildcard):
    """Params function: the config block of a section that a wildcard names."""
    return lambda wildcards: CONFIG[section][wildcards[wildcard]]


def without_threads(block):
    """A config block without its threads and processes, which do not change what comes out."""
    return {key: value for key, value in block.items() if key not in ("threads", "processes")}


# ---- figures and the report -----------------------------------------------------------------------
# `snakemake --report report.html` shows what is flagged with `report`; rules/captions/ explains it.

FIGURE_ENDINGS = ("svg", "png", "pdf")


def figure(stem, caption, **labels):
    """Outputs of a rule that draws a figure; the report shows the PNG, which looks the same
    whatever fonts the reader has."""
    files = {ending: f"{stem}.{ending}" for ending in FIGURE_ENDINGS}
    shown = report(
        files["png"], caption=f"captions/{caption}.rst", category="Figures", labels=labels
    )
    return files | {"png": shown}


TABLE_ENDINGS = ("parquet", "csv", "md", "html")


def table(stem, name):
    """Outputs of a rule that writes a table; the report shows its page."""
    files = {ending: f"{stem}.{ending}" for ending in TABLE_ENDINGS}
    return files | {"html": table_page(files["html"], name)}


def table_page(path, name):
    return report(path, caption="captions/table.rst", category="Tables", labels={"table": name})


# ---- what methods need, and which names a rule serves -------------------------------------------


def one_of(names):
    """Wildcard constraint: one of these names."""
    return "|".join(names).replace(".", r"\.") or "(?!)"


def of_method(section, *methods):
    """Wildcard constraint: the names in a config section with one of these methods."""
    return one_of([name for name, block in CONFIG[section].items() if block["method"] in methods])


def needs(section, name):
    """What the method of a config block works on, e.g. ("clusters",)."""
    return configuration.needs(section, CONFIG[section][name])


def detector_needs(name):
    """What a detector compares images with: positives, clusters or the training images."""
    needed = needs("detectors", name)
    return next(kind for kind in ("positives", "clusters", "train") if kind in needed)


# ---- encoders -----------------------------------------------------------------------------------


def encoder_module(wildcards):
    """The module of the wildcards' encoder, for the digest of a job's code."""
    return [f"encoders/{CONFIG['encoders'][wildcards.encoder]['method']}"]


def encoder_config(wildcards):
    """The wildcards' encoder without its prompts, which only texts have."""
    block = without_threads(CONFIG["encoders"][wildcards.encoder])
    return {key: value for key, value in block.items() if key != "prompts"}


def encoder_threads(wildcards):
    return CONFIG["encoders"][wildcards.encoder]["threads"]


def encoder_weights(wildcards):
    """The encoder's weights on disk; none for a pretrained tag."""
    return in_place(weights_files(CONFIG["encoders"][wildcards.encoder], source))


# ---- embeddings ---------------------------------------------------------------------------------


def source_of(image_set):
    """The image set that the images of this one are from."""
    return configuration.source_set(image_set, CONFIG)


def parts_of(encoder, image_set):
    """Names of the files that an image set's embeddings are stored in, one of each job."""
    precomputed = CONFIG["encoders"][encoder]["method"] == "precomputed"
    block = CONFIG["image_sets"][configuration.embedded_set(image_set, CONFIG)]
    count = 1 if precomputed or "derive" in block else number_of_jobs(block)
    return [f"{part:05d}" for part in range(count)]


def number_of_jobs(block):
    """How many jobs embed an image set, each some of its shards. block: of the config."""
    return min(block["shards"], block["jobs"])


def numbers_of_parts(encoder, image_sets):
    """Image set -> the number of its parts, in the order of `embeddings_of`."""
    return {name: len(parts_of(encoder, name)) for name in image_sets}


def embeddings_of(encoder, image_sets):
    """All parts of the embeddings of image sets by one encoder, in order."""
    folder = f"results/embeddings/{encoder}/images"
    arrays = [
        f"{folder}/{configuration.embedded_set(name, CONFIG)}/{part}.npy"
        for name in image_sets
        for part in parts_of(encoder, name)
    ]
    return {
        "embeddings": arrays,
        "index": [file for name in image_sets for file in indexes_of([encoder], name)],
    }


def indexes_of(encoders, image_set):
    """Indexes of an image set by all encoders: its image ids and labels."""
    return [
        f"results/embeddings/{encoder}/images/{image_set}/{part}.parquet"
        for encoder in encoders
        for part in parts_of(encoder, image_set)
    ]


def image_embeddings(wildcards):
    """All parts of the embeddings of the wildcards' image set."""
    return embeddings_of(wildcards.encoder, [wildcards.image_set])


def texts_of(encoder, corpora):
    """Embeddings of these corpora, in order."""
    stems = [f"results/embeddings/{encoder}/texts/{corpus}" for corpus in corpora]
    return {
        "texts": [f"{stem}.npy" for stem in stems],
        "concepts": [f"{stem}.parquet" for stem in stems],
    }


def precomputed_files(files, kind):
    """The user's own embeddings in one block of the config: lists of .npy files and of indexes.

    kind: what clip-retrieval calls them, img_emb or text_emb.
    """
    from workflow_scripts.lib.encoders.clip_retrieval import clip_retrieval_files

    if "clip_retrieval" not in files:
        return in_place([source(files["embeddings"])]), in_place([source(files["index"])])
    try:
        return tuple(map(in_place, clip_retrieval_files(source(files["clip_retrieval"]), kind)))
    except InputError as error:
        raise WorkflowError(str(error)) from None


# ---- trees and names of labels --------------------------------------------------------------------


def tree_files(trees):
    """The files of concept trees, given as the config does: folders, tables, or None."""
    files = []
    for tree in dict.fromkeys(trees):
        folder = source(tree) if tree else None
        if folder and os.path.isdir(folder):
            files += [
                f"{folder}/{kind}.{pos}" for kind in ("data", "index") for pos in ("noun", "adj")
            ]
        elif folder:
            files.append(folder)
    return in_place(files)


def label_tables(*image_sets):
    """The tables that name these sets' labels, as input files, for the sets that have one."""
    paths = [source(block["path"]) for block in label_name_blocks(image_sets) if block]
    return in_place(f"{path}/data.noun" if os.path.isdir(path) else path for path in paths)


def label_columns(*image_sets):
    """How these sets' labels are named: a table's columns, or None without a table."""
    return [
        block and {key: value for key, value in block.items() if key != "path"}
        for block in label_name_blocks(image_sets)
    ]


def group_blocks(image_sets):
    """Image set -> the block that says which of its images belong together, or None."""
    return {name: configuration.groups_of_images(name, CONFIG) for name in image_sets}


def group_tables(image_sets):
    """The tables that group the images of these sets, as input files, for the sets that have one."""
    blocks = group_blocks(image_sets).values()
    return in_place(source(block["path"]) for block in blocks if block and "path" in block)


def label_name_blocks(image_sets):
    return [configuration.label_names(image_set, CONFIG) for image_set in image_sets]
