"""The sentences on a study, and the page that shows them; every number is worked out by hand."""

import numpy as np
import pandas as pd
import pytest

from workflow_scripts.lib.report.headline import StudyTables, headline, of_study
from workflow_scripts.lib.report.tables import markdown_text, write_frame, write_latex
from workflow_scripts.summarise import narrow, summarise

PLACE = ("e", "km", "clustermine", 0)
STUDY = {"collection": "photos", "image_sets": ["photos", "test"], "places": [PLACE]}
STUDY |= {"decide_by": {"detector": "mcm", "negatives": "none"}, "oracles": ["truth"]}
STUDY |= {"passed_over": [], "deciders": [STUDY["decide_by"]]}
ROW = {"study": "s", "encoder": "e", "clustering": "km", "mining": "clustermine", "seed": 0}


def rows(*changes, **shared):
    return pd.DataFrame([ROW | shared | change for change in changes])


CLUSTERS = rows(
    {"size": 700, "name": "dog"},
    {"size": 400, "name": "<b>*cat*</b>"},
    {"size": 500, "name": "dog"},
    image_set="photos",
)
QUALITY = rows({}, exact_matches=1, true_names=3, true_names_in_corpus=3, coverage=1 / 3)


def compared(mining, detector, auroc, **more):
    row = {"mining": mining, "detector": detector, "negatives": "none", "condition": "clean"}
    row |= {"ood_group": "all", "seeds": 1, "auroc": auroc, "auroc_std": np.nan}
    row |= {"auroc_low": auroc - 0.02, "auroc_high": auroc + 0.01, "reference": "truth"}
    row |= {"total_low": np.nan, "total_high": np.nan, "reason": None}
    row |= {"difference": auroc - 0.9, "difference_low": -0.05, "difference_high": 0.03}
    return row | more


COMPARISON = rows(
    compared("truth", "mcm", 0.9),
    compared("clustermine", "mcm", 0.7),
    compared("frequency", "mcm", 0.6),
    compared("clustermine", "neglabel", 0.85, negatives="rest", seeds=3, auroc_std=0.015),
    compared("clustermine", "mcm", 0.99, condition="shifted"),
    compared("clustermine", "mcm", 0.99, ood_group="far"),
)
DECISIONS = rows(
    {"image_set": "test", "group": "test", "measure": "false_alarm_rate", "share": 0.04},
    {"image_set": "noise", "group": "far", "measure": "detection_rate", "share": 0.5},
    {"image_set": "other", "group": "near", "measure": "detection_rate", "share": 0.75},
    *({"image_set": "x", "measure": "detection_rate", "share": 1, **key}
      for key in ({"detector": "knn"}, {"seed": 1}, {"mining": "frequency"})),
    share_low=0.03, share_high=0.06, asked_rate=0.05, n_calibration=1200,
).fillna({"detector": "mcm"}).assign(negatives="none")  # fmt: skip


def test_a_study_with_ood_sets_says_what_it_shows_and_how_well_it_tells_them():
    tables = StudyTables(cluster_names=CLUSTERS, label_quality=QUALITY, comparison=COMPARISON)
    assert headline(STUDY, tables) == [
        "1,600 images of photos make 3 clusters (km) with 2 names (1 of the 3 class names).",
        "Most frequent, with images: dog (1,200), <b>*cat*</b> (400).",
        "Best AUROC of 3 choices without labels: 85.0 % (83.0 to 86.0) ± 1.5 over 3 seeds, "
        "neglabel with rest, names of clustermine; the one that decides: 70.0 % (68.0 to 71.0), "
        "mcm, names of clustermine.",
        "In brackets: 95 % intervals over images; 3 seeds are too few for an interval over seeds; "
        "against truth: -5.0 points (-5.0 to 3.0).",
    ]


def test_the_spread_over_seeds_of_what_decides_is_said_where_another_is_the_best():
    five = {"seeds": 5, "auroc_std": 0.016, "total_low": 0.66, "total_high": 0.74}
    table = rows(compared("frequency", "mcm", 0.72), compared("clustermine", "mcm", 0.7, **five))
    best, certain = headline(STUDY, StudyTables(comparison=table))
    assert best.endswith("70.0 % (68.0 to 71.0) ± 1.6 over 5 seeds, mcm, names of clustermine.")
    assert "seeds" not in certain
    _, certain = headline(STUDY, StudyTables(comparison=table[1:]))
    assert "; over images and seeds: 66.0 to 74.0; " in certain


def test_choices_without_values_are_left_out_and_said():
    reason = "66 negatives for 100 groups"
    failed = compared("clustermine", "neglabel", np.nan, negatives="rest", seeds=0, reason=reason)
    both = rows(compared("clustermine", "mcm", 0.7), failed)
    found = headline(STUDY, StudyTables(comparison=both))
    assert found[0].startswith("AUROC without labels: 70.0 %")
    assert found[-1] == (
        "1 of 2 choices lack values, first neglabel with rest with names of clustermine "
        f"({reason})."
    )
    assert headline(STUDY, StudyTables(comparison=rows(failed)))[0].startswith("1 of 1 choices")
    some = compared("none", "knn", 0.7, seeds=4, reason="5 images for k = 10")
    assert headline(STUDY, StudyTables(comparison=rows(some)))[-1] == (
        "1 of 1 choices lack values of some seeds or all, first knn (5 images for k = 10)."
    )


def test_clusters_without_images_do_not_count():
    empty = CLUSTERS.iloc[:1].assign(cluster=99, size=0, name=None)
    tables = StudyTables(cluster_names=pd.concat([CLUSTERS, empty], ignore_index=True))
    found = headline(STUDY, tables)
    assert found[0] == "1,600 images of photos make 3 clusters (km) with 2 names."


def test_five_seeds_without_a_bootstrap_are_not_called_few():
    table = rows(compared("clustermine", "adaneg", 0.7, seeds=5, auroc_std=0.01))
    assert "too few" not in " ".join(headline(STUDY, StudyTables(comparison=table)))
    assert "too few" in " ".join(headline(STUDY, StudyTables(comparison=table.assign(seeds=4))))


def test_flags_that_tell_id_and_ood_images_apart_badly_are_said():
    sets = [("test", "test", 0.7, None), ("noise", "far", 0.6, "nearly"), ("a", "near", 0.1, None)]
    table = pd.DataFrame(sets, columns=["image_set", "group", "share", "note"]).assign(study="s")
    assert headline(STUDY, StudyTables(contamination=table))[-1] == (
        "The rule for ID content flags 60.0 % of noise, of test 70.0 %: rows without flagged "
        "images say little."
    )


def test_a_study_without_bootstrap_or_reference_states_no_interval():
    plain = COMPARISON.assign(auroc_low=np.nan, auroc_high=np.nan, seeds=1, difference=np.nan)
    found = headline(STUDY, StudyTables(comparison=plain[:2]))
    assert found == ["AUROC without labels: 70.0 %, mcm, names of clustermine."]


def test_a_calibrated_study_says_what_it_flags_by_the_detector_that_decides():
    found = headline(STUDY, StudyTables(decisions=DECISIONS, comparison=COMPARISON))
    assert found == [
        "Flagged as not belonging, by the detector mcm: 75.0 % of other, 50.0 % of noise.",
        "At most 5 % false alarms were asked for, set on 1,200 held-out images; of test, which "
        "should belong, 4.0 % (3.0 to 6.0) are "
        "flagged.",
    ]


def test_what_would_have_decided_is_said_with_the_reason_why_it_does_not():
    few = {"detector": "neglabel", "negatives": "rest", "reason": "8 negatives for 100 groups"}
    study = STUDY | {"passed_over": [few]}
    assert headline(study, StudyTables(decisions=DECISIONS))[-1] == (
        "Neglabel with rest cannot decide (8 negatives for 100 groups); mcm decides instead."
    )


def test_incoming_images_are_no_false_alarms():
    """Without OOD sets nobody says that the test set is in-distribution."""
    study = STUDY | {"decide_by": {"detector": "mcm", "negatives": "none"}, "oracles": []}
    assert headline(study, StudyTables(decisions=DECISIONS[:1])) == [
        "Flagged as not belonging, by the detector mcm: 4.0 % of test.",
        "At most 5 % false alarms were asked for, set on 1,200 held-out images.",
    ]


def test_too_few_held_out_images_are_said_in_place_of_flags_that_cannot_be():
    few = DECISIONS.assign(n_calibration=18, share=0.0)
    assert headline(STUDY, StudyTables(decisions=few)) == [
        "At most 5 % false alarms were asked for, set on 18 held-out images: too few to flag any "
        "image, which takes 19.",
    ]
    enough = headline(STUDY, StudyTables(decisions=few.assign(n_calibration=19)))
    assert enough[0].startswith("Flagged as not belonging, by the detector mcm: 0.0 % of noise")


def test_many_sets_are_counted():
    sets = [DECISIONS[1:2].assign(image_set=f"set{i}", share=i / 10) for i in range(8)]
    first = headline(STUDY, StudyTables(decisions=pd.concat(sets)))[0]
    assert first.startswith("Flagged as not belonging, by the detector mcm: 70.0 % of set7, ")
    assert first.endswith("30.0 % of set3 and 3 more.")


def test_an_unlabelled_study_says_nothing_of_labels():
    unknown = QUALITY.assign(exact_matches=np.nan, true_names=np.nan, coverage=np.nan)
    unknown["true_names_in_corpus"] = np.nan
    tables = StudyTables(cluster_names=CLUSTERS, label_quality=unknown)
    found = headline(STUDY, tables)
    assert found[0] == "1,600 images of photos make 3 clusters (km) with 2 names."
    assert found[2:] == ["Images are ranked, none is flagged."]
    assert headline(STUDY, StudyTables()) == ["Images are ranked, none is flagged."]


def test_names_without_clusters_and_clusters_without_names():
    place = ("e", "none", "frequency", 0)
    study = STUDY | {"places": [place]}
    mined = rows({"concept": "dog", "votes": 3}, {"concept": "cat", "votes": 1200},
                 mining="frequency", clustering="none")  # fmt: skip
    found = headline(study, StudyTables(concepts=mined, cluster_names=CLUSTERS))
    assert found[:2] == [
        "frequency finds 2 names in photos.",
        "Most frequent, with images: cat (1,200), dog (3).",
    ]
    unnamed = rows({"image_set": "photos", "used_clusters": 7})
    images = STUDY | {"places": [("e", "km", "none", 0)]}
    assert headline(images, StudyTables(clustering=unnamed))[0] == "photos has 7 clusters (km)."
    # Of a study that is sorted without clusters and names, the first clustering is shown.
    found = headline(
        STUDY | {"places": [("e", "none", "none", 0)]}, StudyTables(cluster_names=CLUSTERS)
    )
    assert found[0].startswith("1,600 images of photos make 3 clusters")


@pytest.mark.parametrize(
    ("oracles", "subject"), [(["truth"], "the oracle covers"), ([], "the corpus has")]
)
def test_the_last_sentence_says_what_the_numbers_rest_on(oracles, subject):
    lost = pd.DataFrame({"image_set": "photos", "image_id": ["a", "a", "b", "c"]})
    pairs = [("test", "x", "photos"), ("test", "x", "photos"), ("photos", "y", "photos")]
    pairs = [("exact", *pair) for pair in pairs] + [("near", "odd", "x", "test")]
    tables = StudyTables(
        quarantine=lost.assign(lost=[True, True, True, False]),
        images={"photos": 1600},
        duplicates=pd.DataFrame(pairs, columns=["kind", "image_set", "image_id", "other_set"]),
        label_quality=QUALITY.assign(true_names_in_corpus=2),
    )
    assert headline(STUDY | {"oracles": oracles}, tables)[-1] == (
        "2 of 1,600 images of photos could not be used; the same files in two sets make the "
        f"numbers too good: 1 of test and photos; near copies in two sets: 1 of odd and test; "
        f"{subject} 2 of 3 true names."
    )
    assert len(headline(STUDY, tables)) <= 5


def test_tables_of_a_study_are_its_own():
    lost = pd.DataFrame({"image_set": ["photos", "strange"], "image_id": "a", "lost": True})
    both = pd.concat([CLUSTERS, CLUSTERS.assign(study="other")])
    tables = StudyTables(cluster_names=both, quarantine=lost, images={"photos": 2, "strange": 1})
    own = of_study(tables, "s", ["photos"])
    assert own.cluster_names["study"].tolist() == ["s"] * 3
    assert own.quarantine["image_set"].tolist() == ["photos"] and own.images == {"photos": 2}
    assert own.decisions.empty


# ---- the page ------------------------------------------------------------------------------------


def mean(mining, detector, auroc, **more):
    row = {"study": "s", "encoder": "e", "clustering": "km", "negatives": "none", "mining": mining}
    return row | {"detector": detector, "auroc": auroc} | more


MEANS = [
    mean("truth", "mcm", 0.9),
    mean("clustermine", "mcm", 0.71),
    mean("clustermine", "mcm", 0.7, clustering="temi"),
    mean("frequency", "mcm", 0.6),
    mean("clustermine", "neglabel", 0.8, negatives="rest"),
    mean("clustermine", "neglabel", 0.85, negatives="far"),
    mean("frequency", "neglabel", 0.86, negatives="rest"),
    mean("none", "knn", 0.5),
]


SCORES = {"study": "s", "columns": {"mcm": STUDY["decide_by"]}, "missing": []}


@pytest.fixture
def page(tmp_path):
    """The lines of the summary of one study with these tables; checks that they are narrow."""

    def write(means, cfg=None, **tables):
        empty = pd.DataFrame({"image_set": [], "image_id": [], "lost": []})
        write_frame(tmp_path / "quarantine.parquet", empty, {"images": {"photos": 3}})
        tables |= {"means": pd.DataFrame(means, columns=list(MEANS[0]))}
        for name, frame in tables.items():
            write_frame(tmp_path / f"{name}.parquet", frame)
        paths = {name: tmp_path / f"{name}.parquet" for name in ("quarantine", *tables)}
        made = {"tables": ["means", "ood"], "outliers": [], "figures": {}, "pages": []}
        cfg = {"studies": {"s": STUDY}} | made | (cfg or {})
        write_frame(tmp_path / "scores.parquet", empty, SCORES)
        summarise(
            paths | {"scores": [tmp_path / "scores.parquet"]},
            cfg,
            tmp_path / "s.md",
            tmp_path / "s.html",
        )
        lines = (tmp_path / "s.md").read_text().splitlines()
        assert max(map(len, lines)) <= 100
        return lines

    return write


def test_the_table_has_the_best_choices_and_marks_the_best_without_labels(page):
    lines = page(MEANS)
    start = lines.index("names of    |   mcm | neglabel")
    assert lines[start + 1 : start + 6] == [
        "----------- | ----: | -------:",
        "truth       | 90.0  |",
        "clustermine | 71.0* |    85.0",
        "frequency   | 60.0  |    86.0*",
        "",
    ]
    assert "- AUROC, without names: knn 50.0." in lines


def test_encoders_are_told_apart_and_a_single_row_is_a_sentence(page):
    lines = page([*MEANS, mean("clustermine", "mcm", 0.95, encoder="f")])
    assert any(line.startswith("clustermine, f | 95.0*") for line in lines)
    lines = page([MEANS[1], MEANS[4]])
    assert "- AUROC, names of clustermine: mcm 71.0, neglabel 80.0." in lines
    assert not any("|" in line for line in lines)


def test_a_wide_table_is_split():
    columns = [[f"detector_{i:02}", "99.9*"] for i in range(20)]
    lines = narrow(["names of", "clustermine"], columns)
    assert max(map(len, lines)) <= 100
    heads = [line.split(" | ") for line in lines if line.startswith("names of")]
    assert [name for head in heads for name in head[1:]] == [name for name, _ in columns]
    assert sum(line.startswith("clustermine") for line in lines) == len(heads) > 1


def test_names_are_escaped_and_only_files_of_the_run_are_named(page):
    text = "\n".join(page(MEANS, cluster_names=CLUSTERS))
    assert r"&lt;b&gt;\*cat\*&lt;/b&gt; (400)" in text
    look = text.split("## Where to look")[1]
    assert "means, ood" in look and "explore" not in look and "figures" not in look
    made = {"pages": ["results/explore/s/index.html"], "outliers": ["results/outliers/s/*.csv"]}
    look = "\n".join(page(MEANS, made | {"figures": {"results/figures/*.svg": "AUROC"}}))
    for part in ("results/explore/s/index.html", "results/outliers/s/*.csv", "*.svg: AUROC"):
        assert part in look


def test_a_study_without_ood_sets_has_a_page(page):
    lines = page([], cluster_names=CLUSTERS)
    assert "AUROC" not in "\n".join(lines) and "nan" not in "\n".join(lines)
    assert "- 1,600 images of photos make 3 clusters (km) with 2 names." in lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("kmeans_60 of\nx", "kmeans_60 of x"),
        ("_a_ & b", r"\_a\_ &amp; b"),
        ("[x](`y`)", r"[x\](\`y\`)"),
    ],
)
def test_no_mark_of_a_name_has_a_meaning(text, shown):
    assert markdown_text(text) == shown


def test_latex_is_escaped_and_rounded(tmp_path):
    frame = pd.DataFrame({"a_b": ["50 % & $x$", None], "n": [1, 2], "x": [0.12345, np.nan]})
    write_latex(tmp_path / "t.tex", frame)
    assert (tmp_path / "t.tex").read_text().splitlines() == [
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"a\_b & n & x \\",
        r"\midrule",
        r"50 \% \& \$x\$ & 1 & 0.123 \\",
        r" & 2 &  \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_small_sets_are_told_with_the_width_of_an_interval():
    """Of 5 of 10 images: 1.96 / sqrt(10 + 1.96^2) = 0.527, by hand."""
    found = headline(STUDY, StudyTables(images={"incoming": 10, "photos": 93, "many": 9999}))
    assert found[-1] == (
        "Intervals of 95 % for a share of a small set are wide: incoming (10 images, 53 points)."
    )
