"""Image sets -> manifests -> image embeddings.

In: folders, lists, archives or tables of images, or the user's own embeddings. Out:
results/images/{image_set}/ (manifest, quarantine, locators of images in archives),
results/embeddings/{encoder}/images/{image_set}/{part}.npy with its index.
Derived sets are made of the embeddings of others. `snakemake check_image_sets` counts the images.
"""

from workflow_scripts.lib.config.paths import files_in_use
from workflow_scripts.lib.config.scored import START
from workflow_scripts.lib.images.kinds import ARCHIVES
from workflow_scripts.lib.images.state import fingerprint, recorded_state, set_state

RENDERED = "results/demo/images/"


def container_of(image_set):
    """(kind, options) of an image set's container: folder, list, archive; options has its `path`."""
    return configuration.images_of(CONFIG["image_sets"][source_of(image_set)])


def is_rendered(image_set):
    """Whether the demo renders an image set's images."""
    return container_of(image_set)[1]["path"].startswith(RENDERED)


def image_folder(image_set):
    """The folder, archive or table with an image set's images; of a list, the images' root."""
    kind, options = container_of(image_set)
    if "root" in options:
        return source(options["root"])
    path = source(options["path"])
    return os.path.dirname(path) or "." if kind == "list" else path


def root_of(image_set, encoder):
    """What holds a set's images; None for precomputed embeddings."""
    precomputed = CONFIG["encoders"][encoder]["method"] == "precomputed"
    return None if precomputed else image_folder(image_set)


def is_archived(image_set, encoder):
    """Whether what holds a set's images is no folder of files."""
    return bool(root_of(image_set, encoder)) and container_of(image_set)[0] in ARCHIVES


def root_of_files(image_set):
    """The folder that the files of an image set, or the archives that hold them, are relative to."""
    kind, _ = container_of(image_set)
    folder = image_folder(image_set)
    in_one_file = kind in ARCHIVES and os.path.isfile(folder)
    return (os.path.dirname(folder) or ".") if in_one_file else folder


# ---- the state of an image set: names that change with its images ---------------------------------


def listing_options(image_set):
    """What decides how an image set is listed, beside its images."""
    kind, options = container_of(image_set)
    block = CONFIG["image_sets"][image_set]
    return {
        "kind": kind,
        "labels": block["labels"],
        "options": {key: options[key] for key in options if key not in ("path", "root")},
        "shards": block["shards"],
    }


@functools.cache
def state_of(image_set):
    """Names of the state of an image set and of each of its shards (lib/images/state.py).

    Decided once per invocation, before the DAG is built: images whose times changed are compared by
    content here. A rendered set is what its rule and config make it.
    """
    options = listing_options(image_set)
    if is_rendered(image_set):
        name = RECIPES.of_file(container_of(image_set)[1]["path"])
        return {"listing": name, "shards": [name] * options["shards"]}
    record = f"results/images/{image_set}/hashes.parquet"
    if not IS_MAIN:
        return recorded_state(record, options["shards"])
    stored, kind = source(container_of(image_set)[1]["path"]), options["kind"]
    root = image_folder(image_set) if kind == "list" else None

    def listed(record):
        from workflow_scripts.lib.images.listing import scan

        return scan(stored, options, record, root, os.cpu_count())

    now = fingerprint(stored, options, code_digest("list_images", f"images/{kind}"), root)
    return set_state(record, now, options["shards"], listed)


def listing_modules(wildcards):
    """The module that lists the wildcards' images, for the digest of a job's code."""
    return [f"images/{container_of(wildcards.image_set)[0]}"]


def reading_modules(wildcards):
    """The module that reads the wildcards' images, if they are no files of their own."""
    kind, _ = container_of(wildcards.image_set)
    return [f"images/{kind}"] if kind in ARCHIVES else []


def listing_config(wildcards):
    """What to list, the names of its state (None for those that the workflow renders), and which
    share of the images may be lost. The share is no part of the state: only the listing runs again.
    """
    rendered = is_rendered(wildcards.image_set)
    state = None if rendered else state_of(wildcards.image_set)
    limit = CONFIG["image_sets"][wildcards.image_set]["maximum_quarantine"]
    return listing_options(wildcards.image_set) | {"state": state, "maximum_quarantine": limit}


def images_to_list(wildcards):
    """What an image set is listed from. The params have the state of the user's own sets."""
    kind, options = container_of(wildcards.image_set)
    if is_rendered(wildcards.image_set):
        return {"source": options["path"]}
    places = {"source": source(options["path"])}
    if kind == "list":
        places["root"] = image_folder(wildcards.image_set)
    return {name: in_config(ancient(local(place))) for name, place in places.items()}


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
        cfg=listing_config,
        code=code("list_images", listing_modules),
        above=above("list_images"),
    script:
        "../workflow_scripts/list_images.py"


# ---- the check of what is there -------------------------------------------------------------------


def sets_to_check(wildcards):
    """The image sets to count and other files to look for, without those that rules make."""
    names = configuration.image_sets_in_use(CONFIG)
    if CONFIG["check"] == "all":
        names = dict.fromkeys(source_of(name) for name in CONFIG["image_sets"])
    stored = [name for name in names if container_of(name)[0]]
    files = files_in_use(CONFIG)
    return {
        "image_sets": {name: set_to_check(name) for name in stored if not is_rendered(name)},
        "files": {k: located(path) for path, k in files.items() if not path.startswith("results/")},
    }


def set_to_check(image_set):
    """Where the images of a set are, and what is expected."""
    kind, options = container_of(image_set)
    block = CONFIG["image_sets"][image_set]
    places = {key: located(options[key]) for key in ("path", "root") if key in options}
    return {
        "kind": kind,
        "labels": block["labels"],
        "options": options | places,
        "expected": block.get("expected", {}),
    }


rule check_image_sets:
    log:
        "results/logs/check_image_sets.log",
    localrule: True
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=sets_to_check,
        code=code("check_image_sets"),
        above=above("check_image_sets"),
    script:
        "../workflow_scripts/check_image_sets.py"


# ---- embeddings -----------------------------------------------------------------------------------


def derived_by(*methods):
    """Wildcard constraint: the image sets derived from others by these methods; None: not derived."""
    sets = CONFIG["image_sets"].items()
    return one_of(
        [name for name, block in sets if block.get("derive", {}).get("method") in methods]
    )


def stored_images(image_set):
    """The container of a set's images, and where the images are in it."""
    name = source_of(image_set)
    (folder,) = in_place([image_folder(name)])
    return {
        "source": in_config(ancient(folder)),
        "locators": in_config(f"results/images/{name}/locators.parquet"),
    }


def unless_made(rule, wildcards, files):
    """Files of a listing as inputs: a new listing re-runs the jobs whose own params changed.

    To the others they are files that no rule makes. To be `ancient` alone would not do: Snakemake
    then looks at no param of what is below the listing, and forgets all else that changed.
    """
    if IS_MAIN and RECIPES.is_made(rule, wildcards) and are_there(files.values()):
        return {name: of_no_rule(found) for name, found in files.items()}
    return files


def are_there(files):
    """Whether there is a file of this path, or of all in a nested list of paths."""
    return os.path.exists(files) if isinstance(files, str) else all(map(are_there, files))


def shards_to_embed(wildcards):
    """The manifest of an image set, the container of its images, and local weights."""
    manifest = in_config(f"results/images/{wildcards.image_set}/manifest.parquet")
    files = stored_images(wildcards.image_set) | {"manifest": manifest}
    weights = {"weights": encoder_weights(wildcards)}
    return unless_made("embed_images", wildcards, files) | weights


def embedding_config(wildcards):
    """The encoder, and the numbers of the job's shards with the names of their states."""
    names = state_of(wildcards.image_set)["shards"]
    jobs = number_of_jobs(CONFIG["image_sets"][wildcards.image_set])
    first, end = (
        len(names) * part // jobs for part in (int(wildcards.part), int(wildcards.part) + 1)
    )
    return {
        "encoder": encoder_config(wildcards),
        "shards": {number: names[number] for number in range(first, end)},
    }


rule embed_images:
    input:
        unpack(shards_to_embed),
    output:
        embeddings="results/embeddings/{encoder}/images/{image_set}/{part}.npy",
        index="results/embeddings/{encoder}/images/{image_set}/{part}.parquet",
        quarantine="results/embeddings/{encoder}/images/{image_set}/{part}.quarantine.parquet",
    log:
        "results/logs/embed_images/{encoder}/{image_set}/{part}.log",
    wildcard_constraints:
        encoder=of_method("encoders", "open_clip", "timm"),
        image_set=derived_by(None),
    conda:
        "../envs/workflow.yaml"
    threads: encoder_threads
    resources:
        gpu=1,
    params:
        cfg=embedding_config,
        code=code("embed_images", lambda wc: encoder_module(wc) + reading_modules(wc)),
        above=above("embed_images"),
    script:
        "../workflow_scripts/embed_images.py"


def precomputed_images(wildcards):
    """The user's own embeddings of an image set."""
    files = CONFIG["encoders"][wildcards.encoder]["images"][wildcards.image_set]
    return dict(zip(("embeddings", "index"), precomputed_files(files, "img_emb")))


def image_columns(wildcards):
    """The columns of the user's own index."""
    files = CONFIG["encoders"][wildcards.encoder]["images"][wildcards.image_set]
    id_column = "image_path" if "clip_retrieval" in files else "image_id"
    label_column = files["label_column"]
    encoder = wildcards.encoder.removeprefix(START)
    return {"encoder": encoder, "id_column": id_column, "label_column": label_column}


rule import_images:
    input:
        unpack(precomputed_images),
    output:
        embeddings="results/embeddings/{encoder}/images/{image_set}/{part}.npy",
        index="results/embeddings/{encoder}/images/{image_set}/{part}.parquet",
        quarantine="results/embeddings/{encoder}/images/{image_set}/{part}.quarantine.parquet",
    log:
        "results/logs/import_images/{encoder}/{image_set}/{part}.log",
    wildcard_constraints:
        encoder=of_method("encoders", "precomputed"),
        image_set=derived_by(None),
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=image_columns,
        code=code("import_images"),
        above=above("import_images"),
    script:
        "../workflow_scripts/import_images.py"
