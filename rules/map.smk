"""A study's images in the plane -> results/explore/{study}/map.html, one page to open in a browser.

Out: the training images and the scored images, by set, by cluster and by the deciding score.
"""


def mapped_scores(study):
    """(encoder, clustering, mining, seed) of the score file with the study's deciding scores."""
    kind = detector_needs(configuration.deciding(study, CONFIG)["detector"])
    places = configuration.deciding_scores(study, CONFIG)
    return next(place for place in places if compared_with(*place[1:3]) == kind)


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
    place = mapped_scores(study)
    kind = "decisions" if study["calibrate"] else "scores"
    scores = f"results/{kind}/{wildcards.study}/{{}}/{{}}/{{}}/seed{{}}.parquet"
    named = [one for one in configuration.deciding_scores(study, CONFIG) if one[2] != "none"]
    stored = [stored_images(name) for name in mapped_images(study)]
    stored = {key: [files[key] for files in stored] for key in ("source", "locators")}
    return embeddings_of(place[0], mapped_sets(study)) | {
        "scores": scores.format(*place),
        "named": scores.format(*named[0]) if named else [],
        **shown_clusters(study),
        **unless_made("draw_map", wildcards, stored),
    }


def map_config(wildcards):
    """How to project, what decides, the sets in order, and what holds their images."""
    study = CONFIG["studies"][wildcards.study]
    sets = mapped_sets(study)
    return study["map"] | {
        "decide_by": configuration.deciding(study, CONFIG),
        "pages": menu_of(wildcards.study),
        "parts": numbers_of_parts(mapped_scores(study)[0], sets),
        "source_of": {name: source_of(name) for name in sets},
        "stored": mapped_images(study),
    }


rule draw_map:
    input:
        unpack(images_to_map),
    output:
        html=explorer("results/explore/{study}/map.html", "map"),
    log:
        "results/logs/draw_map/{study}.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=map_config,
        code=code("draw_map", page_files("map.html")),
        above=above("draw_map"),
    script:
        "../workflow_scripts/draw_map.py"
