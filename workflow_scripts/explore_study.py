"""Write the pages of a study to open first: start, comparison, data.

Out: three HTML files, see `lib/explore/`. Start: five sentences, the largest clusters, the lowest
images of every scored set, the best row of each detector. Comparison: heat maps of AUROC.
Data: image sets, quarantine, duplicates, leaks, contamination.
"""

from pathlib import Path

import pandas as pd
from markupsafe import Markup

from workflow_scripts.lib.artifacts import read_meta, read_table
from workflow_scripts.lib.detection.calibration import least_number
from workflow_scripts.lib.detection.decisions import what_decides
from workflow_scripts.lib.explore.clusters import cards
from workflow_scripts.lib.explore.comparison import heat_maps, labelled
from workflow_scripts.lib.explore.pages import count, percent, records, write_page
from workflow_scripts.lib.explore.sprites import Sprite
from workflow_scripts.lib.images.thumbnails import thumbnails
from workflow_scripts.lib.job import job
from workflow_scripts.lib.report.headline import StudyTables, headline
from workflow_scripts.lib.report.phrases import sentence
from workflow_scripts.lib.report.reservations import leaks
from workflow_scripts.lib.report.tables import over_seeds, read_frame

TILE = 120  # pixels
CLUSTERS = 16  # that are shown
LOWEST = 8  # images of each set
ROWS = 200  # of a table
SETS = {"test": ", which should belong", "shift": ", which should belong", "near": " (OOD)"}
SETS |= {"far": " (OOD)"}
BEST = {
    "detector": "detector",
    "positives": "positives",
    "auroc": "AUROC",
    "interval": "95 % interval",
}
CLUSTERING = {"clustering": "clustering", "encoder": "encoder", "seeds": "seeds", "k": "k"}
CLUSTERING |= {"acc": "ACC", "nmi": "NMI", "ami": "AMI", "ari": "ARI"}


def read_tables(inputs, cfg):
    """The study's StudyTables; tables that it lacks are empty."""
    names = ["comparison", "label_quality", "cluster_names", "concepts", "clustering"]
    names += ["decisions", "duplicates", "quarantine"]
    frames = {name: read_frame(getattr(inputs, name)) for name in names if getattr(inputs, name)}
    lost = frames["quarantine"]
    frames["quarantine"] = lost[lost["image_set"].isin(cfg["sets"])]
    images = read_meta(inputs.quarantine)["images"]
    return StudyTables(
        **frames, images={name: images[name] for name in cfg["sets"] if name in images}
    )


# ---- start --------------------------------------------------------------------------------------


def largest_clusters(inputs, cfg):
    """The CLUSTERS largest clusters, dicts with a thumbnail of the image nearest to the centre, and
    how many clusters have images."""
    if not inputs.names:
        return [], 0
    found = cards(read_table(inputs.names).to_pylist())
    shown = [card for card in found if card["nearest"]][:CLUSTERS]
    ids = [card["nearest"][0] for card in shown]
    sprite = sprite_of("large", ids, inputs.sources[:1], inputs.locators[:1])
    for card, image_id in zip(shown, ids, strict=True):
        file = None if cfg["root"] is None else f"{cfg['root']}/{image_id}"
        card |= {"image_id": image_id, "sprite": sprite, "file": file}
    return shown, sum(card["size"] > 0 for card in found)


def sprite_of(name, ids, sources, locators):
    """The thumbnails of some images; sources, locators: of their set, lists of one path or none."""
    found = thumbnails(ids, sources[0], locators[0], TILE) if sources else {}
    return Sprite(name, TILE, found)


def lowest_images(inputs, cfg):
    """Per scored set with a list of outliers: what the start page shows of it."""
    found, roles = [], cfg["listed_as"]
    for i, (name, path) in enumerate(zip(cfg["listed"], inputs.outliers, strict=True)):
        frame, meta = read_frame(path), read_meta(path)
        lowest = frame.head(LOWEST)
        places = slice(1 + i, 2 + i)  # the training set is the first
        sprite = sprite_of(
            f"set{i}", lowest["image_id"], inputs.sources[places], inputs.locators[places]
        )
        known = meta["calibration"] is not None
        found.append(
            {
                "name": name,
                "role": SETS.get(roles[name], ""),
                "n": len(frame),
                "flagged": int(frame["flagged"].sum()) if known else None,
                "rate": meta["false_alarm_rate"],
                "too_few": known and meta["n_calibration"] < least_number(meta["false_alarm_rate"]),
                "by": meta["column"],
                "lowest": records(lowest),
                "sprite": sprite,
                "page": cfg["outlier_pages"][name],
            }
        )
    # What should belong comes last.
    return sorted(found, key=lambda one: roles[one["name"]] in ("test", "shift"))


def best_rows(comparison):
    """Per detector and negatives its best list of positives on the clean test set, as texts."""
    rows = comparison[(comparison["condition"] == "clean") & (comparison["ood_group"] == "all")]
    rows = rows[rows["auroc"].notna()]
    if rows.empty:
        return rows
    best = labelled(rows.loc[rows.groupby(["detector", "negatives"], sort=False)["auroc"].idxmax()])
    best = best.sort_values("auroc", ascending=False, kind="stable")
    limits = zip(best["auroc_low"], best["auroc_high"], strict=True)
    return pd.DataFrame(
        {
            "detector": best["scorer"],
            "positives": best["list"],
            "auroc": [percent(value, 1) for value in best["auroc"]],
            "interval": [f"{percent(low, 1)} to {percent(high, 1)}" for low, high in limits],
        }
    )


def write_start(inputs, cfg, tables, output):
    shows, n_clusters = largest_clusters(inputs, cfg)
    sets = lowest_images(inputs, cfg)
    study = cfg["headline"] | what_decides(inputs.scores, cfg["headline"]["deciders"])
    sprites = [card["sprite"] for card in shows[:1]] + [one["sprite"] for one in sets]
    write_page(
        output,
        "index.html",
        cfg,
        sprites=sprites,
        train=cfg["collection"],
        sentences=headline(study, tables),
        shows=shows,
        n_clusters=n_clusters,
        clusters_page=cfg["clusters_page"],
        sets=sets,
        calibrated=any(one["flagged"] is not None for one in sets),
        best=best_rows(tables.comparison),
        best_titles=BEST,
        comparison_page=cfg["comparison_page"],
        files=cfg["files"],
    )


# ---- comparison and data ------------------------------------------------------------------------


def write_comparison(inputs, cfg, tables, output):
    clusterings = tables.clustering
    if len(clusterings) and clusterings["acc"].notna().any():
        measures = ["acc", "nmi", "ami", "ari"]
        means = over_seeds(clusterings, ["clustering", "encoder", "k"], measures)
        clusterings = means.assign(
            **{name: [percent(v, 1) for v in means[name]] for name in measures}
        )
    else:
        clusterings = clusterings.head(0)
    write_page(
        output,
        "comparison.html",
        cfg,
        maps=heat_maps(tables.comparison, read_frame(inputs.ood)) if len(tables.comparison) else [],
        files=cfg["comparison_files"],
        clusterings=clusterings,
        clustering_titles=CLUSTERING,
        curves=[drawing(path) for path in inputs.curves],
    )


def drawing(path):
    """An SVG that this workflow drew, as it is."""
    text = Path(path).read_text("utf-8")
    return Markup(text[text.index("<svg") :])


def image_sets(tables, roles):
    """One row per image set of the study: what it is used as, its images, those that are lost.

    roles: image set -> (what it is used as, the set that its images come from).
    """
    lost = tables.quarantine
    counts = lost[lost["lost"]].groupby("image_set")["image_id"].nunique() if len(lost) else {}
    rows = []
    for name, (role, origin) in roles.items():
        images = count(tables.images.get(origin, float("nan")))
        images = images if name == origin else f"a part of the {images} of {origin}"
        rows.append((name, role, images, counts.get(origin, 0)))
    return pd.DataFrame(rows, columns=["image_set", "role", "images", "lost"])


def shown_table(title, frame, file):
    """(title, first rows, titles of columns, number of rows, file with all) for the template."""
    rows = frame.drop(columns="study", errors="ignore")
    shown = rows.head(ROWS)
    for name in shown.select_dtypes("floating"):
        shown = shown.assign(**{name: ["" if pd.isna(v) else f"{v:.4g}" for v in shown[name]]})
    texts = shown.astype(object).where(shown.notna(), "")
    return title, texts, {name: name.replace("_", " ") for name in rows}, len(rows), file


def write_data(inputs, cfg, tables, output):
    shown = [
        shown_table(
            "Files that could not be used", tables.quarantine, "results/tables/quarantine.csv"
        ),
        shown_table("Copies", tables.duplicates, f"results/duplicates/{cfg['study']}.parquet"),
    ]
    if inputs.contamination:
        frame = read_frame(inputs.contamination)
        title = "OOD images that show an in-distribution class"
        shown.append(shown_table(title, frame, inputs.contamination))
    write_page(
        output,
        "data.html",
        cfg,
        leaks=[sentence([text]) for text in leaks(tables.duplicates)],
        sets=image_sets(tables, cfg["roles"]),
        tables=shown,
    )


def explore_study(inputs, cfg, start, comparison, data):
    """inputs: named paths of the study's tables (each one path or none), of scores (the files that
    tell what decides) and outliers (lists), names (of clusters, or none), sources and locators (of
    the training set and of the listed sets, or none) and curves (SVG). cfg: see rules/explore.smk.
    start, comparison, data: the pages."""
    tables = read_tables(inputs, cfg)
    write_start(inputs, cfg, tables, start)
    write_comparison(inputs, cfg, tables, comparison)
    write_data(inputs, cfg, tables, data)


if __name__ == "__main__":
    with job(snakemake):
        explore_study(
            snakemake.input,
            snakemake.params.cfg,
            snakemake.output.start,
            snakemake.output.comparison,
            snakemake.output.data,
        )
