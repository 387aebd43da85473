"""A study's images in the plane -> results/explore/{study}/map.html, one page to open in a browser.

Out: the training images and the scored images, by set, by cluster and by the deciding score.
"""


def mapped_sets(study):
    """The image sets of a study's points, each once, the training set first."""
    return list(dict.fromkeys(configuration.study_image_sets(study)))


def mapped_images(study):
    """The image sets that hold the images of the points; none of precomputed embeddings."""
    if CONFIG["encoders"][deciding_encoder(study)]["method"] == "precomputed":
        return []
    return list(dict.fromkeys(source_of(name) for name in mapped_sets(study)))


def images_to_map(wildcards):
    """Embeddings, scores, clusters and names of the images of a study, and where the images are."""
    study = CONFIG["studies"][wildcards.study]
    kind = "decisions" if study["calibrate"] else "scores"
    named = [one for one in configuration.deciding_scores(study, CONFIG) if one[2] != "none"]
    stored = [stored_images(name) for name in mapped_images(study)]
    stored = {key: [files[key] for files in stored] for key in ("source", "locators")}
    return embeddings_of(deciding_encoder(study), mapped_sets(study)) | {
        "scores": deciding_files(wildcards.study, kind),
        "named": files_at(wildcards.study, named, kind)[0] if named else [],
        **shown_clusters(study),
        **unless_made("draw_map", wildcards, stored),
    }


def map_config(wildcards):
    """How to project, what may decide, the sets in order, and what holds their images."""
    study = CONFIG["studies"][wildcards.study]
    sets = mapped_sets(study)
    return study["map"] | {
        "deciders": configuration.deciders(study, CONFIG),
        "pages": menu_of(wildcards.study),
        "parts": numbers_of_parts(deciding_encoder(study), sets),
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
