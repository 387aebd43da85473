"""What the numbers of a study rest on: images lost or copied, missing values, flags, the oracle."""

from workflow_scripts.lib.report.phrases import listed, scored_by, sentence, share

LEAKS = {
    "exact": "the same files in two sets make the numbers too good: {}",
    "near": "near copies in two sets: {}",
}
Z = 1.96  # the quantile of the normal distribution for 95 %
WIDE = 0.2  # width of an interval that is told; our choice, up to 92 images
SHOWN = 3  # sets or pairs of sets that are listed


def reservations(study, tables):
    """What is wrong with the images or the oracle; "" if nothing is known."""
    texts = [*losses(tables), *leaks(tables.duplicates), *tiny(tables.images)]
    texts += [*passed_over(study), *unscored(tables.comparison)]
    texts += doubtful_flags(tables.contamination)
    if gap := oracle_gap(tables.label_quality):
        subject = "the oracle covers" if study["oracles"] else "the corpus has"
        texts.append(f"{subject} {gap[0]} of {gap[1]} true names")
    return sentence(texts)


def losses(tables):
    """A part of a sentence per image set that has lost images."""
    lost = tables.quarantine
    if lost.empty:
        return []
    counts = lost[lost["lost"]].groupby("image_set", sort=False)["image_id"].nunique()
    return [
        f"{counts[name]:,} of {number:,} images of {name} could not be used"
        for name, number in tables.images.items()
        if name in counts
    ]


def leaks(duplicates):
    """A part of a sentence on images that occur in several sets of a study; [] if none do."""
    if duplicates.empty:
        return []
    across = duplicates[duplicates["image_set"] != duplicates["other_set"]]
    if across.empty:
        return []
    texts = []
    for kind, words in LEAKS.items():
        rows = across[across["kind"] == kind]
        images = rows.groupby(["image_set", "other_set"], sort=False)["image_id"].nunique()
        found = [f"{n:,} of {one} and {other}" for (one, other), n in images.items()]
        texts += [words.format(listed(found, SHOWN))] if found else []
    return texts


def tiny(images):
    """A part of a sentence on sets so small that shares of their images are little known.

    images: image set -> number of images. Told is the width of Wilson's interval of 95 % for
    a share of one half, z / sqrt(n + z^2): the widest that there is.
    """
    widths = {name: Z / (number + Z**2) ** 0.5 for name, number in images.items()}
    found = [
        f"{name} ({images[name]} images, {100 * width:.0f} points)"
        for name, width in widths.items()
        if width > WIDE
    ]
    if not found:
        return []
    return [f"intervals of 95 % for a share of a small set are wide: {listed(found, SHOWN)}"]


def passed_over(study):
    """Parts of a sentence on what would have decided but could not score; [] if the first could."""
    if not study["passed_over"]:
        return []
    texts = {
        scored_by(cell["detector"], cell["negatives"]): f"cannot decide ({cell['reason']})"
        for cell in study["passed_over"]
    }
    texts.setdefault(scored_by(**study["decide_by"]), "decides instead")
    return [f"{name} {text}" for name, text in texts.items()]


def unscored(comparison):
    """A part of a sentence on the choices that could not be scored; [] if all could."""
    if comparison.empty or comparison["reason"].isna().all():
        return []
    rows = comparison[comparison["condition"].eq("clean") & comparison["ood_group"].eq("all")]
    failed = rows[rows["reason"].notna()]
    first = failed.iloc[0]
    how = scored_by(first["detector"], first["negatives"])
    names = "" if first["mining"] == "none" else f" with names of {first['mining']}"
    lack = "lack values" if failed["auroc"].isna().all() else "lack values of some seeds or all"
    return [f"{len(failed)} of {len(rows)} choices {lack}, first {how}{names} ({first['reason']})"]


def doubtful_flags(contamination):
    """A part of a sentence on OOD sets that are flagged nearly as often as the ID test set."""
    if contamination.empty or contamination["note"].isna().all():
        return []
    rows = contamination[contamination["note"].notna()]
    sets = [f"{share(row.share)} of {row.image_set}" for row in rows.itertuples()]
    test = contamination[contamination["group"] == "test"].iloc[0]
    return [
        f"the rule for ID content flags {listed(sets, SHOWN)}, of {test['image_set']} "
        f"{share(test['share'])}: rows without flagged images say little"
    ]


def oracle_gap(quality):
    """(true names in the corpus, true names) if the corpus lacks some; None if not, or unknown.

    quality: rows of the label quality of one study.
    """
    known, true = quality.get("true_names_in_corpus"), quality.get("true_names")
    if true is None or not (known < true).any():
        return None
    row = quality[known < true].iloc[0]
    return int(row["true_names_in_corpus"]), int(row["true_names"])
