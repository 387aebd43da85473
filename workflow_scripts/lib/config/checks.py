"""Checks of a config whose blocks are each valid: do they fit together?

The checks of one block are validators of its model.
"""

import itertools
import os

from workflow_scripts.lib.config.messages import nearest
from workflow_scripts.lib.config.queries import (
    benchmark_sources,
    calibration_set,
    clustering_encoders,
    encoders_of,
    images_of,
    judge_of,
    needs,
    own_encoders,
    scored_sets,
    source_set,
    study_image_sets,
    study_sources,
)
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images.kinds import LABELS
from workflow_scripts.lib.texts.prompts import check_prompts

# What encoders embed -> its section of the config, and the keys that say where it is.
SOURCES = {"images": ("image_sets", tuple(LABELS)), "texts": ("corpora", ("files", "conjugate"))}
# Sections with blocks that are derived from others, the key that says how, and in it the source.
DERIVED = [("image_sets", "derive", "from"), ("corpora", "conjugate", "corpus")]


def check_sections(config):
    """Raise InputError for the first blocks of a resolved config that do not fit together."""
    _check_derived(config)
    _check_ensembles(config)
    _check_encoders(config)
    _check_prompts(config)
    _check_temperatures(config)
    _check_studies(config)
    _check_needs(config)
    _check_decisions(config)
    _check_reproductions(config)


def _check_derived(config):
    """A derived image set or corpus has one source, in the end one that is not derived."""
    for section, key, source in DERIVED:
        blocks = config[section]
        for name in blocks:
            seen, at = [], name
            while key in blocks[at]:
                seen.append(at)
                at = blocks[at][key][source]
                if at in seen:
                    raise InputError(
                        f"config: {section}.{name}.{key}.{source} leads back to {at!r}; name one "
                        "that is not derived from it"
                    )


def _check_ensembles(config):
    """Members are no ensembles, and name their encoders all or none."""
    for name, block in config["clusterings"].items():
        members, where = block.get("of", []), f"config: clusterings.{name}.of"
        for member in members:
            if "of" in config["clusterings"][member]:
                raise InputError(f"{where}: {member!r} is an ensemble; name its members instead")
        bare = [member for member in members if not own_encoders(member, config)]
        if bare and len(bare) < len(members):
            raise InputError(
                f"{where}: {bare[0]!r} has no encoder, but others have; give it one (a clustering "
                "of its own with the key encoder)"
            )


def _check_encoders(config):
    """Each encoder can embed the image sets and the corpora that it is asked to."""
    for name, study in config["studies"].items():
        for encoder, (image_sets, corpora) in encoders_of(study, config).items():
            where = f"config: studies.{name}: {_task_of(encoder, study, config)}{encoder!r}"
            _check_embeds(where, encoder, "images", image_sets, config)
            _check_embeds(where, encoder, "texts", corpora, config)
    for name, benchmark in config["benchmarks"].items():
        for encoder in clustering_encoders(benchmark, config):
            where = f"config: benchmarks.{name}: {_task_of(encoder, benchmark, config)}{encoder!r}"
            sources = benchmark_sources(benchmark, config)
            _check_embeds(where, encoder, "images", sources, config)


def _task_of(encoder, block, config):
    """What a study or benchmark has an encoder for, in words that its name follows."""
    if encoder in block["encoders"]:
        return "encoder "
    if block.get("contamination") and encoder == judge_of(block, config):
        return f"contaminations.{block['contamination']}: encoder "
    own = {name: own_encoders(name, config) for name in block["clusterings"]}
    clustering = next(name for name in own if encoder in own[name])
    block = config["clusterings"][clustering]
    key = next((key for key in ("spaces", "of") if key in block), "encoder")
    return f"clusterings.{clustering}.{key} "


def _check_embeds(where, encoder_name, kind, names, config):
    """The encoder has, or can make, embeddings of these image sets or corpora.

    kind: "images" or "texts". where: begins the message if not.
    """
    encoder, (section, sources) = config["encoders"][encoder_name], SOURCES[kind]
    if kind == "texts" and names and encoder["method"] == "timm":
        raise InputError(
            f"{where} (timm) has no text model; leave minings and contamination out of its study, "
            "name it in clusterings alone, or choose an open_clip encoder"
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


def _check_studies(config):
    """Image sets that must not meet, and a reference that must be among the study's minings."""
    for name, study in config["studies"].items():
        sets, scored = study_image_sets(study), scored_sets(study)
        twice = sorted({s for s in scored if scored.count(s) > 1})
        if twice:
            raise InputError(f"config: studies.{name}: {twice[0]!r} is named twice; once is enough")
        test, *others = (_are_apart(study["train"], name, config) for name in sets[1:])
        if not all(others) or (others and not test):
            raise InputError(
                f"config: studies.{name}: {study['train']!r} is mined and must not be tested on; "
                "use other images"
            )
        _check_places(name, study, config)
        if study["reference"] not in (None, *study["minings"]):
            hint = nearest(study["reference"], study["minings"])
            raise InputError(
                f"config: studies.{name}.reference: {study['reference']!r} is none of its "
                f"minings; {hint}"
            )


def _check_places(name, study, config):
    """No two image sets of a study, of different names, are the same files."""
    seen = {}
    for image_set in study_sources(study, config):
        kind, options = images_of(config["image_sets"][image_set])
        if kind is None:
            continue
        files = {key: os.path.normpath(options[key]) for key in ("path", "root") if key in options}
        place = (kind, *files.items(), options.get("files"))
        if place in seen:
            raise InputError(
                f"config: studies.{name}: {seen[place]!r} and {image_set!r} are the same images "
                f"(image_sets.{image_set}.{kind}); use other images, or one name"
            )
        seen[place] = image_set


def _check_needs(config):
    """A study must name clusterings for minings that vote by cluster, and so on."""
    source = {"positives": "minings", "clusters": "clusterings", "negatives": "negatives"}
    for name, study in config["studies"].items():
        for section in ("minings", "detectors"):
            for block in study[section]:
                for need in needs(section, config[section][block]):
                    if need in source and not study[source[need]]:
                        raise InputError(
                            f"config: studies.{name}: {section}.{block} needs {need}; "
                            + _remedy(f"studies.{name}.{source[need]}", need, study, config)
                        )


def _check_decisions(config):
    """What decides is of the study, and no image that is mined or gets a p-value calibrates.

    But where training images are scored for want of others, those held out of them are too.
    """
    for name, study in config["studies"].items():
        _check_decide_by(name, study)
        if not (calibration := calibration_set(study)):
            continue
        train, *scored = study_image_sets(study)
        others = {s: "scored" for s in scored if _are_apart(train, s, config)}
        for image_set, use in ({train: "mined"} | others).items():
            if not _are_apart(image_set, calibration, config):
                raise InputError(
                    f"config: studies.{name}.calibrate.set: {calibration!r} has images that are "
                    f"{use} ({image_set!r}); use other images, or give a share"
                )


def _check_decide_by(name, study):
    for key, chosen in study["decide_by"].items():
        valid = study[key if key == "negatives" else f"{key}s"]
        if chosen is not None and chosen not in valid:
            raise InputError(
                f"config: studies.{name}.decide_by.{key}: {chosen!r} is none of the study's; "
                f"{nearest(chosen, valid)}"
            )


def _check_reproductions(config):
    """A reproduction compares rows that its study has."""
    for name, block in config["reproductions"].items():
        study = config["studies"][block["study"]]
        chosen = {"mining": (block["mining"], study["minings"])}
        for method, one in block["methods"].items():
            for key, section in (("detector", "detectors"), ("negatives", "negatives")):
                chosen[f"methods.{method}.{key}"] = (one[key], study[section])
            needed = "negatives" in needs("detectors", config["detectors"][one["detector"]])
            if needed != (one["negatives"] is not None):
                raise InputError(
                    f"config: reproductions.{name}.methods.{method}.negatives: detector "
                    f"{one['detector']!r} {'needs some' if needed else 'takes none'}"
                )
        for key, (value, valid) in chosen.items():
            if value is not None and value not in valid:
                raise InputError(
                    f"config: reproductions.{name}.{key}: {value!r} is none of the study's; "
                    f"{nearest(value, valid)}"
                )


def _are_apart(one, other, config):
    """Whether two image sets have no image in common: other sources, or two parts of a holdout."""
    if source_set(one, config) != source_set(other, config):
        return True
    pairs = itertools.product(_cuts(one, config), _cuts(other, config))
    return any(_are_two_parts(*pair) for pair in pairs)


def _are_two_parts(cut, other):
    """Whether two `derive` blocks cut the two parts of one holdout."""
    return "part" in cut and cut != other and other == cut | {"part": other.get("part")}


def _cuts(name, config):
    """The `derive` of an image set, that of the set that it is from, and so on."""
    cuts = []
    while cut := config["image_sets"][name].get("derive"):
        cuts.append(cut)
        name = cut["from"]
    return cuts


def _remedy(key, need, study, config):
    """What to do about a study that lacks what a method needs; key: what would give it."""
    blocks = {name: config["encoders"][name] for name in study["encoders"]}
    blind = [e for e in blocks if blocks[e]["method"] == "timm" or blocks[e].get("texts") == {}]
    if need == "positives" and blind:
        return f"encoder {blind[0]!r} has no texts to name images with; take knn or mahalanobis"
    return f"add {key}"
