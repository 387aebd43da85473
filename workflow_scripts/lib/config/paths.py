"""The files and folders that a resolved config reads, each with the key that names it."""

from workflow_scripts.lib.config.queries import (
    benchmark_sources,
    clustering_encoders,
    encoders_of,
    image_sets_in_use,
    images_of,
    studies_in_use,
    study_sources,
)
from workflow_scripts.lib.encoders.files import weights_file


def key_of(path, config):
    """The first key of a resolved config that has this path, like "corpora.words.files[0].path"."""
    return next(_keys_of(path, config, ""), "")


def _keys_of(path, value, key):
    if value == path:
        yield key.lstrip(".")
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _keys_of(path, item, f"{key}.{name}")
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _keys_of(path, item, f"{key}[{i}]")


def files_in_use(config):
    """Path -> key of the config, of what the studies in use and the benchmarks in `compare` read
    beside images: word lists, trees, weights, embeddings, published values."""
    named = list(paths_in_run(config, studies_in_use(config)))
    named += [pair for name in config["compare"] for pair in _benchmark_paths(name, config)]
    for name in config["reproduce"]:
        published = config["reproductions"][name]["published"]
        named.append((f"reproductions.{name}.published", published))
    counted = [images_of(config["image_sets"][name])[1] for name in image_sets_in_use(config)]
    counted = {path for options in counted for path in (options.get("path"), options.get("root"))}
    found = {}
    for key, path in named:
        if path not in counted:
            found.setdefault(path, key)
    return found


def paths_in_run(config, studies=None):
    """Yield (key, path) of every file and folder that the studies in `run`, or these, read."""
    for name in config["run"] if studies is None else studies:
        study = config["studies"][name]
        yield from _tree_paths(name, study, config)
        for section in ("minings", "negatives"):
            for block in study[section]:
                if config[section][block]["method"] == "given":
                    yield f"{section}.{block}.file", config[section][block]["file"]["path"]
        yield from _centroid_paths(study, config)
        for image_set in study_sources(study, config):
            block = config["image_sets"][image_set]
            for key in ("label_names", "groups"):
                if "path" in block.get(key, {}):
                    yield f"image_sets.{image_set}.{key}", block[key]["path"]
        for encoder, (image_sets, corpora) in encoders_of(study, config).items():
            yield from _encoder_paths(encoder, image_sets, corpora, config)


def _centroid_paths(block, config):
    """The first centroids that the clusterings of a study or benchmark begin with."""
    for name in block["clusterings"]:
        init = config["clusterings"][name].get("init", "")
        if init.endswith(".npy"):
            yield f"clusterings.{name}.init", init


def _tree_paths(name, study, config):
    for block in study["negatives"]:
        if config["negatives"][block]["tree"]:
            yield f"negatives.{block}.tree", config["negatives"][block]["tree"]
    if study["tree"]:
        yield f"studies.{name}.tree", study["tree"]


def _encoder_paths(name, image_sets, corpora, config):
    """What an encoder reads to embed these image sets and corpora."""
    encoder = config["encoders"][name]
    if encoder["method"] == "precomputed":
        yield from _precomputed_paths(f"encoders.{name}", encoder, image_sets, corpora)
        return
    yield from _weights_paths(name, encoder)
    for image_set in image_sets:
        kind, options = images_of(config["image_sets"][image_set])
        key = f"image_sets.{image_set}.{kind}"
        yield key, options["path"]
        if "root" in options:
            yield f"{key}.root", options["root"]
    sources = [config["corpora"][c].get("conjugate", {}).get("corpus", c) for c in corpora]
    for corpus in dict.fromkeys(sources):
        for key in ("files", "exclude"):
            for i, file in enumerate(config["corpora"][corpus].get(key, [])):
                yield f"corpora.{corpus}.{key}[{i}].path", file["path"]


def _benchmark_paths(name, config):
    benchmark = config["benchmarks"][name]
    if benchmark["tree"]:
        yield f"benchmarks.{name}.tree", benchmark["tree"]
    yield from _centroid_paths(benchmark, config)
    for name in clustering_encoders(benchmark, config):
        encoder = config["encoders"][name]
        if encoder["method"] == "precomputed":
            sources = benchmark_sources(benchmark, config)
            yield from _precomputed_paths(f"encoders.{name}", encoder, sources, [])
        else:
            yield from _weights_paths(name, encoder)
    for image_set in benchmark["levels"].values():
        while cut := config["image_sets"][image_set].get("derive"):
            if "tree" in cut:
                yield f"image_sets.{image_set}.derive.tree", cut["tree"]
            image_set = cut["from"]


def _weights_paths(name, encoder):
    if "checkpoint" in encoder:
        yield f"encoders.{name}.checkpoint", encoder["checkpoint"]
    if weights_file(encoder):
        yield f"encoders.{name}.pretrained", encoder["pretrained"]


def _precomputed_paths(key, encoder, image_sets, corpora):
    stored = [(f"images.{name}", encoder["images"][name]) for name in image_sets]
    for name in corpora:
        lists = encoder["texts"][name]
        stored += [(f"texts.{name}[{i}]", files) for i, files in enumerate(lists)]
    for part, files in stored:
        for kind in ("embeddings", "index", "clip_retrieval"):
            if kind in files:
                yield f"{key}.{part}.{kind}", files[kind]
