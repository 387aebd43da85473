"""Write the page of one scored set: the images that belong least, by every detector.

Out: one HTML file with thumbnails, see `lib/explore/`. Of each detector the 200 lowest scores, the
deciding detector first; of OOD sets the highest scores too, with histograms and ROC curves against
the test set.
"""

from workflow_scripts.lib.artifacts import read_meta, read_table
from workflow_scripts.lib.detection.calibration import least_number
from workflow_scripts.lib.detection.metrics import ood_metrics
from workflow_scripts.lib.detection.resampling import grouping
from workflow_scripts.lib.detection.shares import share_interval
from workflow_scripts.lib.explore.curves import separation
from workflow_scripts.lib.explore.outliers import rankings, shown_images
from workflow_scripts.lib.explore.pages import write_page
from workflow_scripts.lib.explore.sprites import Sprite
from workflow_scripts.lib.images.thumbnails import thumbnails
from workflow_scripts.lib.job import job

TILE = 96  # pixels
ROLES = {
    "test": "of the test set, which should belong",
    "shift": "of a shifted test set, which should belong",
    "near": "of a near OOD set",
    "far": "of a far OOD set",
}


def sprites_of(ids, nearest, inputs):
    """The thumbnails of a set's images and of training images, as two sprites."""
    found = [
        thumbnails(ids, inputs.source, inputs.locators, TILE) if inputs.source else {},
        thumbnails(nearest, inputs.train_source, inputs.train_locators, TILE)
        if inputs.train_source
        else {},
    ]
    return [
        Sprite(name, TILE, images) for name, images in zip(("own", "train"), found, strict=True)
    ]


def described(ranking, id_scores, groups, cfg):
    """What the template shows of a ranking. id_scores: of the test set, or None. groups: of the
    images (`share_interval`), or None."""
    shown = {"name": ranking.name, "flagged": None, "curve": None, "metrics": None}
    shown |= {"lowest": ranking.lowest, "highest": ranking.highest}
    if ranking.flags is not None:
        shown["flagged"] = int(ranking.flags.sum())
        shown["interval"] = share_interval(ranking.flags, groups)
    if id_scores is not None:
        sets = cfg["test"], cfg["image_set"]
        shown["metrics"] = ood_metrics(id_scores, ranking.scores)
        shown["curve"] = separation(id_scores, ranking.scores, *sets, shown["metrics"])
    return shown


def id_scores(path, columns):
    """Detector -> scores of the ID test set. path: its list of outliers, or none: then {}.

    columns: detector -> its column.
    """
    table = read_table(path, list(columns.values())) if path else None
    return {name: table[column].to_numpy() for name, column in columns.items() if table}


def groups_in(outliers, tables, block):
    """The group of every image of a list; None without groups. tables, block: see `grouping`."""
    (group_of,) = grouping(tables, [block])
    return group_of and [group_of(image_id) for image_id in outliers["image_id"].to_pylist()]


def explore_outliers(inputs, cfg, output):
    """inputs: named paths, outliers and id_outliers (Parquet, the latter of OOD sets only), groups,
    source and locators (of the set's images; none of precomputed embeddings), train_source and
    train_locators. cfg: study, image_set, role (of ROLES, or None), test, groups (block or None),
    pages and files."""
    outliers, meta = read_table(inputs.outliers), read_meta(inputs.outliers)
    columns = {name: name for name in meta["others"]} | {meta["column"]: "score"}
    known = id_scores(inputs.id_outliers, columns)
    groups = groups_in(outliers, inputs.groups, cfg["groups"])
    ranked = rankings(outliers, meta["column"], meta["others"], highest=bool(known))
    sprites = sprites_of(*shown_images(ranked), inputs)
    write_page(
        output,
        "outliers.html",
        cfg,
        sprites=sprites,
        images=sprites[0],
        training=sprites[1],
        image_set=cfg["image_set"],
        role=ROLES.get(cfg["role"], "scored"),
        n=len(outliers),
        id_set=cfg["test"],
        rankings=[described(one, known.get(one.name), groups, cfg) for one in ranked],
        calibrated=meta["calibration"] is not None,
        rate=meta["false_alarm_rate"],
        n_calibration=meta["n_calibration"],
        least=least_number(meta["false_alarm_rate"]),
        files=cfg["files"],
        made_by=", ".join(str(meta[key]) for key in ("encoder", "clustering", "mining")),
    )


if __name__ == "__main__":
    with job(snakemake):
        explore_outliers(snakemake.input, snakemake.params.cfg, snakemake.output[0])
