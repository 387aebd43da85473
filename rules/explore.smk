"""Pages to look at: static HTML with thumbnails, one self-contained file each, to open from disk.

Out: results/explore/{study}/ with index.html (open it first), comparison.html, data.html,
provenance.html, outliers/{image_set}.html, clusters.html and, of more than 200 clusters, the folder
clusters/ with 2.html, ... The map is that of map.smk.
"""

# ---- which pages a study has ----------------------------------------------------------------------


def explored_clusters(study):
    """(encoder, clustering, seed) of the clusters that a study's pages show: those that sort its
    images, else the first. None without clusters."""
    places = configuration.deciding_scores(study, CONFIG)
    for encoder, clustering, _, seed in places:
        if clustering != "none":
            return encoder, clustering, seed
    first = next(iter(study["clusterings"]), None)
    return first and (places[0][0], first, study["seeds"][0])


def shown_clusters(study):
    """The clusters that a study's pages show, and their names; [] where there are none."""
    if not explored_clusters(study):
        return {"clusters": [], "names": []}
    encoder, clustering, seed = explored_clusters(study)
    names = "results/names/{}/{train}/{corpus}/{}/seed{}.parquet"
    named = encoder in naming_encoders(study)
    return {
        "clusters": clusters_of(encoder, study["train"], clustering, seed),
        "names": names.format(encoder, clustering, seed, **study) if named else [],
    }


def clusters_page(name):
    """The first page of a study's clusters; none without named clusters."""
    study = CONFIG["studies"][name]
    return f"results/explore/{name}/clusters.html" if shown_clusters(study)["names"] else None


def outlier_pages(name):
    """Image set -> its page, of the sets whose outliers are listed by default."""
    return {one: f"results/explore/{name}/outliers/{one}.html" for one in listed_sets(name)}


def menu_of(name):
    """The pages of a study in the order of their menu: dicts with group ("" or a word before the
    first of them), title and path."""
    folder = f"results/explore/{name}"
    pages = [("", "Start", f"{folder}/index.html")]
    pages += [("", "Clusters", clusters_page(name))] if clusters_page(name) else []
    pages += [("Outliers in", *page) for page in outlier_pages(name).items()]
    others = ("map", "comparison", "data", "provenance")
    pages += [("", page.title(), f"{folder}/{page}.html") for page in others]
    return [dict(zip(("group", "title", "path"), page)) for page in pages]


def pages_of_run():
    """The pages of every study in the run."""
    for name in CONFIG["run"]:
        folder = f"results/explore/{name}"
        for page in ("index", "map", "comparison", "data", "provenance"):
            yield f"{folder}/{page}.html"
        yield from outlier_pages(name).values()
        if clusters_page(name):
            yield clusters_page(name)


def explorer(path, page):
    """An output that the report shows as a page."""
    labels = {"study": "{study}", "page": page}
    return report(path, caption="captions/explore.rst", category="Pages", labels=labels)


# ---- what they are made of ------------------------------------------------------------------------


def page_files(*templates):
    """Function of the wildcards: what a page reads by name, its templates and how to read images."""
    names = ("base.html", "parts.html", "page.css", "page.js", *templates)
    files = [f"explore/templates/{name}" for name in names]

    def modules(wildcards):
        study = CONFIG["studies"][wildcards.study]
        sets = dict.fromkeys(map(source_of, configuration.study_image_sets(study)))
        kinds = dict.fromkeys(container_of(name)[0] for name in sets)
        return [*files, *(f"images/{kind}" for kind in kinds if kind in ARCHIVES)]

    return modules


def pictures_of(rule, wildcards, image_set, encoder):
    """Where a set's images are, as input files; none of precomputed embeddings."""
    if root_of(image_set, encoder) is None:
        return {"source": [], "locators": []}
    return unless_made(rule, wildcards, stored_images(image_set))


def linked_root(image_set, encoder):
    """The folder that image ids are paths below; None where images are no files of their own."""
    return None if is_archived(image_set, encoder) else root_of(image_set, encoder)


def deciding_encoder(study):
    return configuration.deciding_scores(study, CONFIG)[0][0]


def images_to_show(wildcards):
    """The list of outliers of a set, of OOD sets that of the test set too, what groups images, and
    where they are."""
    study = CONFIG["studies"][wildcards.study]
    lists = f"results/outliers/{wildcards.study}"
    outside = wildcards.image_set in (*study["near"], *study["far"])
    place = "explore_outliers", wildcards
    train = pictures_of(*place, study["train"], deciding_encoder(study))
    return {
        "outliers": f"{lists}/{wildcards.image_set}.parquet",
        "id_outliers": f"{lists}/{study['test']}.parquet" if outside else [],
        "groups": group_tables([wildcards.image_set]),
        **pictures_of(*place, wildcards.image_set, deciding_encoder(study)),
        **{f"train_{key}": files for key, files in train.items()},
    }


def roles_of_listed(name):
    """Scored image set -> test, shift, near or far; None where nothing is known of its images."""
    study = CONFIG["studies"][name]
    roles = {one: group for group in ("shift", "near", "far") for one in study[group]}
    return {study["test"]: "test" if roles else None} | roles


def outlier_page_config(wildcards):
    """What the page of a set says of it, and what it links to."""
    study, name = CONFIG["studies"][wildcards.study], wildcards.image_set
    return {
        "study": wildcards.study,
        "image_set": name,
        "role": roles_of_listed(wildcards.study).get(name),
        "test": study["test"],
        "groups": group_blocks([name])[name],
        "pages": menu_of(wildcards.study),
        "files": [f"results/outliers/{wildcards.study}/{name}.{end}" for end in ("csv", "parquet")],
    }


rule explore_outliers:
    input:
        unpack(images_to_show),
    output:
        page=explorer(
            "results/explore/{study}/outliers/{image_set}.html", "outliers in {image_set}"
        ),
    log:
        "results/logs/explore_outliers/{study}/{image_set}.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=outlier_page_config,
        code=code("explore_outliers", page_files("outliers.html")),
        above=above("explore_outliers"),
    script:
        "../workflow_scripts/explore_outliers.py"


def clusters_to_show(wildcards):
    """The named clusters of a study, the labels of its training images, and where these are."""
    study = CONFIG["studies"][wildcards.study]
    encoder = explored_clusters(study)[0]
    return {
        **shown_clusters(study),
        "index": indexes_of([encoder], study["train"]),
        **pictures_of("explore_clusters", wildcards, study["train"], encoder),
    }


def clusters_page_config(wildcards):
    """What the pages of the clusters link to."""
    study = CONFIG["studies"][wildcards.study]
    encoder = explored_clusters(study)[0]
    return {
        "study": wildcards.study,
        "train": source_of(study["train"]),
        "root": linked_root(study["train"], encoder),
        "pages": menu_of(wildcards.study),
        "files": [f"results/tables/cluster_names.{end}" for end in ("csv", "parquet")],
    }


rule explore_clusters:
    input:
        unpack(clusters_to_show),
    output:
        page=explorer("results/explore/{study}/clusters.html", "clusters"),
        more=directory("results/explore/{study}/clusters"),
    log:
        "results/logs/explore_clusters/{study}.log",
    wildcard_constraints:
        study=one_of([name for name in CONFIG["studies"] if clusters_page(name)]),
    localrule: IN_STORAGE
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=clusters_page_config,
        code=code("explore_clusters", page_files("clusters.html")),
        above=above("explore_clusters"),
    script:
        "../workflow_scripts/explore_clusters.py"


def results_to_show(wildcards):
    """The tables of a study, the scores of which one decides, its named clusters and lists of
    outliers, and where images are."""
    name = wildcards.study
    study = CONFIG["studies"][name]
    tables = {"ood": True, "comparison": True, "clustering": True}
    tables |= {"contamination": bool(study["contamination"]), "decisions": bool(study["calibrate"])}
    tables |= dict.fromkeys(NAME_TABLES, bool(study["minings"]))
    tables |= {"cluster_names": bool(clusters_page(name))}
    files = {
        table: f"results/studies/{name}/{table}.parquet" if exists else []
        for table, exists in tables.items()
    }
    files |= {"duplicates": f"results/duplicates/{name}.parquet"}
    files |= {"quarantine": "results/tables/quarantine.parquet"}
    files |= {"scores": deciding_files(name)}
    files |= {"outliers": [f"results/outliers/{name}/{one}.parquet" for one in listed_sets(name)]}
    files |= {"names": shown_clusters(study)["names"]}
    encoder = deciding_encoder(study)
    places = [
        pictures_of("explore_study", wildcards, one, encoder)
        for one in (study["train"], *listed_sets(name))
    ]
    files |= {"sources": [place["source"] for place in places if place["source"]]}
    files |= {"locators": [place["locators"] for place in places if place["locators"]]}
    return files | {"curves": [file for file in figures_of_k([study]) if file.endswith(".svg")]}


def study_pages_config(wildcards):
    """What the pages of a study say beside its tables, and what they link to."""
    name = wildcards.study
    study = CONFIG["studies"][name]
    encoder = deciding_encoder(study)
    alone = study["test"] == study["train"]
    roles = {study["train"]: "training"} | {study["test"]: "training, scored" if alone else "test"}
    roles |= {one: group for group in ("near", "far", "shift") for one in study[group]}
    if study["calibrate"]:
        roles[configuration.calibration_set(study)] = "calibration"
    return {
        "study": name,
        "collection": source_of(study["train"]),
        "root": linked_root(study["train"], encoder),
        "roles": {one: [role, source_of(one)] for one, role in roles.items()},
        "sets": list(dict.fromkeys(map(source_of, roles))),
        "listed": listed_sets(name),
        "listed_as": roles_of_listed(name),
        "outlier_pages": outlier_pages(name),
        "clusters_page": clusters_page(name),
        "comparison_page": f"results/explore/{name}/comparison.html",
        "pages": menu_of(name),
        "headline": headline_config(name),
        "comparison_files": [
            f"results/tables/{table}.csv" for table in ("comparison", "ood", "means")
        ],
        "files": files_of_study(name),
    }


def files_of_study(name):
    """File -> what is in it, of the files that a reader of the first page may want."""
    files = {f"results/outliers/{name}/": "lists of outliers"} if listed_sets(name) else {}
    if clusters_page(name):
        files["results/tables/cluster_names.csv"] = "every cluster: name, votes, runners-up, images"
    files["results/tables/means.csv"] = "every list of positives and detector, means over seeds"
    return files


rule explore_study:
    input:
        unpack(results_to_show),
    output:
        start=explorer("results/explore/{study}/index.html", "start"),
        comparison=explorer("results/explore/{study}/comparison.html", "comparison"),
        data=explorer("results/explore/{study}/data.html", "data"),
    log:
        "results/logs/explore_study/{study}.log",
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=study_pages_config,
        code=code("explore_study", page_files("index.html", "comparison.html", "data.html")),
        above=above("explore_study"),
    script:
        "../workflow_scripts/explore_study.py"


def study_with_blocks(wildcards):
    """The config of a study and of all that it names, with all defaults, but for keys that change
    no result."""
    name = wildcards.study
    study = CONFIG["studies"][name]
    named = {
        "encoders": study["encoders"],
        "image_sets": configuration.study_image_sets(study),
        "corpora": [study["corpus"]] if study.get("corpus") else [],
        "clusterings": study["clusterings"],
        "minings": study["minings"],
        "negatives": study["negatives"],
        "detectors": study["detectors"],
    }
    return {"studies": {name: study}} | {
        section: {block: as_run(CONFIG[section][block]) for block in names}
        for section, names in named.items()
    }


def as_run(block):
    """A config block without what only `check_image_sets` reads, and without threads."""
    return {key: value for key, value in without_threads(block).items() if key != "expected"}


rule explore_provenance:
    input:
        start="results/explore/{study}/index.html",
    output:
        page=explorer("results/explore/{study}/provenance.html", "provenance"),
    log:
        "results/logs/explore_provenance/{study}.log",
    localrule: True
    conda:
        "../envs/workflow.yaml"
    params:
        cfg=lambda wildcards: {
            "study": wildcards.study,
            "pages": menu_of(wildcards.study),
            "config": study_with_blocks(wildcards),
        },
        code=code("explore_provenance", page_files("provenance.html")),
        above=above("explore_provenance"),
    script:
        "../workflow_scripts/explore_provenance.py"
