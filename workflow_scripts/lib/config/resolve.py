"""The configuration: defaults filled in and mistakes named, from one JSON schema.

The schema (config/schemas/config.schema.yaml) is ordinary JSON Schema with four conventions:
a block that comes in several kinds is a `oneOf` whose branches differ in the constant of their
`method`; `x-names: section` marks a string that must be a name defined in that section;
`x-short: key` lets a plain string stand for a block with this key; and `x-needs` lists what a
method works on (clusters, centres, labels, negatives, ...).
"""

import difflib
import itertools
import math

from jsonschema import Draft202012Validator

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.texts.prompts import check_prompts

# What can hold the images of a set -> where its labels can come from, the default first.
LABELS = {
    "folder": ("subfolder", "none"),
    "list": ("column", "subfolder", "none"),
    "tar": ("subfolder", "none", "cls", "shard"),
    "parquet": ("column", "subfolder", "none"),
}
# How a weights file's name ends, if it has no slash to tell it from a tag.
WEIGHTS_ENDINGS = (".safetensors", ".pt", ".pth", ".bin")
# What encoders embed -> its section of the config, and the keys that say where it is.
SOURCES = {"images": ("image_sets", tuple(LABELS)), "texts": ("corpora", ("files", "conjugate"))}
# A block of the user's with one of these keys says what it is.
IDENTITY = ("method", "derive", *(key for _, keys in SOURCES.values() for key in keys))


def with_own_blocks(config, own):
    """The config where blocks of the user's replace those of their name that come with the project.

    Snakemake merges them key by key: a user's `temi: {method: temi, k: 200}` would have all the
    demo's other values. A block that does not say what it is (IDENTITY) only changes some keys.
    config: the merged config. own: what the user gave of it.
    """
    replaced = dict(config)
    for section, blocks in own.items():
        if not isinstance(blocks, dict) or not isinstance(config[section], dict):
            continue
        stated = {
            name: block
            for name, block in blocks.items()
            if isinstance(block, dict) and any(key in block for key in IDENTITY)
        }
        replaced[section] = config[section] | stated
    return replaced


def resolve_config(config, schema):
    """The config with every default filled in, keys in the schema's order.

    config: the nested dict that Snakemake read. schema: the JSON schema as a dict.
    Raises InputError that names the key and, for a typo, the nearest valid name.
    """
    resolved = _resolve(config, schema, schema, "")
    resolved = _with_data(resolved, resolved["data"])
    _add_ablated_studies(resolved, schema)
    _check_names(resolved, schema, schema, resolved, "")
    _check_image_sets(resolved)
    _check_derived(resolved)
    _check_encoders(resolved)
    _check_prompts(resolved)
    _check_temperatures(resolved)
    _check_studies(resolved)
    _check_needs(resolved, schema)
    _check_benchmarks(resolved)
    return resolved


def _with_data(value, folder):
    """The config with `{data}` at the start of a text replaced by the folder."""
    if isinstance(value, dict):
        return {key: _with_data(item, folder) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_data(item, folder) for item in value]
    if isinstance(value, str) and value.startswith("{data}"):
        return folder + value.removeprefix("{data}")
    return value


def _add_ablated_studies(config, schema):
    """A study per value of every ablation, named by `ablated_studies`."""
    study_schema = schema["properties"]["studies"]["additionalProperties"]
    for name, ablation in config["ablations"].items():
        if ablation["study"] not in config["studies"]:
            hint = nearest(ablation["study"], config["studies"])
            raise InputError(
                f"config: ablations.{name}.study: {ablation['study']!r} is not defined in "
                f"studies; {hint}"
            )
        for study, value in ablated_studies(name, ablation).items():
            block = config["studies"][ablation["study"]] | {ablation["vary"]: value}
            config["studies"][study] = _resolve(block, study_schema, schema, f"ablations.{name}")


def ablated_studies(name, ablation):
    """Names of the studies of an ablation -> the value of the key that it varies."""
    return {f"{name}.{label}": value for label, value in ablation["values"].items()}


def needs(block, section, schema):
    """What a block's method works on, a list of words like "clusters" or "negatives"."""
    branch = _branch(block, schema["properties"][section]["additionalProperties"], schema, section)
    return branch.get("x-needs", [])


def nearest(name, valid):
    """' Did you mean X?' or the list of valid names, to end an error message."""
    valid = [str(v) for v in valid]
    close = difflib.get_close_matches(str(name), valid, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"valid: {', '.join(valid)}" if valid else "none is defined"


def _follow(schema, root):
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[-1]]
    return schema


def _branch(value, schema, root, path):
    """The branch of a `oneOf` that the block's `method` selects."""
    branches = [_follow(branch, root) for branch in schema["oneOf"]]
    methods = {branch["properties"]["method"]["const"]: branch for branch in branches}
    if not isinstance(value, dict) or "method" not in value:
        raise InputError(f"config: {path} needs the key 'method' ({nearest('', methods)})")
    if value["method"] not in methods:
        hint = nearest(value["method"], methods)
        raise InputError(f"config: {path}.method: unknown method {value['method']!r}; {hint}")
    return methods[value["method"]]


def _resolve(value, schema, root, path):
    schema = _follow(schema, root)
    if "oneOf" in schema:
        schema = _branch(value, schema, root, path)
    if "x-short" in schema:
        value = {schema["x-short"]: value} if isinstance(value, str) else value
        schema = schema | {"type": "object"}
    if schema.get("type") == "object":
        return _resolve_object({} if value is None else value, schema, root, path)
    if schema.get("type") == "array" and "items" in schema and isinstance(value, list):
        value = [
            _resolve(item, schema["items"], root, f"{path}[{i}]") for i, item in enumerate(value)
        ]
        schema = {key: sub for key, sub in schema.items() if key != "items"}  # checked one by one
    return _checked(_as_number(value, schema), schema, path)


def _resolve_object(value, schema, root, path):
    if not isinstance(value, dict):
        raise InputError(f"config: {path or 'the top level'} must be a mapping, not {value!r}")
    if len(value) < schema.get("minProperties", 0):
        raise InputError(f"config: {path} must not be empty")
    properties = schema.get("properties", {})
    extra = schema.get("additionalProperties", False)
    resolved = {}
    for key, sub in properties.items():
        where = f"{path}.{key}".lstrip(".")
        sub = _follow(sub, root) | {k: v for k, v in sub.items() if k != "$ref"}
        if key in value:
            resolved[key] = _resolve(value[key], sub, root, where)
        elif "default" in sub:
            resolved[key] = _resolve(sub["default"], sub, root, where)
        elif key in schema.get("required", []):
            raise InputError(f"config: {path or 'the top level'} needs the key {key!r}")
    for key in value:
        if key in properties:
            continue
        where = f"{path}.{key}".lstrip(".")
        if extra is False:
            raise InputError(f"config: unknown key {where!r}; {nearest(key, properties)}")
        _checked(key, _follow(schema.get("propertyNames", {}), root), f"the name {where!r}")
        resolved[key] = _resolve(value[key], extra, root, where)
    return resolved


def _as_number(value, schema):
    """Numbers that YAML or the command line hand over as text (1e-3, k=9), as numbers."""
    kinds = schema.get("type")
    first = kinds[0] if isinstance(kinds, list) else kinds
    kind = {"integer": int, "number": float}.get(first)
    if kind and isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            number = kind(value)
        except (ValueError, OverflowError):
            return value
        return number if isinstance(value, str) or number == value else value
    return value


def _checked(value, schema, path):
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"config: {path}: {value} is no finite number")
    error = next(Draft202012Validator(schema).iter_errors(value), None)
    if error is None:
        return value
    if "enum" in schema:
        raise InputError(
            f"config: {path}: {value!r} is not valid; {nearest(value, schema['enum'])}"
        )
    raise InputError(f"config: {path}: {error.message}")


def _check_names(value, schema, root, config, path):
    """Every string marked `x-names` must be defined in the section it names."""
    schema = _follow(schema, root)
    if "oneOf" in schema:
        schema = _branch(value, schema, root, path)
    if "x-names" in schema:
        section = schema["x-names"]
        if value is not None and value not in config[section]:
            hint = nearest(value, config[section])
            raise InputError(f"config: {path}: {value!r} is not defined in {section}; {hint}")
    elif isinstance(value, dict):
        for key, item in value.items():
            sub = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
            if isinstance(sub, dict):
                _check_names(item, sub, root, config, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            _check_names(item, schema.get("items", {}), root, config, f"{path}[{i}]")


def images_of(block):
    """What holds the images of an image set: its kind, a key of LABELS, and a dict with `path`.

    block: the set's config block. (None, {}) if nothing does: the set is derived, or only named
    for precomputed embeddings.
    """
    for kind in LABELS:
        if kind in block:
            return kind, {"path": block[kind]} if isinstance(block[kind], str) else block[kind]
    return None, {}


def weights_file(encoder):
    """The weights file on disk that an encoder's config block names, or None.

    `pretrained` is one if it has a slash or the ending of a weights file, else it is a tag.
    """
    pretrained = encoder.get("pretrained", "")
    return pretrained if "/" in pretrained or pretrained.endswith(WEIGHTS_ENDINGS) else None


def study_image_sets(study):
    """Names of all image sets of a study: training, test, near, far and shifted."""
    return [study["train"], study["test"], *study["near"], *study["far"], *study["shift"]]


def embedded_set(image_set, config):
    """The image set whose embeddings serve: one with coarser labels shares its source's."""
    while config["image_sets"][image_set].get("derive", {}).get("method") == "granularity":
        image_set = config["image_sets"][image_set]["derive"]["from"]
    return image_set


def source_set(image_set, config):
    """The image set that holds the images of a derived one; other sets are their own."""
    while "derive" in config["image_sets"].get(image_set, {}):
        image_set = config["image_sets"][image_set]["derive"]["from"]
    return image_set


def label_names(image_set, config):
    """The block of the table that names an image set's labels, or None: its source's.

    Its key `coarse` says whether the labels may be nodes of a tree, which it need not name.
    """
    coarse = False
    while "derive" in (block := config["image_sets"][image_set]):
        coarse = coarse or block["derive"]["method"] == "granularity"
        image_set = block["derive"]["from"]
    return block["label_names"] | {"coarse": coarse} if "label_names" in block else None


def study_sources(study, config):
    """The image sets that a study's images come from, each once."""
    return list(dict.fromkeys(source_set(name, config) for name in study_image_sets(study)))


def study_corpora(study, config):
    """Names of a study's corpus and of the further ones that its negatives draw from."""
    more = [name for block in study["negatives"] for name in config["negatives"][block]["corpora"]]
    return list(dict.fromkeys([study["corpus"], *more]))


def prompts_of(encoder, corpus, config):
    """The prompts of a corpus for an encoder: its own for the parts of speech that these name."""
    return config["corpora"][corpus]["prompts"] | config["encoders"][encoder].get("prompts", {})


def judge_of(study, config):
    """The encoder that looks for ID images in a study's OOD sets; None if none does."""
    if not study["contamination"]:
        return None
    return config["contaminations"][study["contamination"]].get("encoder") or study["encoders"][0]


def encoders_of(study, config):
    """Encoder -> (image sets, corpora) that a study has it embed.

    Its encoders, and the judge of its contamination if that is another one. The image sets are
    those that hold the images.
    """
    sources, corpora = study_sources(study, config), study_corpora(study, config)
    used = dict.fromkeys(study["encoders"], (sources, corpora))
    judge = judge_of(study, config)
    if judge and judge not in used:
        judged = [name for name in study_image_sets(study) if name not in study["shift"]]
        sources = list(dict.fromkeys(source_set(name, config) for name in judged))
        used[judge] = (sources, [study["corpus"]])
    return used


def _check_needs(config, schema):
    """A study must name clusterings for minings that vote by cluster, and so on."""
    source = {"clusters": "clusterings", "negatives": "negatives"}
    for name, study in config["studies"].items():
        for section in ("minings", "detectors"):
            for block in study[section]:
                for need in needs(config[section][block], section, schema):
                    if need in source and not study[source[need]]:
                        raise InputError(
                            f"config: studies.{name}: {section}.{block} needs {need}; "
                            f"add studies.{name}.{source[need]}"
                        )


def _check_image_sets(config):
    """Images come from one place, and labels from where they can be there; fills in `labels`."""
    for name, block in config["image_sets"].items():
        given = [key for key in ("derive", *LABELS) if key in block]
        if len(given) > 1:
            raise InputError(f"config: image_sets.{name}: give one of {', '.join(given)}, not both")
        if "derive" in block and "label_names" in block:
            raise InputError(
                f"config: image_sets.{name}.label_names: a derived set has those of its source, "
                f"{block['derive']['from']!r}; give them there"
            )
        valid = LABELS[images_of(block)[0] or "folder"]
        labels = block.get("labels", valid[0])
        if labels not in valid:
            raise InputError(
                f"config: image_sets.{name}.labels: {labels!r} does not go with "
                f"{given[0] if given else 'no images'}; "
                f"valid: {', '.join(valid)}"
            )
        rest = {key: value for key, value in block.items() if key not in ("labels", "shards")}
        config["image_sets"][name] = rest | {"labels": labels, "shards": block["shards"]}


def _check_derived(config):
    """A derived image set has one source, in the end one that is not derived."""
    for name in config["image_sets"]:
        seen, at = [], name
        while "derive" in config["image_sets"][at]:
            seen.append(at)
            at = config["image_sets"][at]["derive"]["from"]
            if at in seen:
                raise InputError(f"config: image_sets.{name}.derive.from leads back to {at!r}")


def _check_studies(config):
    """Sets that must not meet, names that must be the study's own, filters that need a tree."""
    for name, study in config["studies"].items():
        sets = study_image_sets(study)
        twice = sorted({s for s in sets[1:] if sets[1:].count(s) > 1})
        if twice:
            raise InputError(f"config: studies.{name}: {twice[0]!r} is named twice; once is enough")
        trained, *tested = (source_set(image_set, config) for image_set in sets)
        if trained in tested[1:] or (trained == tested[0] and sets[2:]):
            raise InputError(
                f"config: studies.{name}: {study['train']!r} is mined and must not be tested on; "
                "use other images"
            )
        if study["reference"] not in (None, *study["minings"]):
            hint = nearest(study["reference"], study["minings"])
            raise InputError(
                f"config: studies.{name}.reference: {study['reference']!r} is none of its "
                f"minings; {hint}"
            )
    for name, block in config["negatives"].items():
        if not block["tree"] and not (
            block["related"] and block["proper"] and not block["drop_files"]
        ):
            raise InputError(
                f"config: negatives.{name}: related, proper and drop_files need the key 'tree'"
            )


def _check_benchmarks(config):
    """Trees where they are needed, and one way to cut them."""
    for name, block in config["image_sets"].items():
        cut = block.get("derive", {})
        if cut.get("method") == "granularity" and ("depth" in cut) == ("leaves" in cut):
            raise InputError(f"config: image_sets.{name}.derive: give either depth or leaves")
    for name, block in config["benchmarks"].items():
        if block["axis"] == "multiple_classes" and not block["tree"]:
            raise InputError(f"config: benchmarks.{name}: multiple_classes needs the key 'tree'")


def _check_encoders(config):
    """Each encoder can embed the image sets and the corpora that it is asked to."""
    for name, encoder in config["encoders"].items():
        _check_files(f"config: encoders.{name}", encoder)
    for name, study in config["studies"].items():
        for encoder, (image_sets, corpora) in encoders_of(study, config).items():
            judge = encoder not in study["encoders"]
            rule = f"contaminations.{study['contamination']}: " if judge else ""
            where = f"config: studies.{name}: {rule}encoder {encoder!r}"
            _check_embeds(where, encoder, "images", image_sets, config)
            _check_embeds(where, encoder, "texts", corpora, config)
    for name, benchmark in config["benchmarks"].items():
        for encoder in benchmark["encoders"]:
            where = f"config: benchmarks.{name}: encoder {encoder!r}"
            sources = _benchmark_sources(benchmark, config)
            _check_embeds(where, encoder, "images", sources, config)


def _check_files(where, encoder):
    """The files that an encoder's block names are given as they must be."""
    if encoder["method"] == "timm" and "pretrained" in encoder and not weights_file(encoder):
        raise InputError(
            f"{where}.pretrained: {encoder['pretrained']!r} is no weights file "
            f"({', '.join(WEIGHTS_ENDINGS)}); timm's tags belong to 'model', as in "
            "vit_base_patch14_dinov2.lvd142m"
        )
    if encoder["method"] == "precomputed":
        for key, files in _precomputed(encoder):
            given = sorted(files.keys() & {"embeddings", "index", "clip_retrieval"})
            if given not in (["embeddings", "index"], ["clip_retrieval"]):
                raise InputError(f"{where}.{key}: give embeddings and index, or clip_retrieval")


def _check_embeds(where, encoder_name, kind, names, config):
    """The encoder has, or can make, embeddings of these image sets or corpora.

    kind: "images" or "texts". where: begins the message if not.
    """
    encoder, (section, sources) = config["encoders"][encoder_name], SOURCES[kind]
    if kind == "texts" and encoder["method"] == "timm":
        raise InputError(
            f"{where} (timm) has no text model; use it in benchmarks of clusterings, or choose an "
            "open_clip encoder"
        )
    for name in names:
        if encoder["method"] == "precomputed":
            found, place = name in encoder[kind], f"encoders.{encoder_name}.{kind}.{name}"
        else:
            found = any(source in config[section][name] for source in sources)
            place = f"{section}.{name}.{sources[0]}"
        if not found:
            raise InputError(f"{where} has no {kind} for {name!r}: add {place}")


def _check_prompts(config):
    """Templates that hold a name, and no ablation of prompts that an encoder's own would undo."""
    for section in ("corpora", "encoders"):
        for name, block in config[section].items():
            check_prompts(block.get("prompts", {}), f"config: {section}.{name}.prompts")
    for name in config["ablate"]:
        ablation = config["ablations"][name]
        encoders = config["studies"][ablation["study"]]["encoders"]
        own = [encoder for encoder in encoders if "prompts" in config["encoders"][encoder]]
        if ablation["vary"] != "corpus" or not own:
            continue
        for pair in itertools.combinations(ablation["values"].values(), 2):
            one, other = (config["corpora"][corpus] for corpus in pair)
            if {key for key in one | other if one.get(key) != other.get(key)} == {"prompts"}:
                raise InputError(
                    f"config: ablations.{name}: {pair[0]!r} and {pair[1]!r} differ in prompts "
                    f"alone, but encoders.{own[0]}.prompts come before them; use an encoder "
                    "without prompts of its own, or take the ablation out of 'ablate'"
                )


def _check_temperatures(config):
    """Precomputed embeddings do not tell the scale that `temperature: encoder` asks for."""
    for name, study in config["studies"].items():
        encoders = [
            e for e in study["encoders"] if config["encoders"][e]["method"] == "precomputed"
        ]
        for detector in study["detectors"]:
            if encoders and config["detectors"][detector].get("temperature") == "encoder":
                raise InputError(
                    f"config: detectors.{detector}.temperature: studies.{name} uses encoder "
                    f"{encoders[0]!r}, which is precomputed and does not tell its logit scale; "
                    "give a number, e.g. 0.01"
                )


def studies_in_use(config):
    """Names of the studies in `run`, and of those that the ablations in `ablate` make."""
    made = [ablated_studies(name, config["ablations"][name]) for name in config["ablate"]]
    return [*config["run"], *(study for studies in made for study in studies)]


def image_sets_in_use(config):
    """The image sets that the studies in use and the benchmarks in `compare` embed."""
    return embedded_sets(config, studies_in_use(config), config["compare"])


def embedded_sets(config, studies=(), benchmarks=()):
    """The image sets whose images these studies and benchmarks embed, each once; not those of
    precomputed encoders."""
    uses = [
        (encoder, sets)
        for study in studies
        for encoder, (sets, _) in encoders_of(config["studies"][study], config).items()
    ]
    for block in (config["benchmarks"][name] for name in benchmarks):
        uses += [(encoder, _benchmark_sources(block, config)) for encoder in block["encoders"]]
    names = [
        name
        for encoder, sets in uses
        if config["encoders"][encoder]["method"] != "precomputed"
        for name in sets
    ]
    return list(dict.fromkeys(names))


def files_in_use(config):
    """Path -> key of the config, of what the studies in use and the benchmarks in `compare` read
    beside images: word lists, trees, weights, embeddings."""
    named = list(paths_in_run(config, studies_in_use(config)))
    named += [pair for name in config["compare"] for pair in _benchmark_paths(name, config)]
    counted = [images_of(config["image_sets"][name])[1] for name in image_sets_in_use(config)]
    counted = {path for options in counted for path in (options.get("path"), options.get("root"))}
    found = {}
    for key, path in named:
        if path not in counted:
            found.setdefault(path, key)
    return found


def _benchmark_sources(benchmark, config):
    """The image sets that a benchmark's images come from, each once."""
    levels = benchmark["levels"].values()
    return list(dict.fromkeys(source_set(image_set, config) for image_set in levels))


def _benchmark_paths(name, config):
    benchmark = config["benchmarks"][name]
    if benchmark["tree"]:
        yield f"benchmarks.{name}.tree", benchmark["tree"]
    for name in benchmark["encoders"]:
        encoder = config["encoders"][name]
        if encoder["method"] == "precomputed":
            sources = _benchmark_sources(benchmark, config)
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


def paths_in_run(config, studies=None):
    """Yield (key, path) of every file and folder that the studies in `run`, or these, read."""
    for study_name in config["run"] if studies is None else studies:
        study = config["studies"][study_name]
        for name in study["negatives"]:
            if config["negatives"][name]["tree"]:
                yield f"negatives.{name}.tree", config["negatives"][name]["tree"]
        if study["tree"]:
            yield f"studies.{study_name}.tree", study["tree"]
        for name in study_sources(study, config):
            if "label_names" in config["image_sets"][name]:
                key = f"image_sets.{name}.label_names"
                yield key, config["image_sets"][name]["label_names"]["path"]
        for name, (image_sets, corpora) in encoders_of(study, config).items():
            encoder = config["encoders"][name]
            if encoder["method"] == "precomputed":
                yield from _precomputed_paths(f"encoders.{name}", encoder, image_sets, corpora)
                continue
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


def _precomputed(encoder):
    """Yield (key, block) of every set of files of a precomputed encoder."""
    for image_set, files in encoder["images"].items():
        yield f"images.{image_set}", files
    for corpus, lists in encoder["texts"].items():
        yield from ((f"texts.{corpus}[{i}]", files) for i, files in enumerate(lists))


def _precomputed_paths(key, encoder, image_sets, corpora):
    used = {
        "images": {name: encoder["images"][name] for name in image_sets},
        "texts": {name: encoder["texts"][name] for name in corpora},
    }
    for part, files in _precomputed(used):
        for kind in ("embeddings", "index", "clip_retrieval"):
            if kind in files:
                yield f"{key}.{part}.{kind}", files[kind]
