"""Published values beside ours, against numbers worked out by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.report.published import compare, read_published

CONFIG = Path(__file__).parents[3] / "config"
HEADER = "method,id,ood_set,metric,value,source\n"
METHODS = {
    "MCM": {"rows": {"detector": "mcm", "negatives": "none"}, "test_time": False},
    "AdaNeg": {"rows": {"detector": "ada", "negatives": "rest"}, "test_time": True},
}


def written(path, *rows):
    path.write_text(HEADER + "".join(f"{row}\n" for row in rows))
    return path


def ood_table():
    """Two sets and two seeds of two detectors; rows of other conditions that must not count."""
    rows = []
    for detector, negatives, base in (("mcm", "none", 0.9), ("ada", "rest", 0.8)):
        for seed, more in ((0, -0.01), (1, 0.01)):
            for ood_set, less in (("sun", 0.0), ("places", 0.1)):
                auroc = base - less + more
                rows.append(("clean", "all", detector, negatives, ood_set, seed, auroc))
                rows.append(("shifted", "all", detector, negatives, ood_set, seed, 0.1))
                rows.append(("clean", "unflagged", detector, negatives, ood_set, seed, 0.2))
            rows.append(("clean", "all", detector, negatives, "(mean)", seed, 0.3))
            rows.append(("clean", "all", detector, "others", "sun", seed, 0.4))
    columns = ["condition", "images", "detector", "negatives", "ood_set", "seed", "auroc"]
    return pd.DataFrame(rows, columns=columns)


def compared(tmp_path, *rows, methods=METHODS):
    published = read_published(written(tmp_path / "values.csv", *rows))
    return compare(published, ood_table(), "val", methods, 1.6, 0.3)


def test_values_are_means_over_seeds_and_over_joined_sets(tmp_path):
    frame = compared(
        tmp_path,
        "MCM,val,sun,auroc,91.6,A",
        "MCM,val,sun+places,auroc,85.3,A",
        "MCM,val,places,auroc,78.39,A",
        "AdaNeg,val,sun+places,auroc,75.4,B",
        "AdaNeg,other,sun,auroc,1,B",
        "NegLabel,val,sun,auroc,1,B",
    )
    assert frame["method"].tolist() == ["MCM", "MCM", "MCM", "AdaNeg"]
    assert frame["ours"].tolist() == pytest.approx([90, 85, 80, 75])
    assert frame["difference"].tolist() == pytest.approx([-1.6, -0.3, 1.61, -0.4])
    assert frame["tolerance"].tolist() == [1.6, 0.3, 1.6, 0.3]
    assert frame["within_tolerance"].tolist() == [True, True, False, False]
    assert frame["test_time"].tolist() == [False, False, False, True]
    assert frame["seeds"].tolist() == [2, 2, 2, 2]


def test_seeds_without_a_value_do_not_count(tmp_path):
    published = read_published(written(tmp_path / "values.csv", "MCM,val,sun,auroc,90,A"))
    table, lost = ood_table(), []
    for seed in (1, 0):
        table.loc[table["seed"] == seed, "auroc"] = float("nan")
        row = compare(published, table, "val", {"MCM": METHODS["MCM"]}, 1.6, 0.3).iloc[0]
        lost.append((row["ours"], row["seeds"]))
    assert lost[0] == (pytest.approx(89), 1)
    assert np.isnan(lost[1][0]) and lost[1][1] == 0


def test_a_set_that_the_study_lacks_is_no_difference(tmp_path):
    frame = compared(
        tmp_path,
        "MCM,val,ninco,auroc,80,A",
        "MCM,val,sun+ninco,auroc,80,A",
        "AdaNeg,val,sun,auroc,80,A",
    )
    assert frame["ours"].isna().tolist() == [True, True, False]
    assert frame["within_tolerance"].isna().tolist() == [True, True, False]


@pytest.mark.parametrize(
    "row, message",
    [
        ("MCM,val,sun,auc,80,A", "line 3: metric 'auc' is none of auroc"),
        ("MCM,val,sun,fpr95,1.2 %,A", "line 3: value '1.2 %' is no number of percent"),
        ("MCM,val,sun,fpr95,nan,A", "line 3: value 'nan' is no number of percent"),
        ("MCM,val,sun,fpr95,,A", "line 3: value '' is no number of percent"),
        ("MCM,val,sun,auroc,81,B", "line 3: MCM, val, sun, auroc has a value already, in line 2"),
    ],
)
def test_mistakes_in_the_file_are_named(tmp_path, row, message):
    path = written(tmp_path / "values.csv", "MCM,val,sun,auroc,80,A", row)
    with pytest.raises(InputError) as error:
        read_published(path)
    assert f"{path}, {message}" in str(error.value)


def test_a_method_without_a_value_is_named(tmp_path):
    with pytest.raises(InputError, match=r"'AdaNeg' has no published value with id 'val' .*: MCM"):
        compared(tmp_path, "MCM,val,sun,auroc,80,A", "AdaNeg,other,sun,auroc,80,A")


def test_the_shipped_values_are_those_of_the_image_sets():
    """Every name is an image set, and published means agree with their sets to rounding."""
    sets = yaml.safe_load((CONFIG / "benchmark_sets.yaml").read_text("utf-8"))["image_sets"]
    published = read_published(CONFIG / "published.csv")
    values = published.set_index(["method", "metric", "ood_set"])["value"]
    assert {"MCM", "NegLabel", "CSP", "AdaNeg", "NegRefine"} <= set(published["method"])
    means = 0
    for row in published.itertuples():
        names = row.ood_set.split("+")
        assert {row.id, *names} <= set(sets)
        single = [values.get((row.method, row.metric, name)) for name in names]
        if len(names) > 1 and None not in single:
            means += 1
            assert row.value == pytest.approx(sum(single) / len(single), abs=0.05)
    assert means >= 11


def test_the_table_of_the_protocols_is_that_of_the_file():
    sets = ["inaturalist", "sun", "places", "textures_dtd"]
    sets += ["+".join(sets), "openimage_o_whole", "clean", "ninco"]
    sets.append("+".join(["inaturalist", *sets[5:]]))
    text = (CONFIG / "protocols.md").read_text("utf-8")
    shown = {}
    for line in text[text.index("AUROC / FPR95 in percent") :].splitlines():
        method, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        if len(cells) == len(sets) and method not in ("method", "---"):
            for ood_set, cell in zip(sets, cells, strict=True):
                for metric, value in zip(("auroc", "fpr95"), cell.split("/"), strict=False):
                    if value:
                        shown[method, ood_set, metric] = float(value)
    published = read_published(CONFIG / "published.csv")
    keys = published[["method", "ood_set", "metric"]].itertuples(index=False, name=None)
    assert shown == dict(zip(keys, published["value"], strict=True))
