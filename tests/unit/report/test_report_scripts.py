"""The scripts that choose what the figures and tables of the report show."""

import itertools
import xml.etree.ElementTree as ET
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from workflow_scripts import plot_ablation, plot_benchmark, plot_ood
from workflow_scripts.collect_duplicates import collect_duplicates
from workflow_scripts.collect_quarantine import collect_quarantine
from workflow_scripts.lib.artifacts import read_meta, write_table
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images.manifest import QUARANTINE
from workflow_scripts.lib.report.tables import joined_names, read_frame, write_frame

DETECTORS = [(f"detector_{i:02}", negatives) for i in range(8) for negatives in ("none", "rest")]
MINED = {"mining": "clustermine", "clustering": "kmeans_3"}
NAMED = [MINED, {"mining": "truth", "clustering": "none"}]


def ood_rows(lists, detectors, auroc=0.5, **columns):
    rows = [
        {"encoder": "e", "condition": "clean", "images": "all", "ood_set": "(mean)"}
        | {"ood_group": "all", "seed": 0, "auroc": auroc, "auroc_low": np.nan}
        | {"auroc_high": np.nan, "detector": detector, "negatives": negatives}
        | names | columns
        for names, (detector, negatives) in itertools.product(lists, detectors)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture
def plot(tmp_path):
    """Texts of the SVG that plot_ood writes, in order."""

    def call(frame, reference=None):
        write_frame(tmp_path / "ood.parquet", frame)
        outputs = [tmp_path / f"s.{ending}" for ending in ("svg", "png", "pdf")]
        plot_ood.plot_ood(tmp_path / "ood.parquet", "my_study", reference, outputs)
        assert all(path.stat().st_size for path in outputs)
        return [text.text for text in ET.parse(outputs[0]).iter() if text.tag.endswith("text")]

    return call


def test_every_detector_has_a_panel(plot):
    image_only = ood_rows([{"mining": "none", "clustering": "none"}], [("knn", "none")])
    texts = plot(pd.concat([ood_rows(NAMED, DETECTORS), image_only]))
    expected = [name if other == "none" else f"{name}, {other}" for name, other in DETECTORS]
    assert {*expected, "clustermine", "truth"} <= set(texts)


def test_detectors_without_names_are_rows_of_their_own_panel(tmp_path, monkeypatch):
    nameless = [{"mining": "none", "clustering": "none"}]
    image_only = ood_rows(nameless, [("knn", "none"), ("mahalanobis", "none")], 0.7)
    frame = pd.concat([ood_rows(NAMED, [("mcm", "none")]), image_only])
    write_frame(tmp_path / "ood.parquet", frame)
    panels, rows, *_ = drawn(
        plot_ood, "dot_panels", monkeypatch, tmp_path / "ood.parquet", "s", None
    )
    assert {name: sorted(means.index) for name, means in panels.items()} == {
        "mcm": ["clustermine", "truth"],
        "detectors without names": ["knn", "mahalanobis"],
    }
    assert list(rows)[:2] == ["knn", "mahalanobis"], "best first"


def test_a_detector_of_the_name_of_a_list_has_a_row_of_its_own(tmp_path, monkeypatch):
    alone = ood_rows([{"mining": "none", "clustering": "none"}], [("truth", "none")], 0.9)
    frame = pd.concat([ood_rows(NAMED, [("mcm", "none")]), alone])
    write_frame(tmp_path / "ood.parquet", frame)
    args = (tmp_path / "ood.parquet", "s", "truth")
    _, rows, *_ = drawn(plot_ood, "dot_panels", monkeypatch, *args)
    assert rows == {
        "truth (detector)": "truth (detector)",
        "clustermine": "clustermine",
        "truth": "truth (reference)",
    }


def test_the_best_list_is_first_and_the_reference_is_marked(plot):
    frame = pd.concat([
        ood_rows(NAMED[:1], [("mcm", "none")], 0.9),
        ood_rows(NAMED[:1], [("neglabel", "rest")], 0.5),
        ood_rows(NAMED[1:], [("mcm", "none")], 0.8),
        ood_rows(NAMED[1:], [("neglabel", "rest")], 0.7),
    ])  # fmt: skip
    texts = plot(frame, "truth")
    assert texts.index("truth (reference)") < texts.index("clustermine")
    assert "Dashed: truth, the reference." in " ".join(texts)
    assert "truth" in plot(frame)
    assert "Dashed" not in " ".join(plot(frame, "not in the study"))


def test_the_caption_says_what_the_bars_are(plot):
    frame = ood_rows(NAMED, [("mcm", "none")])
    assert "One seed and no bootstrap: no bars." in " ".join(plot(frame))
    two = pd.concat([frame, frame.assign(seed=1)])
    assert "Bars span the seeds." in " ".join(plot(two))
    frame = frame.assign(auroc_low=0.4, auroc_high=0.6)
    assert "the 95 % bootstrap intervals (over images) of all seeds" in " ".join(plot(frame))


def test_lists_are_named_by_what_tells_them_apart(plot):
    lists = [MINED, MINED | {"clustering": "temi_3"}, NAMED[1]]
    assert {"clustermine, kmeans_3", "clustermine, temi_3", "truth"} <= set(
        plot(ood_rows(lists, [("mcm", "none")]))
    )
    others = ood_rows(lists[:1], [("mcm", "none")], encoder="other")
    assert "clustermine, other" in plot(pd.concat([ood_rows(NAMED, [("mcm", "none")]), others]))


def test_a_study_without_ood_sets_has_no_figure(plot):
    with pytest.raises(InputError, match=r"my_study: .*: there is nothing"):
        plot(ood_rows(NAMED, [("mcm", "none")]).iloc[:0])


# ---- ablations and benchmarks --------------------------------------------------------------------


def ablation_rows(values):
    rows = ood_rows(NAMED, [("mcm", "none"), ("max_logit", "none"), ("neglabel", "rest")])
    frames = [rows.assign(value=value, auroc=0.1 * i) for i, value in enumerate(values)]
    return pd.concat(frames, ignore_index=True)


def drawn(module, name, monkeypatch, *args):
    """The arguments after the outputs of the function of figures that a script calls."""
    calls = []
    monkeypatch.setattr(module, name, lambda outputs, *args, **_: calls.append(args))
    getattr(module, module.__name__.rpartition(".")[2])(*args, [])
    return calls[0]


@pytest.mark.parametrize(("values", "log"), [(["1", "2.5", "10"], True), (["0", ".5", "9"], False)])
def test_an_ablation_over_numbers_has_a_panel_per_detector(tmp_path, monkeypatch, values, log):
    write_frame(tmp_path / "a.parquet", ablation_rows(values))
    args = (tmp_path / "a.parquet", "steps", "number of steps")
    panels, x_label, _, title, caption, log_x = drawn(
        plot_ablation, "line_panels", monkeypatch, *args
    )
    assert "Bars" not in caption, "these rows have no intervals"
    assert list(panels) == ["mcm", "max_logit", "neglabel, rest"]
    assert all(list(series) == ["clustermine", "truth"] for series in panels.values())
    assert panels["mcm"]["truth"]["mean"].to_dict() == {
        float(value): pytest.approx(0.1 * i) for i, value in enumerate(values)
    }
    assert (x_label, log_x) == ("number of steps", log)
    assert "steps" in title


def test_an_ablation_over_names_has_a_row_per_value(tmp_path, monkeypatch):
    write_frame(tmp_path / "a.parquet", ablation_rows(["kmeans", "temi"]))
    args = (tmp_path / "a.parquet", "clusterings", "clustering")
    panels, rows, *_ = drawn(plot_ablation, "dot_panels", monkeypatch, *args)
    assert len(panels) == 6
    assert list(rows) == ["kmeans", "temi"]
    assert panels["neglabel, rest, clustermine"]["mean"].to_dict() == {"kmeans": 0, "temi": 0.1}


def test_what_an_ablation_varies_is_on_its_axis_and_in_no_name(tmp_path, monkeypatch):
    """Else every value would be a line, or a panel, of one point."""
    frames = []
    for i, value in enumerate(["0.5", "0.75", "0.9"]):
        lists = [{"mining": f"union_{value}", "clustering": "kmeans_3"}]
        named = ood_rows(lists, [("mcm", "none"), ("neglabel", f"far_{value}")])
        image_only = ood_rows([{"mining": "none", "clustering": "kmeans_3"}], [("knn", "none")])
        frames.append(pd.concat([named, image_only]).assign(value=value, auroc=0.1 * i))
    write_frame(tmp_path / "a.parquet", pd.concat(frames, ignore_index=True))
    args = (tmp_path / "a.parquet", "share", "least share")
    panels, *_ = drawn(plot_ablation, "line_panels", monkeypatch, *args)
    assert list(panels) == ["mcm", "neglabel", "knn"]
    for series in panels.values():
        (line,) = series.values()
        assert line["mean"].tolist() == pytest.approx([0, 0.1, 0.2])


def test_encoders_of_a_benchmark_are_not_taken_for_seeds(tmp_path, monkeypatch):
    small = benchmark_rows("granularity", [2, 8])
    large = small.assign(encoder="large", acc=small["acc"] + 50)
    write_frame(tmp_path / "b.parquet", pd.concat([small, large], ignore_index=True))
    args = (tmp_path / "b.parquet", "b", "acc")
    panels, *_ = drawn(plot_benchmark, "line_panels", monkeypatch, *args)
    assert list(panels[""]) == ["kmeans, small", "temi, small", "kmeans, large", "temi, large"]
    assert panels[""]["temi, large"].loc[8].tolist() == [60, 58, 63]


def benchmark_rows(axis, classes):
    return pd.DataFrame([
        {"axis": axis, "level": f"level {n}", "classes": n, "encoder": "small",
         "clustering": name, "acc": n + seed}
        for n in classes for name in ("kmeans", "temi") for seed in (0, 1, 5)
    ])  # fmt: skip


def test_a_benchmark_has_a_line_per_clustering_or_a_panel_per_level(tmp_path, monkeypatch):
    path = tmp_path / "b.parquet"
    write_frame(path, benchmark_rows("granularity", [2, 8]))
    panels, x_label, *_ = drawn(plot_benchmark, "line_panels", monkeypatch, path, "b_b", "acc")
    assert x_label == "classes"
    assert panels[""]["temi"].to_dict("index") == {
        2: {"mean": 4, "low": 2, "high": 7},
        8: {"mean": 10, "low": 8, "high": 13},
    }
    write_frame(path, benchmark_rows("easy_classes", [2, 8]))
    panels, rows, *_ = drawn(plot_benchmark, "dot_panels", monkeypatch, path, "b_b", "acc")
    assert list(rows) == ["kmeans", "temi"]
    assert panels["level 8"].loc["temi"].tolist() == [10, 8, 13]


# ---- tables --------------------------------------------------------------------------------------


def test_joined_names_leave_out_none():
    frame = pd.DataFrame({"a": ["x", "none", "none"], "b": ["y", "z", "none"]})
    assert joined_names(frame, ["a", "b"]) == ["x, y", "z", "(none)"]


def quarantine_of(folder, name, rows):
    rows = [dict(zip(QUARANTINE.names, row, strict=True)) for row in rows]
    write_table(folder / name, pa.Table.from_pylist(rows, schema=QUARANTINE))
    return folder / name


def quarantine_inputs(folder, listed, decoded, images=10):
    """Inputs of `collect_quarantine` for the set `photos` with two embedded shards."""
    write_table(folder / "manifest.parquet", {"image_id": [f"{i}.png" for i in range(images)]})
    write_table(folder / "locators.parquet", {"image_id": ["3.png"], "file": ["b.tar"]})
    return SimpleNamespace(
        listings=[quarantine_of(folder, "quarantine.parquet", listed)],
        manifests=[folder / "manifest.parquet"],
        locators=[folder / "locators.parquet"],
        parts=[quarantine_of(folder, f"{i}.parquet", rows) for i, rows in enumerate(decoded)],
    )


def photos_config(limit):
    return {"image_sets": {"photos": {"root": "/p", "parts": 2, "maximum_quarantine": limit}}}


def test_an_image_is_quarantined_once_with_a_path_that_opens_its_file(tmp_path):
    cut = ("2.png", "2.png", None, "decode", "cut", True)
    inputs = quarantine_inputs(
        tmp_path,
        [("x.png", "x.png", "a.tar", "list", "empty", True),
         ("n.txt", "n.txt", None, "list", "no image", False)],
        [[cut, ("3.png", "3.png", None, "decode", "cut", True)], [cut]],
    )  # fmt: skip
    outputs = [tmp_path / f"q.{ending}" for ending in ("parquet", "csv", "md", "html")]
    collect_quarantine(inputs, photos_config(0.28), *outputs)
    assert outputs[1].read_text().splitlines() == [
        "image_set,path,image_id,stage,reason,lost",
        "photos,/p/a.tar,x.png,list,empty,True",
        "photos,/p/n.txt,n.txt,list,no image,False",
        "photos,/p/2.png,2.png,decode,cut,True",
        "photos,/p/b.tar,3.png,decode,cut,True",
    ]
    assert outputs[2].read_text().startswith("# Quarantined files: 4\n\n")
    assert read_meta(outputs[0])["images"] == {"photos": 11}, "ten listed, one lost before"


def test_a_set_that_loses_too_many_images_fails_with_the_reasons_counted(tmp_path):
    listed = [("x.png", "x.png", None, "list", "empty file (zero bytes)", True)]
    decoded = [[(f"{i}.png", f"{i}.png", None, "decode", f"cannot be decoded: {i}", True)
                for i in range(2)], []]  # fmt: skip
    outputs = [tmp_path / f"q.{ending}" for ending in ("parquet", "csv", "md", "html")]
    with pytest.raises(InputError) as error:
        collect_quarantine(
            quarantine_inputs(tmp_path, listed, decoded), photos_config(0.27), *outputs
        )
    assert str(error.value) == (
        "photos: 3 of 11 files cannot be used (limit 27 %): 2 x cannot be decoded: 0, "
        "1 x empty file (zero bytes); mend, convert or remove them, or raise "
        "image_sets.photos.maximum_quarantine"
    )


def test_a_run_without_quarantine_has_a_table_and_no_line(tmp_path):
    outputs = [tmp_path / f"q.{ending}" for ending in ("parquet", "csv", "md", "html")]
    collect_quarantine(quarantine_inputs(tmp_path, [], [[], []]), photos_config(0), *outputs)
    assert outputs[1].read_text() == "image_set,path,image_id,stage,reason,lost\n"


def pairs(*rows):
    columns = ["kind", "image_set", "image_id", "other_set", "other_id", "cosine"]
    return pd.DataFrame(rows, columns=columns)


def test_duplicates_are_counted(tmp_path):
    found = pairs(
        ("exact", "train", "b", "train", "a", 1.0),
        ("exact", "test", "x", "train", "a", 1.0),
        ("near", "test", "y", "train", "a", 0.995),
        ("exact", "noise", "z", "test", "x", 1.0),
    )
    write_frame(tmp_path / "0.parquet", found)
    write_frame(tmp_path / "1.parquet", found[:1])
    outputs = [tmp_path / f"d.{ending}" for ending in ("parquet", "csv", "md", "html")]
    collect_duplicates([tmp_path / "0.parquet", tmp_path / "1.parquet"], ["s", "t"], *outputs)
    table = read_frame(outputs[0])
    assert table["study"].tolist() == ["s"] * 4 + ["t"]
    assert table.drop(columns="study")[:4].equals(found)
    lines = [[cell.strip() for cell in line.split("|")[1:-1]]
             for line in outputs[2].read_text().splitlines()]  # fmt: skip
    assert ["s", "test", "train", "near", "1", "1"] in lines
    assert ["s", "near", "test", "y", "train", "a", "0.9950"] in lines
