"""What a study has found, in at most five sentences with numbers.

The sentences are plain text. Names come from the data as they are: escape the sentences before they
go into Markdown or HTML.
"""

from dataclasses import dataclass, field

import pandas as pd

from workflow_scripts.lib.detection.bootstrap import MIN_SEEDS
from workflow_scripts.lib.detection.calibration import least_number
from workflow_scripts.lib.report.phrases import listed, scored_by, sentence, share, span
from workflow_scripts.lib.report.reservations import reservations

FREQUENT = 3  # names that are listed
PLACE = ("encoder", "clustering", "mining", "seed")  # of a list of positives
SETS = 5  # image sets whose flagged share is listed


@dataclass
class StudyTables:
    """Result tables as data frames, restricted to one study; one that a study lacks is empty.

    images: image set -> the number of images that it was meant to have (`quarantine` has those
    that were lost).
    """

    comparison: pd.DataFrame = field(default_factory=pd.DataFrame)
    label_quality: pd.DataFrame = field(default_factory=pd.DataFrame)
    cluster_names: pd.DataFrame = field(default_factory=pd.DataFrame)
    concepts: pd.DataFrame = field(default_factory=pd.DataFrame)
    clustering: pd.DataFrame = field(default_factory=pd.DataFrame)
    contamination: pd.DataFrame = field(default_factory=pd.DataFrame)
    decisions: pd.DataFrame = field(default_factory=pd.DataFrame)
    duplicates: pd.DataFrame = field(default_factory=pd.DataFrame)
    quarantine: pd.DataFrame = field(default_factory=pd.DataFrame)
    images: dict = field(default_factory=dict)


def of_study(tables, name, image_sets):
    """The StudyTables of one study.

    tables: StudyTables of several studies, told apart by a column `study`, quarantine by image_set.
    image_sets: names of the sets that the study's images come from.
    """
    frames = {key: frame for key, frame in vars(tables).items() if key != "images"}
    lost = frames.pop("quarantine")
    own = {
        key: frame[frame["study"] == name] if len(frame) else frame for key, frame in frames.items()
    }
    own["quarantine"] = lost[lost["image_set"].isin(image_sets)] if len(lost) else lost
    images = {key: number for key, number in tables.images.items() if key in image_sets}
    return StudyTables(**own, images=images)


def headline(study, tables):
    """At most five sentences: a list of texts without Markdown or HTML.

    study: a dict; collection (image set of the training images), decide_by (detector and negatives
    that sort the images) and passed_over, both of `decisions.what_decides`, places (encoder,
    clustering, mining, seed of the scores that they are sorted by), oracles (mining methods that
    read labels).
    tables: a StudyTables.
    """
    sentences = [collection(study, tables), frequent(study, tables)]
    sentences += flagged(study, tables) or measured(study, tables)
    sentences.append(reservations(study, tables))
    return [sentence for sentence in sentences if sentence]


def decided(rows, study):
    """Those of the rows that are of the detector and negatives that decide."""
    keys = study["decide_by"]
    return rows[(rows[list(keys)] == list(keys.values())).all(axis=1)]


def at_place(frame, place, keys=PLACE):
    """The rows of a place, by these of its keys."""
    place = dict(zip(PLACE, place, strict=True))
    for key in keys if len(frame) else ():
        frame = frame[frame[key] == place[key]]
    return frame


# ---- what the collection shows ------------------------------------------------------------------


def names_found(study, tables):
    """(clusters, concepts): the named clusters that decide, else the concepts of a method without
    clusters, else the clusters of the first clustering; data frames, both may be empty."""
    clusters, place = tables.cluster_names, study["places"][0]
    own = at_place(clusters, place, ("encoder", "clustering", "seed"))
    concepts = at_place(tables.concepts, place)
    if len(own) or len(concepts) or clusters.empty:
        return own, concepts
    first = tuple(clusters.iloc[0][["encoder", "clustering", "seed"]])
    return at_place(clusters, (*first[:2], None, first[2]), ("encoder", "clustering", "seed")), own


def collection(study, tables):
    """How many clusters and names the training images make, and how many names are true."""
    clusters, concepts = names_found(study, tables)
    if len(clusters):
        one, used = clusters.iloc[0], (clusters["size"] > 0).sum()
        images = f"{clusters['size'].sum():,} images of {study['collection']}"
        names = f"{clusters['name'].nunique()} names"
        text = f"{images} make {used} clusters ({one['clustering']}) with {names}"
    elif len(concepts):
        text = f"{study['places'][0][2]} finds {len(concepts)} names in {study['collection']}"
    elif len(tables.clustering):
        one = tables.clustering.iloc[0]
        text = f"{study['collection']} has {one['used_clusters']} clusters ({one['clustering']})"
    else:
        return ""
    return f"{text}{true_names(study, tables)}."


def true_names(study, tables):
    """How many true names are among those of the method that decides; "" without labels."""
    rows = at_place(tables.label_quality, study["places"][0])
    if rows.empty or pd.isna(rows["coverage"].iloc[0]):
        return ""
    row = rows.iloc[0]
    return f" ({row['exact_matches']:.0f} of the {row['true_names']:.0f} class names)"


def frequent(study, tables):
    """The most frequent names with their images."""
    clusters, concepts = names_found(study, tables)
    if len(clusters):
        images = clusters.groupby("name", sort=False)["size"].sum()
    elif len(concepts):
        images = concepts.set_index("concept")["votes"]
    else:
        return ""
    images = images.sort_values(ascending=False, kind="stable").head(FREQUENT)
    names = [f"{name} ({number:,})" for name, number in images.items()]
    return f"Most frequent, with images: {', '.join(names)}."


# ---- what does not belong -----------------------------------------------------------------------


def flagged(study, tables):
    """Of a calibrated study: the flagged share of every set, and how sure it is; else []."""
    rows = pd.concat([at_place(tables.decisions, place) for place in study["places"]])
    rows = decided(rows, study) if len(rows) else rows
    if rows.empty:
        return []
    outside = rows[rows["measure"] == "detection_rate"]
    shown = (outside if len(outside) else rows).sort_values("share", ascending=False, kind="stable")
    shares = [f"{share(row.share)} of {row.image_set}" for row in shown.itertuples()]
    rate, number = rows["asked_rate"].iloc[0], rows["n_calibration"].iloc[0]
    by = scored_by(**study["decide_by"])
    first = f"Flagged as not belonging, by the detector {by}: {listed(shares, SETS)}."
    asked = (
        f"At most {100 * rate:g} % false alarms were asked for, set on {number:,} held-out images"
    )
    test = rows[rows["group"] == "test"]
    if number < (least := least_number(rate)):
        return [f"{asked}: too few to flag any image, which takes {least:,}."]
    if outside.empty or test.empty:
        return [first, f"{asked}."]
    row = test.iloc[0]
    limits = span(row["share_low"], row["share_high"])
    seen = f"of {row['image_set']}, which should belong, {share(row['share'])}{limits} are flagged"
    return [first, f"{asked}; {seen}."]


def measured(study, tables):
    """Of a study with OOD sets: the best AUROC without labels, and how sure it is; else a note."""
    rows = tables.comparison
    if len(rows):
        rows = rows[(rows["condition"] == "clean") & (rows["ood_group"] == "all")]
        rows = rows[~rows["mining"].isin(study["oracles"]) & rows["auroc"].notna()]
    if rows.empty:
        return [] if len(tables.comparison) else ["Images are ranked, none is flagged."]
    best = rows.loc[rows["auroc"].idxmax()]
    value = "AUROC" if len(rows) == 1 else f"Best AUROC of {len(rows)} choices"
    text = f"{value} without labels: {described(best)}"
    own = [at_place(rows, place, PLACE[:3]) for place in study["places"]]
    own = decided(pd.concat(own), study)
    if len(own) and own.index[0] != best.name:
        text += f"; the one that decides: {described(own.iloc[0])}"
    return [f"{text}.", certainty(best)]


def described(row):
    """A row of the comparison: its AUROC with interval and spread over seeds, and what it is of."""
    names = "" if row["mining"] == "none" else f", names of {row['mining']}"
    how = scored_by(row["detector"], row["negatives"])
    spread = ""
    if row["seeds"] > 1:
        spread = f" ± {100 * row['auroc_std']:.1f} over {row['seeds']} seeds"
    value = f"{share(row['auroc'])}{span(row['auroc_low'], row['auroc_high'])}{spread}"
    return f"{value}, {how}{names}"


def certainty(row):
    """What the intervals of a row of the comparison cover, and its distance to the reference."""
    texts = []
    if not pd.isna(row["auroc_low"]):
        texts.append("in brackets: 95 % intervals over images")
    if not pd.isna(row["total_low"]):
        limits = f"{100 * row['total_low']:.1f} to {100 * row['total_high']:.1f}"
        texts.append(f"over images and seeds: {limits}")
    elif 1 < row["seeds"] < MIN_SEEDS:
        texts.append(f"{row['seeds']} seeds are too few for an interval over seeds")
    if not pd.isna(row["difference"]) and row["mining"] != row["reference"]:
        limits = span(row["difference_low"], row["difference_high"])
        difference = f"{100 * row['difference']:+.1f} points{limits}"
        texts.append(f"against {row['reference']}: {difference}")
    return sentence(texts)
