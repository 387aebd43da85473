"""The evaluation scripts: rows, labels and flags are found by name, never by position."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from workflow_scripts import evaluate_ood as evaluate_script
from workflow_scripts import plot_ood
from workflow_scripts.evaluate_clustering import evaluate_clustering
from workflow_scripts.evaluate_concepts import evaluate_concepts
from workflow_scripts.evaluate_ood import COLUMNS, evaluate_ood
from workflow_scripts.lib.artifacts import write_table
from workflow_scripts.lib.detection.metrics import ood_metrics
from workflow_scripts.lib.errors import InputError
from workflow_scripts.tabulate_means import against, tabulate_means
from workflow_scripts.write_table import write_table as write_report

CFG = {"test": "test", "near": ["a"], "far": ["b"], "shift": [], "resamples": 50}
CFG |= {"reference": "truth", "groups": {}, "ood_parts": {}, "label_names": []}
SIZES = {"test": 40, "a": 30, "b": 25, "blur": 35}


def scores(path, image_sets, values, **meta):
    """A score file of one detector; image ids count within their set."""
    meta = {"encoder": "e", "clustering": "none", "mining": "m", "seed": 0, "study": "s"} | meta
    meta |= {"method": "ground_truth" if meta["mining"] == "truth" else "x", "n_positives": 3}
    meta |= {"columns": {"mcm": {"detector": "mcm", "negatives": "none"}}}
    ids = [str(image_sets[:i].count(name)) for i, name in enumerate(image_sets)]
    columns = {"image_set": pa.array(image_sets).dictionary_encode(), "image_id": ids}
    write_table(path, columns | {"mcm": np.asarray(values, np.float32)}, meta)
    return path


@pytest.fixture
def study(tmp_path):
    """Score files of an oracle and of a mining with two seeds, their image sets interleaved."""
    rng = np.random.default_rng(0)
    image_sets = rng.permutation(np.repeat(list(SIZES), list(SIZES.values()))).tolist()
    true = np.array([{"test": 2, "blur": 1}.get(name, 0) for name in image_sets])
    paths = []
    for mining, seed, noise in (("truth", 0, 1), ("mined", 0, 1.5), ("mined", 1, 1.5)):
        values = true + rng.normal(0, noise, len(true))
        path = tmp_path / f"{mining}{seed}.parquet"
        paths.append(scores(path, image_sets, values, mining=mining, seed=seed))
    return paths


def run(paths, folder, flags=(), inputs=(), **cfg):
    """The tables that evaluate_ood writes; inputs: those beside scores and flags."""
    outputs = folder / "ood.parquet", folder / "comparison.parquet"
    names = ("groups", "negatives", "ood_index", "label_names", "trees")
    inputs = dict.fromkeys(names, ()) | dict(inputs)
    evaluate_ood(SimpleNamespace(scores=paths, flags=flags, **inputs), CFG | cfg, *outputs)
    return [pd.read_parquet(path) for path in outputs]


def write_flags(path, flagged, missing=()):
    """flagged: image set -> numbers of its flagged images."""
    rows = [(name, i) for name in ("test", "a", "b") for i in range(SIZES[name])]
    frame = pd.DataFrame([row for row in rows if row not in missing], columns=["image_set", "id"])
    pairs = zip(frame["image_set"], frame["id"], strict=True)
    frame["flagged"] = [number in flagged.get(name, ()) for name, number in pairs]
    frame["image_id"] = frame["id"].astype(str)
    frame.to_parquet(path)
    return path


def test_ood_table_follows_from_the_score_files(study, tmp_path):
    ood, comparison = run(study, tmp_path, shift=["blur"])
    assert list(ood.columns) == COLUMNS
    assert len(ood) == 3 * (5 + 5 + 3 + 5)
    table = pd.read_parquet(study[2])
    value = {name: rows["mcm"] for name, rows in table.groupby("image_set", observed=True)}
    row = ood.query("mining == 'mined' and seed == 1 and id_set == '(all)' and ood_set == 'b'")
    pooled = np.concatenate([value["test"], value["blur"]])
    truth = np.repeat([1, 0], [len(pooled), len(value["b"])])
    expected = roc_auc_score(truth, np.concatenate([pooled, value["b"]]))
    assert row["auroc"].item() == pytest.approx(expected)
    assert row[["condition", "ood_group", "images", "n_id"]].iloc[0].tolist() == [
        *("full_spectrum", "far", "all", 75)
    ]
    assert (ood["auroc_low"] <= ood["auroc"]).all()
    assert (ood["auroc"] <= ood["auroc_high"]).all()
    assert (ood.query("mining == 'truth'")[["auroc_minus_oracle"]] == 0).all(axis=None)
    assert (ood.query("mining == 'truth'")["p_value"] == 1).all()
    assert (ood.query("mining == 'mined'")["p_value"] < 1).any()
    assert len(comparison) == 2 * 9
    means = ood.query("ood_set == '(mean)' and ood_group == 'all' and condition == 'clean'")
    means = means.groupby("mining")["auroc"].mean()
    clean = comparison.query("condition == 'clean' and ood_group == 'all'").set_index("mining")
    assert clean["seeds"].to_dict() == {"truth": 1, "mined": 2}
    assert clean.loc["mined", "auroc"] == pytest.approx(means["mined"])
    difference = clean.loc["mined", "difference"]
    assert difference == pytest.approx(means["mined"] - means["truth"])
    assert clean.loc["mined", "difference_low"] < difference < clean.loc["mined", "difference_high"]


def test_same_files_give_the_same_bytes_and_order_does_not_matter_for_a_row(study, tmp_path):
    for name in "xy":
        (tmp_path / name).mkdir()
    ood, _ = run(study, tmp_path / "x")
    run(study, tmp_path / "y")
    for name in ("ood.parquet", "comparison.parquet"):
        assert (tmp_path / "x" / name).read_bytes() == (tmp_path / "y" / name).read_bytes()
    other, _ = run(study[::-1], tmp_path / "y")
    keys = ["mining", "seed", "ood_set", "ood_group"]
    one, two = (frame.sort_values(keys, ignore_index=True) for frame in (ood, other))
    pd.testing.assert_frame_equal(one, two)


def test_resamples_that_are_drawn_part_by_part_give_the_same_bytes(study, tmp_path, monkeypatch):
    flags = write_flags(tmp_path / "flags.parquet", {"a": [1, 2]})
    results = []
    for held in (evaluate_script.HELD, 7 * sum(SIZES.values())):
        monkeypatch.setattr(evaluate_script, "HELD", held)
        folder = tmp_path / str(held)
        run(study, folder, flags, shift=["blur"], resamples=40)
        results.append(
            [(folder / f"{name}.parquet").read_bytes() for name in ("ood", "comparison")]
        )
    assert results[0] == results[1]


def test_flagged_images_are_left_out_of_rows_of_their_own(study, tmp_path):
    flags = write_flags(tmp_path / "flags.parquet", {"a": {0, 3}, "test": {1}})
    ood, comparison = run(study, tmp_path, flags, shift=["blur"])
    plain, same = run(study, tmp_path, shift=["blur"])
    pd.testing.assert_frame_equal(
        ood[ood["images"] == "all"].reset_index(drop=True), plain, check_exact=True
    )
    pd.testing.assert_frame_equal(comparison, same, check_exact=True)
    left = ood[(ood["images"] == "unflagged") & (ood["mining"] == "truth")].set_index("ood_set")
    assert set(left["condition"]) == {"clean"}
    assert (left["n_id"] == SIZES["test"]).all(), "flags of the ID set change nothing"
    table = pd.read_parquet(study[0]).set_index("image_set")
    kept = table.loc["a"][~table.loc["a", "image_id"].isin(["0", "3"])]
    expected = ood_metrics(table.loc["test", "mcm"], kept["mcm"])
    assert left.loc["a", "n_ood"] == 28
    for metric in ("auroc", "fpr95", "aupr_out"):
        assert left.loc["a", metric] == pytest.approx(expected[metric])
    # A set without flagged images is the same sample, resamples and all.
    all_b = plain[(plain["mining"] == "truth") & (plain["ood_set"] == "b")].iloc[0]
    for column in ("auroc", "auroc_low", "fpr95_high"):
        assert left.loc["b", column] == all_b[column]
    mean = left[left["ood_group"] == "all"]
    assert mean["auroc"].item() == pytest.approx((left.loc["a", "auroc"] + all_b["auroc"]) / 2)
    assert mean["n_ood"].item() == 28 + 25


def test_a_set_of_flagged_images_only_has_no_unflagged_row(study, tmp_path, caplog):
    flags = write_flags(tmp_path / "flags.parquet", {"b": range(25)})
    ood, _ = run(study, tmp_path, flags)
    left = ood[(ood["images"] == "unflagged") & (ood["mining"] == "truth")]
    assert left[["ood_set", "ood_group"]].to_numpy().tolist() == [
        *(["a", "near"], ["(mean)", "near"], ["(mean)", "all"])
    ]
    assert "all images of b are flagged" in caplog.text


def test_images_without_a_flag_are_an_input_error(study, tmp_path):
    flags = write_flags(tmp_path / "flags.parquet", {}, missing={("b", 7)})
    with pytest.raises(InputError, match=r"1 of 25 images of b have no flag, e\.g\. 7"):
        run(study, tmp_path, flags)


def test_studies_without_ood_sets_bootstrap_or_reference(study, tmp_path):
    for table in run(study, tmp_path, near=[], far=[], shift=["blur"]):
        assert table.empty
        assert "auroc" in table
    ood, comparison = run(study, tmp_path, resamples=0, reference=None)
    assert ood["auroc"].notna().all()
    assert ood[["auroc_low", "p_value"]].isna().all(axis=None)
    assert comparison[["difference", "auroc_low"]].isna().all(axis=None)


def test_image_set_without_images_is_an_input_error(tmp_path):
    path = scores(tmp_path / "scores.parquet", ["test", "test", "a"], [0, 1, 2])
    with pytest.raises(InputError, match="no out-of-distribution scores"):
        run([path], tmp_path, far=["gone"])
    with pytest.raises(InputError, match="no in-distribution scores"):
        run([path], tmp_path, far=[], test="gone", resamples=0)


def test_rows_of_shifted_copies_are_drawn_with_the_test_images(tmp_path):
    """`blur` has the test set's ids and scores, so every interval of the two is the same."""
    rng = np.random.default_rng(0)
    own = {"test": rng.normal(1, 1, 40), "a": rng.normal(0, 1, 30), "b": rng.normal(0, 1, 25)}
    own["blur"] = own["test"]
    names = [name for name, values in own.items() for _ in values]
    path = scores(tmp_path / "scores.parquet", names, np.concatenate(list(own.values())))
    ood, _ = run([path], tmp_path, shift=["blur"])
    limits = ["auroc_low", "auroc_high", "fpr95_low", "fpr95_high"]
    by_row = ood.set_index(["id_set", "ood_set", "ood_group"])[limits]
    pd.testing.assert_frame_equal(by_row.loc["test"], by_row.loc["blur"])
    for id_set in ("(mean)", "(all)"):
        found = by_row.loc[id_set]["auroc_low"]
        clean = by_row.loc["test"]["auroc_low"].reindex(found.index)
        assert np.allclose(found, clean), "copies tell nothing new"


def test_groups_widen_intervals(tmp_path):
    """Ten copies of each of 12 scores: groups tell that these are 12, not 120."""
    rng = np.random.default_rng(0)
    names = np.repeat(["test", "a"], 120).tolist()
    values = np.r_[np.repeat(rng.normal(1, 1, 12), 10), np.repeat(rng.normal(0, 1, 12), 10)]
    path = scores(tmp_path / "scores.parquet", names, values)
    table = tmp_path / "groups.csv"
    rows = "".join(f"{i},{i // 10}\n" for i in range(120))
    table.write_text(f"image_id,group\n{rows}")
    block = {"folder": False, "image_id": "image_id", "group": "group"}
    cfg = {"far": [], "resamples": 400}
    plain, _ = run([path], tmp_path, **cfg)
    groups = {"groups": {"test": block, "a": block}}
    grouped, _ = run([path], tmp_path, inputs={"groups": [table, table]}, **cfg, **groups)
    width, wide = (f["auroc_high"].iloc[0] - f["auroc_low"].iloc[0] for f in (plain, grouped))
    assert wide / width > 2
    assert grouped["auroc"].equals(plain["auroc"])


FAILED = {"detector": "neglabel", "negatives": "few", "reason": "2 negatives for 6 groups"}


def with_second_detector(path, **meta):
    """Write a score file anew, with scores of a second detector if meta has its column."""
    table = pd.read_parquet(path)
    shared = {"encoder": "e", "clustering": "none", "mining": "mined", "study": "s", "method": "x"}
    columns = {"mcm": {"detector": "mcm", "negatives": "none"}} | meta.pop("columns", {})
    values = {name: table["mcm"].to_numpy() for name in columns}
    ids = {"image_set": pa.array(table["image_set"].astype(str)).dictionary_encode()}
    ids |= {"image_id": table["image_id"].tolist()}
    write_table(path, ids | values, shared | {"n_positives": 3, "columns": columns} | meta)


@pytest.fixture
def with_a_failure(study, tmp_path):
    """The study, with a detector that scores with one of two seeds; inputs and config that tell the
    names of its negatives and of the classes of `a`."""
    with_second_detector(study[1], seed=0, missing=[FAILED])
    names = {key: FAILED[key] for key in ("detector", "negatives")}
    with_second_detector(study[2], seed=1, columns={"n": names})
    meta = {"encoder": "e", "clustering": "none", "mining": "mined", "seed": 1}
    negatives = {"negatives": ["few"] * 2, "concept": ["cat", "sky"]}
    write_table(tmp_path / "negatives.parquet", negatives, meta)
    write_table(tmp_path / "a.parquet", {"label": ["Cat"]})
    write_table(tmp_path / "b.parquet", {"label": pa.array([None], pa.string())})
    inputs = {"negatives": [tmp_path / "negatives.parquet"]}
    inputs |= {"ood_index": [tmp_path / f"{name}.parquet" for name in "ab"]}
    return {"inputs": inputs, "ood_parts": {"a": 1, "b": 1}, "label_names": [None, None]}


def test_a_detector_that_could_not_score_has_rows_with_the_reason(study, tmp_path, with_a_failure):
    ood, comparison = run(study, tmp_path, **with_a_failure)
    new = ood[ood["detector"] == "neglabel"]
    failed, scored = new[new["seed"] == 0], new[new["seed"] == 1]
    unknown = ["auroc", "auroc_low", "p_value", "n_id", "n_negatives", "name_leak"]
    assert failed[unknown].isna().all(axis=None)
    assert set(failed["reason"]) == {FAILED["reason"]} and scored["reason"].isna().all()
    assert len(failed) == len(scored) == 5
    row = comparison[(comparison["detector"] == "neglabel") & (comparison["ood_group"] == "all")]
    row = row.iloc[0]
    assert (row["seeds"], row["reason"]) == (1, FAILED["reason"])
    mean = scored[scored["ood_set"].eq("(mean)") & scored["ood_group"].eq("all")]
    assert row["auroc"] == mean["auroc"].item()
    exact, _, text = means(tmp_path)
    assert "Without a value, in some seeds or all: neglabel with few of mined, e: 2 neg" in text
    assert exact[exact["detector"] == "neglabel"]["seeds"].tolist() == [1]


def test_the_other_rows_do_not_depend_on_a_detector_that_could_not_score(
    study, tmp_path, with_a_failure
):
    ood, comparison = run(study, tmp_path, **with_a_failure)
    for path, seed in zip(study[1:], (0, 1), strict=True):
        with_second_detector(path, seed=seed)
    tables = run(study, tmp_path, **with_a_failure)
    for found, plain in zip((ood, comparison), tables, strict=True):
        found = found[found["detector"] == "mcm"].reset_index(drop=True)
        shown = [name for name in plain if name != "p_holm"]
        pd.testing.assert_frame_equal(found[shown], plain[shown], check_dtype=False)


def test_readable_tables_have_reasons_only_where_there_are_any(study, tmp_path, with_a_failure):
    paths = [tmp_path / f"table.{ending}" for ending in ("parquet", "csv", "md", "html", "tex")]
    for files, shown in ((study, True), (study[:1], False)):
        run(files, tmp_path, **with_a_failure)
        for name in ("ood", "comparison"):
            write_report([tmp_path / f"{name}.parquet"], name, *paths)
            text = paths[2].read_text()
            assert (FAILED["reason"] in text) == (" reason " in text) == shown
            assert "reason" in pd.read_csv(paths[1])


def test_rows_without_a_value_in_any_seed_stay(study, tmp_path, with_a_failure):
    run(study[:2], tmp_path, **with_a_failure)
    exact, *_ = means(tmp_path)
    row = exact[exact["detector"] == "neglabel"].iloc[0]
    assert (row["reason"], row["seeds"]) == (FAILED["reason"], 0)
    assert row[["auroc", "fpr95_low", "difference", "name_leak"]].isna().all()


def test_negatives_that_name_classes_of_ood_sets_are_counted(study, tmp_path, with_a_failure):
    ood, comparison = run(study, tmp_path, **with_a_failure)
    rows = ood[(ood["detector"] == "neglabel") & ood["reason"].isna()]
    assert set(rows["n_negatives"]) == {2}
    leak = rows.set_index(["ood_set", "ood_group"])["name_leak"]
    assert leak["a", "near"] == leak["(mean)", "all"] == 1
    assert pd.isna(leak["b", "far"]), "its classes are unknown"
    assert ood.loc[ood["detector"] == "mcm", ["n_negatives", "name_leak"]].isna().all(axis=None)
    row = comparison[(comparison["detector"] == "neglabel") & (comparison["ood_group"] == "all")]
    assert row["name_leak"].tolist() == [1]
    _, _, text = means(tmp_path)
    assert "| name leak" in text


# ---- what people read ----------------------------------------------------------------------------


def quality_of(**figures):
    """A table of label quality for the lists of positives of a study."""
    rows = [("none", "truth", 0), ("none", "mined", 0), ("none", "mined", 1)]
    frame = pd.DataFrame(rows, columns=["clustering", "mining", "seed"])
    figures = {"n_positives": 3, "exact_match_rate": 0.5, "coverage": 0.25} | figures
    return frame.assign(**({"study": "s", "encoder": "e", "true_names": 4} | figures))


def means(folder, **figures):
    """(Parquet, cells of the Markdown by mining, text of the Markdown) of tabulate_means."""
    quality = quality_of(**({"true_names_in_corpus": 4} | figures))
    quality.to_parquet(folder / "label_quality.parquet")
    names = ("ood", "comparison", "label_quality")
    inputs = SimpleNamespace(**{name: folder / f"{name}.parquet" for name in names})
    paths = [folder / f"means.{ending}" for ending in ("parquet", "csv", "md", "html", "tex")]
    tabulate_means(inputs, *paths)
    text = paths[2].read_text()
    lines = [[cell.strip() for cell in line.split("|")] for line in text.splitlines()]
    head = next(line for line in lines if "auroc" in line)
    cells = {line[head.index("mining")]: dict(zip(head, line, strict=True)) for line in lines
             if len(line) == len(head) and "e" in line}  # fmt: skip
    return pd.read_parquet(paths[0]).set_index("mining"), cells, text


def test_means_by_condition_and_the_difference_to_the_reference(study, tmp_path):
    flags = write_flags(tmp_path / "flags.parquet", {"a": {0}})
    ood, comparison = run(study, tmp_path, flags, shift=["blur"], resamples=200)
    exact, shown, text = means(tmp_path)
    cells = {
        "auroc": ("clean", "all", "all"),
        "near": ("clean", "near", "all"),
        "unflagged": ("clean", "all", "unflagged"),
        "shifted": ("shifted", "all", "all"),
        "full spectrum": ("full_spectrum", "all", "all"),
    }
    for mining in ("truth", "mined"):
        for name, (condition, group, images) in cells.items():
            rows = ood[(ood["mining"] == mining) & (ood["ood_set"] == "(mean)")]
            rows = rows[(rows["condition"] == condition) & (rows["ood_group"] == group)]
            rows = rows[(rows["images"] == images) & (rows["id_set"] != "blur")]
            expected = rows["auroc"].mean()
            assert shown[mining][name] == f"{100 * expected:.1f}", name
            assert exact.loc[mining, name.replace(" ", "_")] == pytest.approx(expected), name
    row = comparison.query(
        "mining == 'mined' and condition == 'clean' and ood_group == 'all'"
    ).iloc[0]
    low, high = 100 * row["difference_low"], 100 * row["difference_high"]
    expected = f"{100 * row['difference']:+.1f} [{low:.1f}, {high:.1f}]"
    assert shown["mined"]["vs truth"].endswith(expected)
    assert shown["truth"]["vs truth"] == "reference"
    assert "over seeds" not in shown["mined"], "two seeds tell no spread"
    assert shown["mined"]["fpr95"].endswith(
        f"[{100 * row['fpr95_low']:.1f}, {100 * row['fpr95_high']:.1f}]"
    )
    assert shown["mined"]["found"] == "25.0"
    difference = exact.loc["mined", "auroc"] - exact.loc["truth", "auroc"]
    assert exact.loc["mined", "to_oracle"] == pytest.approx(difference)
    assert "The oracle covers" not in text
    tex = (tmp_path / "means.tex").read_text()
    assert tex.count("mined &") == 1 and "\\toprule" in tex


def test_an_oracle_that_lacks_names_is_nothing_to_compare_with(study, tmp_path):
    run(study, tmp_path)
    exact, shown, text = means(tmp_path, true_names=7)
    assert exact["to_oracle"].isna().all()
    assert exact["auroc"].notna().all()
    assert "to oracle" not in shown["mined"]
    assert "The oracle covers 4 of 7 names" in text


def test_a_study_without_ood_sets_has_no_means(study, tmp_path):
    run(study, tmp_path, near=[], far=[])
    quality_of(true_names_in_corpus=4).to_parquet(tmp_path / "label_quality.parquet")
    names = ("ood", "comparison", "label_quality")
    inputs = SimpleNamespace(**{name: tmp_path / f"{name}.parquet" for name in names})
    paths = [tmp_path / f"means.{ending}" for ending in ("parquet", "csv", "md", "html", "tex")]
    tabulate_means(inputs, *paths)
    assert pd.read_parquet(paths[0]).empty and "auroc" in pd.read_csv(paths[1])
    inputs.label_quality = []
    tabulate_means(inputs, *paths)
    assert pd.read_parquet(paths[0]).empty


@pytest.mark.parametrize(
    ("difference", "text"),
    [
        ((0.02, 0.01, 0.03), "higher +2.0 [1.0, 3.0]"),
        ((-0.02, -0.03, -0.01), "lower -2.0 [-3.0, -1.0]"),
        ((-0.02, -0.05, 0.01), "within -2.0 [-5.0, 1.0]"),
        ((-0.02, np.nan, np.nan), "-2.0"),
        ((np.nan, np.nan, np.nan), ""),
    ],
)
def test_means_say_whether_the_interval_leaves_out_the_reference(difference, text):
    row = dict(zip(("difference", "difference_low", "difference_high"), difference, strict=True))
    assert against(SimpleNamespace(mining="mined", reference="truth", **row)) == text


def test_readable_tables_leave_out_pairs_of_shifted_and_ood_sets(study, tmp_path):
    flags = write_flags(tmp_path / "flags.parquet", {"a": {0}})
    ood, _ = run(study, tmp_path, flags, shift=["blur"])
    paths = [tmp_path / f"table.{ending}" for ending in ("parquet", "csv", "md", "html", "tex")]
    write_report([tmp_path / "ood.parquet"], "ood", *paths)
    assert len(pd.read_parquet(paths[0])) == len(pd.read_csv(paths[1])) == len(ood)
    lines = paths[2].read_text().splitlines()[4:]
    # Clean 5, unflagged 5, blur 1, shifted mean 3, full spectrum 3; a mining's seeds are one row.
    assert len(lines) == 2 * (5 + 5 + 1 + 3 + 3)
    for line in lines:
        assert "(mean)" in line or " clean " in line
    write_report([tmp_path / "comparison.parquet"], "comparison", *paths)
    assert len(paths[2].read_text().splitlines()[4:]) == 2 * (3 + 1 + 1)
    assert "difference_low" in paths[2].read_text()


def test_plot_spans_the_intervals_of_all_seeds(study, tmp_path, monkeypatch):
    ood, _ = run(study, tmp_path)
    drawn = {}
    monkeypatch.setattr(plot_ood, "dot_panels", lambda outputs, *args: drawn.update(args=args))
    plot_ood.plot_ood(tmp_path / "ood.parquet", "s", "truth", [])
    panels, *_ = drawn["args"]
    rows = ood.query("ood_set == '(mean)' and ood_group == 'all' and mining == 'mined'")
    assert len(rows) == 2
    mean, low, high = panels["mcm"].loc["mined"]
    assert mean == pytest.approx(rows["auroc"].mean())
    assert (low, high) == (rows["auroc_low"].min(), rows["auroc_high"].max())
    run(study, tmp_path, resamples=0)
    plot_ood.plot_ood(tmp_path / "ood.parquet", "s", "truth", [])
    mean, low, high = drawn["args"][0]["mcm"].loc["mined"]
    assert (low, high) == (rows["auroc"].min(), rows["auroc"].max())


# ---- concepts ------------------------------------------------------------------------------------


def concept_inputs(folder, labels, trees=()):
    """One list of positives, sofa and dog, of a corpus of four names and as many axes."""
    names = ["couch", "sofa", "dog", "cat"]
    encoder = {"encoder": {"model": "m"}}
    np.save(folder / "texts.npy", np.eye(4, dtype=np.float16))
    write_table(folder / "texts.parquet", {"concept": names}, encoder)
    np.save(folder / "test.npy", np.eye(4, dtype=np.float16)[[0, 3]])
    ids = {"image_id": ["0", "1"], "label": pa.array(labels, pa.string())}
    write_table(folder / "test.parquet", ids, encoder)
    write_table(folder / "index.parquet", ids, encoder)
    meta = {"encoder": "e", "clustering": "none", "mining": "m", "seed": 0}
    write_table(folder / "mined.parquet", {"concept": ["sofa", "dog"], "concept_id": [1, 2]}, meta)
    at = {name: [folder / f"{name}.npy"] for name in ("texts", "test")}
    at |= {"concepts": [folder / "texts.parquet"], "test_index": [folder / "test.parquet"]}
    at |= {"positives": [folder / "mined.parquet"], "index": [folder / "index.parquet"]}
    return SimpleNamespace(**at, trees=list(trees), label_names=[])


def label_quality(folder, *args, names=()):
    outputs = folder / "concepts.parquet", folder / "quality.parquet"
    inputs = concept_inputs(folder, *args)
    inputs.label_names = list(names)
    options = {"label": "label", "name": "name", "coarse": False} if names else None
    evaluate_concepts(inputs, {"encoders": {"e": 1}, "label_names": [options] * 2}, "s", *outputs)
    return pd.read_parquet(outputs[1]).iloc[0]


TREE_COLUMNS = ["synonym_match_rate", "synonym_coverage", "path_similarity", "path_known"]


def test_label_quality_in_a_tree(tmp_path):
    """Labels couch and cat; sofa is a kind of couch, dog and cat are animals."""
    (tmp_path / "tree.csv").write_text("child,parent\nsofa,couch\ndog,animal\ncat,animal\n")
    row = label_quality(tmp_path, ["couch", "cat"], [tmp_path / "tree.csv"])
    assert row["exact_match_rate"] == 0
    # One edge from sofa to couch, two from dog to cat; a table has no synonyms.
    assert row["path_similarity"] == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert row[["path_known", "synonym_match_rate", "synonym_coverage"]].tolist() == [1, 0, 0]


def test_label_quality_counts_synonyms_of_wordnet(tmp_path):
    """A synset of two words in WordNet's format: word count, words, pointer count."""
    licence = "  1 licence\n"
    (tmp_path / "data.noun").write_text(
        licence + "00000001 06 n 02 sofa 0 couch 0 000 | seat\n"
        "00000002 05 n 01 cat 0 000 | animal\n"
    )
    (tmp_path / "index.noun").write_text(
        licence + "sofa n 1 0 1 0 00000001\ncouch n 1 0 1 0 00000001\ncat n 1 0 1 0 00000002\n"
    )
    for name in ("data.adj", "index.adj"):
        (tmp_path / name).write_text(licence)
    names = ["data.noun", "data.adj", "index.noun", "index.adj"]
    row = label_quality(tmp_path, ["couch", "cat"], [tmp_path / name for name in names])
    assert row[TREE_COLUMNS].tolist() == [0.5, 0.5, 1, 0.5]
    assert row["exact_match_rate"] == 0


def test_label_quality_without_tree_or_labels_is_unknown(tmp_path):
    row = label_quality(tmp_path, ["couch", "cat"])
    assert row[TREE_COLUMNS].isna().all()
    assert row["exact_match_rate"] == 0
    # Without labels the tree is not even opened.
    row = label_quality(tmp_path, [None, None], [tmp_path / "gone.csv"])
    assert row[[*TREE_COLUMNS, "exact_match_rate"]].isna().all()


def test_true_names_that_the_corpus_lacks_were_not_mined(tmp_path):
    """Figures of names are 0, not unknown; those of embeddings are unknown."""
    (tmp_path / "tree.csv").write_text("child,parent\nowl,animal\ndog,animal\n")
    row = label_quality(tmp_path, ["owl", "owl"], [tmp_path / "tree.csv"])
    assert row[["true_names", "true_names_in_corpus", "exact_matches"]].tolist() == [1, 0, 0]
    assert row[["exact_match_rate", "coverage"]].tolist() == [0, 0]
    # Two edges from dog to owl; the tree lacks sofa.
    assert row[["path_similarity", "path_known"]].tolist() == pytest.approx([1 / 3, 1 / 2])
    assert row[["text_similarity", "accuracy_exact", "accuracy_nearest"]].isna().all()


def test_label_quality_of_named_labels_is_that_of_the_names(tmp_path):
    """Numbers with a table of names, of training and of test images."""
    plain = label_quality(tmp_path, ["sofa", "cat"])
    (tmp_path / "names.csv").write_text("label,name\n0,Sofa\n1,cat\n")
    named = label_quality(tmp_path, ["0", "1"], names=[tmp_path / "names.csv"] * 2)
    pd.testing.assert_series_equal(named, plain)
    # Sofa was mined, cat was not; both images are as far from sofa as from dog: the first counts.
    assert named[["exact_matches", "accuracy_exact"]].tolist() == [1, 0.5]
    concepts = pd.read_parquet(tmp_path / "concepts.parquet")
    assert dict(zip(concepts["concept"], concepts["is_true_name"], strict=True)) == {
        "sofa": True, "dog": False,
    }  # fmt: skip


def test_test_images_without_a_common_class(tmp_path, caplog):
    """A table of names for one of the two sets only is a mistake; else it is said in the log."""
    (tmp_path / "names.csv").write_text("label,name\n0,Sofa\n1,cat\n")
    options = {"label": "label", "name": "name", "coarse": False}
    outputs = tmp_path / "concepts.parquet", tmp_path / "quality.parquet"

    def accuracy(train, test, train_options, test_options):
        inputs = concept_inputs(tmp_path, test)
        write_table(tmp_path / "index.parquet", {"label": pa.array(train, pa.string())})
        blocks = [train_options, test_options]
        inputs.label_names = [tmp_path / "names.csv" for block in blocks if block]
        evaluate_concepts(inputs, {"encoders": {"e": 1}, "label_names": blocks}, "s", *outputs)
        return pd.read_parquet(outputs[1])["accuracy_exact"].item()

    with pytest.raises(InputError, match=r"images of s .*'0' and .* 'cat' .*Only the training ima"):
        accuracy(["0", "1"], ["0", None], options, None)
    with pytest.raises(InputError, match=r"Only the test images have .*\.label_names"):
        accuracy(["0", "1"], ["0", None], None, options)
    assert not caplog.text
    assert np.isnan(accuracy(["cat", "sofa"], ["owl", None], None, None))
    assert "no label of the test images of s is the name of a class" in caplog.text
    caplog.clear()
    assert np.isnan(accuracy(["cat", "sofa"], [None, None], None, None))
    assert np.isnan(accuracy([None, None], ["0", "1"], None, options))
    assert accuracy(["0", "1"], ["sofa", None], options, None) == 1  # a common name is enough
    assert not caplog.text


# ---- clusterings ---------------------------------------------------------------------------------


def test_labels_are_joined_by_image_id(tmp_path):
    """A clustering in another order than the index, as of a second encoder, is judged the same."""
    ids, labels = list("abcdef"), ["x", "x", "y", "y", None, "z"]
    write_table(tmp_path / "index.parquet", {"image_id": ids, "label": pa.array(labels)})
    clusters = dict(zip(ids, [0, 0, 1, 1, 1, 2], strict=True))
    for name, order in (("same", ids), ("other", list("fbdace"))):
        columns = {"image_id": order, "cluster": np.array([clusters[i] for i in order], np.int32)}
        write_table(tmp_path / f"{name}.parquet", columns, {"encoder": name, "method": "kmeans"})
    paths = [tmp_path / "same.parquet", tmp_path / "other.parquet"]
    cfg = {"train": "train", "encoders": ["same", "naming"]}
    evaluate_clustering(paths, [tmp_path / "index.parquet"], "s", cfg, tmp_path / "out.parquet")
    table = pd.read_parquet(tmp_path / "out.parquet")
    assert table["encoder"].tolist() == ["same", "naming"]
    assert table["clustering_encoder"].tolist() == ["same", "other"]
    assert table["acc"].tolist() == [1, 1]
    assert table["n"].tolist() == [5, 5]
    assert table["used_clusters"].tolist() == [3, 3]
