"""A study's images in the plane -> results/explore/{study}/map.html, one page to open in a browser.

Out: the training images and the scored images, by set, by cluster and by the deciding score.
"""


def mapped_scores(study):
    """(encoder, clustering, mining, seed) of the score file with the study's deciding scores."""
    kind = detector_needs(configuration.deciding(study, CONFIG)["detector"])
    places = configuration.deciding_scores(study, CONFIG)
    return next(place for place in places if compared_with(*place[1:3]) == kind)


def mapped_clusters(study):
    """(clustering, seed) whose clusters a map shows: those of the deciding scores, or else the
    study's first. None if it has no clusters."""
    _, clustering, _, seed = mapped_scores(study)
    if clustering != "none":
        return clustering, seed
    return (study["clusterings"][0], study["seeds"][0]) if study["clusterings"] else None


def mapped_sets(study):
    """The image sets of a study's points, each once, the training set first."""
    return list(dict.fromkeys(configuration.study_image_sets(study)))


def mapped_images(study):
    """The image sets that hold the images of the points; none of precomputed embeddings."""
    if CONFIG["encoders"][mapped_scores(study)[0]]["method"] == "precomputed":
        return []
    return list(dict.fromkeys(source_of(name) for name in mapped_sets(study)))


def images_to_map(wildcards):
    """Embeddings, scores, clusters and names of the images of a study, and where the images are."""
    study = CONFIG["studies"][wildcards.study]
    place = encoder, *_ = mapped_scores(study)
    train = study["train"]
    clusters, names = [], []
    if mapped := mapped_clusters(study):
        clusters = clusters_of(encoder, train, *mapped)
        if encoder in naming_encoders(study):
            names = "results/names/{}/{}/{}/{}/seed{}.parquet"
            names = names.format(encoder, train, study["corpus"], *mapped)
    kind = "decisions" if study["calibrate"] else "scores"
    stored = [stored_images(name) for name in mapped_images(study)]
    stored = {key: [files[key] for files in stored] for key in ("source", "locators")}
    return embeddings_of(encoder, mapped_sets(study)) | {
        "scores": f"results/{kind}/{wildcards.study}/{{}}/{{}}/{{}}/seed{{}}.parquet".format(
            *place
        ),
        "clusters": clusters,
        "names": names,
        **unless_made("draw_map", wildcards, stored),
    }


def map_config(wildcards):
    """How to project, what decides, the sets in order, and what holds their images."""
    study = CONFIG["studies"][wildcards.study]
    sets = mapped_sets(study)
    return study["map"] | {
        "decide_by": configuration.deciding(study, CONFIG),
        "shards": numbers_of_shards(mapped_scores(study)[0], sets),
        "source_of": {name: source_of(name) for name in sets},
        "stored": mapped_images(study),
    }


def map_modules(wildcards):
    """The modules that read the images which are no files of their own."""
    kinds = [container_of(name)[0] for name in mapped_images(CONFIG["studies"][wildcards.study])]
    return sorted({f"images/{kind}" for kind in kinds if kind in ARCHIVES})


rule draw_map:
    input:
        unpack(images_to_map),
    output:
        html="results/explore/{study}/map.html",
    log:
        "results/logs/draw_map/{study}.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=map_config,
        code=code("draw_map", map_modules),
        above=above("draw_map"),
    script:
        "../workflow_scripts/draw_map.py"


def maps_of_run():
    """The map of every study in the run."""
    return [f"results/explore/{name}/map.html" for name in CONFIG["run"]]
