"""What a resolved config says: image sets, corpora, encoders and methods behind its blocks.

`config` is always what `resolve.resolve_config` returns, `study` and `benchmark` a block of it.
"""

from workflow_scripts.lib.concepts.methods import METHODS as MINING
from workflow_scripts.lib.config.names import ablated_studies
from workflow_scripts.lib.detection.methods import ALL, deciding_rank
from workflow_scripts.lib.detection.methods import METHODS as DETECTORS
from workflow_scripts.lib.images.kinds import LABELS

NEEDS = {
    "minings": MINING,
    "detectors": {name: method.needs for name, method in DETECTORS.items()},
}


def needs(section, block):
    """What the method of a mining's or detector's block works on, e.g. ("clusters",)."""
    return NEEDS[section][block["method"]]


def images_of(block):
    """What holds the images of an image set: its kind, a key of LABELS, and a dict with `path`.

    block: the set's config block. (None, {}) if nothing does: the set is derived, or only named
    for precomputed embeddings.
    """
    for kind in LABELS:
        if kind in block:
            return kind, {"path": block[kind]} if isinstance(block[kind], str) else block[kind]
    return None, {}


def study_image_sets(study):
    """Names of all image sets of a study but the calibration set: training, test, near, far and
    shifted."""
    return [study["train"], study["test"], *study["near"], *study["far"], *study["shift"]]


def calibration_set(study):
    """Name of the image set that p-values come from, or None."""
    return study["calibrate"]["set"] if study["calibrate"] else None


def scored_sets(study):
    """Names of the image sets that a study scores: test, near, far, shifted, calibration."""
    return [*study_image_sets(study)[1:], *filter(None, [calibration_set(study)])]


def scored_pairs(study):
    """What a detector with a memory sees by itself: (ID sample, OOD set, the sets of the sample).

    The ID sample is the test set, a shifted one, or ALL of them together.
    """
    parts = [study["test"], *study["shift"]]
    samples = {part: [part] for part in parts} | ({ALL: parts} if study["shift"] else {})
    oods = [*study["near"], *study["far"]]
    return [[name, ood, sets] for name, sets in samples.items() for ood in oods]


def deciders(study, config):
    """What may sort the images of a study, a list of dicts with detector and negatives ("none" if
    it needs none): the first that could score decides.

    What `decide_by` names, else (our choice) all by DECIDING_ORDER, of equal methods and of
    negatives the study's first.
    """
    chosen, blocks = study["decide_by"], config["detectors"]
    ordered = sorted(study["detectors"], key=lambda name: deciding_rank(blocks[name]["method"]))
    named = [chosen["detector"]] if chosen["detector"] else ordered
    negatives = [chosen["negatives"]] if chosen["negatives"] else study["negatives"]
    return [
        {"detector": detector, "negatives": against}
        for detector in named
        for against in (
            negatives if "negatives" in needs("detectors", blocks[detector]) else ["none"]
        )
    ]


def deciding_scores(study, config):
    """(encoder, clustering, mining, seed) of the score files that sort the images of a study: of
    one list of positives, and with mining "none" of the detectors that need no names.

    By default the mining is the first that reads no labels.
    """
    chosen = study["decide_by"]
    encoder = chosen["encoder"] or study["encoders"][0]
    clustering = chosen["clustering"] or next(iter(study["clusterings"]), "none")
    seed = study["seeds"][0] if chosen["seed"] is None else chosen["seed"]
    uses = [needs("detectors", config["detectors"][name]) for name in study["detectors"]]
    files = []
    if any("positives" in needed for needed in uses):
        minings = {name: needs("minings", config["minings"][name]) for name in study["minings"]}
        unlabelled = [name for name in minings if "labels" not in minings[name]]
        mining = chosen["mining"] or [*unlabelled, *minings][0]
        clustered = "clusters" in minings[mining]
        files.append((encoder, *((clustering, mining, seed) if clustered else ("none", mining, 0))))
    if any("clusters" in needed for needed in uses):
        files.append((encoder, clustering, "none", seed))
    if ("train",) in uses:
        files.append((encoder, "none", "none", 0))
    return files


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


def groups_of_images(image_set, config):
    """The block that says which images of a set belong together, or None: its source's."""
    return config["image_sets"][source_set(image_set, config)].get("groups")


def study_sources(study, config):
    """The image sets that a study's images come from, each once."""
    names = [study["train"], *scored_sets(study)]
    return list(dict.fromkeys(source_set(name, config) for name in names))


def benchmark_sources(benchmark, config):
    """The image sets that a benchmark's images come from, each once."""
    levels = benchmark["levels"].values()
    return list(dict.fromkeys(source_set(image_set, config) for image_set in levels))


def study_corpora(study, config):
    """Names of a study's corpus and of the further ones that its negatives draw from; none for a
    study without minings, which has no names."""
    if not study["minings"]:
        return []
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


def clustering_encoder(clustering, encoder, config):
    """The encoder that a clustering's folder names: its own (of several spaces the first) or else
    this one, of a study or benchmark."""
    return next(iter(own_encoders(clustering, config)), encoder)


def own_encoders(clustering, config):
    """The encoders that a clustering names, a list; none if it takes that of study or benchmark.

    Those of an ensemble are its members'.
    """
    block = config["clusterings"][clustering]
    if "of" in block:
        found = [encoder for name in block["of"] for encoder in own_encoders(name, config)]
        return list(dict.fromkeys(found))
    return [block["encoder"]] if "encoder" in block else block.get("spaces", [])


def clustering_encoders(block, config):
    """The encoders whose embeddings a study or benchmark clusters, each once."""
    found = {}
    for clustering in block["clusterings"]:
        found |= dict.fromkeys(own_encoders(clustering, config) or block["encoders"])
    return list(found)


def encoders_of(study, config):
    """Encoder -> (image sets, corpora) that a study has it embed.

    Its encoders, the judge of its contamination, and the own encoders of its clusterings. The image
    sets are those that hold the images.
    """
    corpora = study_corpora(study, config)
    uses = [(encoder, study_sources(study, config), corpora) for encoder in study["encoders"]]
    if judge := judge_of(study, config):
        judged = [name for name in study_image_sets(study) if name not in study["shift"]]
        uses.append((judge, judged, [study["corpus"]]))
    uses += [(encoder, [study["train"]], []) for encoder in clustering_encoders(study, config)]
    used = {}
    for encoder, image_sets, names in uses:
        sources, texts = used.setdefault(encoder, ({}, {}))
        sources |= dict.fromkeys(source_set(name, config) for name in image_sets)
        texts |= dict.fromkeys(names)
    return {encoder: (list(sources), list(texts)) for encoder, (sources, texts) in used.items()}


def studies_in_use(config):
    """Names of the studies in `run`, of those that the ablations in `ablate` make, and of those
    that `reproduce` compares with published values; each once."""
    made = [ablated_studies(name, config["ablations"][name]) for name in config["ablate"]]
    reproduced = [config["reproductions"][name]["study"] for name in config["reproduce"]]
    ablated = (study for studies in made for study in studies)
    return list(dict.fromkeys([*config["run"], *ablated, *reproduced]))


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
        sources = benchmark_sources(block, config)
        uses += [(encoder, sources) for encoder in clustering_encoders(block, config)]
    names = [
        name
        for encoder, sets in uses
        if config["encoders"][encoder]["method"] != "precomputed"
        for name in sets
    ]
    return list(dict.fromkeys(names))
