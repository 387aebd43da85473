"""The comparison of the documentation with the results, and that its list of claims is complete."""

import re

import claims
import figures
import pandas as pd
import pytest
from claims import CLAIMS, PICTURES, PROTOCOLS, Claim, Picture
from PIL import Image

ROOT = figures.ROOT
TEXT = "# Title\n\nTEMI gets 90.6 of\n1,200 images, {0} % of all: 7 and -0.5.\n"


@pytest.fixture
def project(tmp_path):
    """A text, a table and a picture that agree."""
    (tmp_path / "doc.md").write_text(TEXT.format(22))
    (tmp_path / "results").mkdir()
    frame = pd.DataFrame({"value": [90.649, 1200, 22.4, 7, -0.5]})
    frame.to_parquet(tmp_path / "results/t.parquet")
    figure = Image.linear_gradient("L")
    figure.save(tmp_path / "results/f.png")
    figure.crop((0, 0, 256, 40)).save(tmp_path / "top.png")
    return tmp_path


def claim(*tolerance, text="gets {} of {} images, {} % of all: {} and {}.", path="t.parquet"):
    return Claim("doc.md", text, lambda read: read(path)["value"], tolerance)


def check(project, *claims, pictures=(), write=False):
    return figures.check(project, project / "results", claims, pictures, write)


def test_numbers_are_compared_as_they_are_rounded(project):
    picture = Picture("top.png", "f.png", 40)
    assert check(project, claim(), pictures=[picture]) == ([], [])
    (project / "doc.md").write_text(TEXT.format(23))
    differing, missing = check(project, claim())
    assert len(differing) == 1 and "23 should be 22" in differing[0] and not missing
    assert check(project, claim(0, 0, 0.1, 0, 0)) == ([], []), "23 is within .5 + .1 of 22.4"
    (project / "doc.md").write_text(TEXT.format(24))
    assert "24 should be 22" in check(project, claim(0, 0, 1, 0, 0))[0][0]


def test_a_text_that_is_gone_or_there_twice_is_a_difference(project):
    assert "not in the text" in check(project, claim(text="TEMI has {}"))[0][0]
    (project / "doc.md").write_text(TEXT.format(22) * 2)
    assert "not in the text" in check(project, claim())[0][0]


def test_what_has_no_result_is_no_difference(project):
    differing, missing = check(project, claim(path="gone.parquet"), claim(),
                               pictures=[Picture("top.png", "gone.png")])  # fmt: skip
    assert not differing
    assert "gone.parquet" in missing[0] and "gone.png" in missing[1] and len(missing) == 2


def test_what_differs_is_renewed_and_nothing_else(project):
    (project / "doc.md").write_text(TEXT.format(23).replace("1,200", "900").replace("90.6", "9.16"))
    Image.new("L", (256, 40)).save(project / "top.png")
    picture = Picture("top.png", "f.png", 40)
    differing, _ = check(project, claim(), pictures=[picture], write=True)
    assert len(differing) == 2
    expected = TEXT.format(22).replace("90.6", "90.65")
    assert (project / "doc.md").read_text() == expected
    assert check(project, claim(), pictures=[picture]) == ([], [])


def compared():
    """Benchmarks of two seeds: ACC of k-means, of a random start, TEMI, SCANv2 and TURTLE by set.
    `world` is in two benchmarks, and once clustered for an unknown number of clusters."""
    accs = {
        "world": (0.5, 0.7, 0.6, 0.4, 0.6),
        "train_percentiles_10": (0.5, 0.6, 0.7, 0.6, 0.4),
        "train_percentiles_30": (0.5, 0.6, 0.4, 0.6, 0.4),
        "train_percentiles_50": (0.5, 0.6, 0.5, 0.6, 0.4),
    }
    names = ("kmeans", "kmeans_random", "temi", "scan", "turtle")
    rows = []
    for number, (image_set, values) in enumerate(accs.items()):
        for name, value in zip(names, values, strict=True):
            for seed, more in ((0, -0.05), (1, 0.05)):
                row = {"image_set": image_set, "clustering": name, "seed": seed, "axis": "a"}
                rows.append(row | {"acc": value + more, "classes": 10 * number, "used_clusters": 9})
                if image_set == "world":
                    rows.append(rows[-1])
                else:
                    equal = image_set.replace("percentiles", "equal")
                    rows.append(rows[-1] | {"image_set": equal, "acc": 0.5})
    unknown = {"clustering": "temi_unknown", "axis": "unknown_number", "acc": 1.0}
    for image_set, used in (("world", (7, 5, 6)), ("world_random", (3, 4, 3))):
        for seed, clusters in enumerate(used):
            rows.append(unknown | {"image_set": image_set, "seed": seed, "classes": len(image_set),
                                   "used_clusters": clusters})  # fmt: skip
    return pd.DataFrame(rows)


def test_what_is_said_of_deep_clustering_follows_from_its_tables():
    def read(path):
        assert path == "tables/deep_clustering.parquet"
        return compared()

    assert claims.acc("world", "kmeans", "temi")(read) == pytest.approx([50, 60])
    # TEMI on world and percentiles_10, SCANv2 on the ranges; 7 sets.
    assert claims.wins(read) == [2, 7, 3]
    assert claims.wins_over_random(read) == [1, 7]
    assert claims.gaps(read) == pytest.approx([10, 20, 30, 20, -10, 0, 0, 0, 0], abs=1e-9)
    assert claims.used_clusters(read) == [5, 7, len("world"), 3, 4, len("world_random")]


def test_what_is_said_of_second_clusters_follows_from_their_table():
    rows = [
        {"rank": rank, "hit": hit, "clustering": name, "seed": seed, "rate": rate + more,
         "chance": chance}
        for rank, less in ((1, 1), (2, 0))
        for hit, name, rate, chance in [
            ("level 1", "kmeans", 0.2, 0.02), ("level 1", "temi", 0.3, 0.04),
            ("level 2", "kmeans", 0.4, 0.08), ("level 2", "temi", 0.5, 0.08),
            ("exact", "kmeans", 0.0, 0.0), ("level 1", "scan", 0.9, 0.9),
        ]
        for seed, more in ((0, -0.1 + less), (1, 0.1 + less))
    ]  # fmt: skip
    values = claims.second_clusters(lambda path: pd.DataFrame(rows))
    assert values == pytest.approx([20, 30, 3, 40, 50, 8])


def test_every_claim_is_in_its_file():
    for each in CLAIMS:
        text = (ROOT / each.file).read_text("utf-8")
        place = figures.place_of(each, text)
        assert place, f"{each.file}: {each.text}"
        assert len(each.tolerance) in (0, len(place.groups())), each.text
    for picture in PICTURES:
        assert (ROOT / picture.file).is_file()


def test_every_fraction_that_the_demo_found_is_a_claim():
    """All numbers with decimals in the table of findings, and its percentages."""
    text = (ROOT / PROTOCOLS).read_text("utf-8")
    start = text.index("| finding | here | figures |")
    table = text[start : text.find("\n\n", start)]
    numbers = [m.span() for m in re.finditer(r"-?\d+\.\d+|\d+(?= %)|\d+(?= (?:of|to) )", table)]
    assert len(numbers) > 30
    places = [figures.place_of(each, text) for each in CLAIMS if each.file == PROTOCOLS]
    covered = {
        place.span(i + 1) for place in places for i in range(len(place.groups()))
    }  # fmt: skip
    for low, high in numbers:
        assert (start + low, start + high) in covered, table[low - 40 : high + 20]
