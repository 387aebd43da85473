"""The pages of a study in a browser, on a project whose names would break them or run in them.

`page_of` fails a test whose page logs an error, opens a dialog or asks for more than it may.
"""

import io
import re
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from workflow_scripts.explore_clusters import explore_clusters
from workflow_scripts.lib.artifacts import write_table

FOLDER = "results/explore/mini"
PAGES = ["index", "clusters", "outliers/photos_test", "outliers/strange"]
PAGES += ["map", "comparison", "data", "provenance"]
LOOKS = [(1440, False), (1440, True), (390, False), (390, True)]


@pytest.fixture
def open_page(hostile, page_of):
    """A function that opens a page of the hostile project by its name, e.g. "clusters"."""
    folder = hostile.folder / FOLDER
    return lambda name, **look: page_of(folder / f"{name}.html", folder=folder, **look)


@pytest.fixture
def names(hostile):
    """The clusters with their names, as `name_clusters` wrote them."""
    return pd.read_parquet(
        hostile.folder / "results/names/tinyclip/photos.fit/words/kmeans_3/seed0.parquet"
    )


@pytest.fixture
def outliers(hostile):
    return pd.read_parquet(hostile.folder / "results/outliers/mini/strange.parquet")


@pytest.mark.parametrize(("width", "dark"), LOOKS)
@pytest.mark.parametrize("name", PAGES)
def test_every_page_fits_its_window(open_page, name, width, dark):
    page = open_page(name, width=width, dark=dark)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, re.findall(r"\d+", background))) < 64) == dark


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_to_a_file(open_page, name):
    page = open_page(name)
    links = set(page.evaluate("[...document.links].map((link) => link.href)"))
    assert len(links) >= len(PAGES)  # the menu
    missing = [link for link in links if not is_file(link)]
    assert not missing


def is_file(address):
    path = Path(unquote(urlsplit(address).path))
    return urlsplit(address).scheme == "file" and path.exists()


def test_the_start_page_says_what_the_tables_say(open_page, hostile, names, outliers):
    page = open_page("index")
    text = page.locator("main").inner_text()
    assert f"largest of {len(names)} clusters" in text
    largest = names.sort_values("size", ascending=False, kind="stable").iloc[0]
    assert f"{largest['name']}\n{largest['size']} images" in text
    flagged = int(outliers["flagged"].sum())
    assert f"worst fits of {len(outliers)} images\n\n{flagged} images" in text
    assert outliers["image_id"][0] in text


def test_the_menu_leads_through_all_pages(open_page):
    page = open_page("index")
    for name in ("Clusters", "strange", "Map", "Comparison", "Data", "Provenance", "Start"):
        page.get_by_role("navigation").get_by_role("link", name=name, exact=True).click()
        assert page.locator("[aria-current]").inner_text() == name


def cards(page):
    """The names of the visible cards, in their order."""
    return page.locator("article:visible h3").all_inner_texts()


def test_clusters_are_searched_and_sorted(open_page, names):
    page = open_page("clusters")
    by_size = names.sort_values("size", ascending=False, kind="stable")["name"].tolist()
    assert cards(page) == by_size
    page.get_by_label("Sort").select_option("least agreement first")
    assert cards(page) == names.sort_values("share", kind="stable")["name"].tolist()
    page.keyboard.press("/")
    page.keyboard.insert_text(by_size[-1].upper())
    assert by_size[-1] in cards(page)
    assert page.get_by_role("status").inner_text() == f"{len(cards(page))} of {len(names)} clusters"
    page.get_by_label("Search").fill("no such name")
    assert cards(page) == []
    page.keyboard.press("Escape")
    assert len(cards(page)) == len(names)


def test_the_detector_is_switched(open_page, outliers):
    page = open_page("outliers/strange")
    shown = page.locator("section:visible ol").last.locator("li")
    assert outliers["image_id"][0] in shown.first.inner_text()
    page.get_by_label("Sorted by").select_option("mcm")
    lowest = outliers.sort_values("mcm", kind="stable").iloc[0]
    text = shown.first.inner_text()
    assert lowest["image_id"] in text and f"{lowest['mcm']:.3g}" in text
    assert f"p {lowest['mcm p']:.2g}" in text
    assert page.locator("section:visible figure svg").count() == 1


def test_a_thumbnail_shows_the_image(open_page, hostile):
    tiles = open_page("outliers/strange").locator("section:visible ol .tile.own")
    for tile in tiles.all()[:3]:
        shown = Image.open(io.BytesIO(tile.screenshot())).convert("RGB").resize((8, 8))
        path = hostile.folder / "photos/strange" / tile.get_attribute("title")
        expected = Image.open(path).convert("RGB").resize((8, 8))
        difference = np.abs(np.asarray(shown, int) - np.asarray(expected, int))
        assert difference.mean() < 12, path.name


def test_clusters_of_other_pages_are_found(tmp_path, page_of):
    """450 clusters make three pages; a search on the first one links to the others."""
    k = 450
    columns = {
        "cluster": np.arange(k, dtype=np.int32),
        "size": np.arange(k)[::-1].copy(),
        "name": [f"name {i}" for i in range(k)],
        "share": np.linspace(0, 1, k),
        "spread": np.linspace(1, 0, k),
        "runners_up": [[f"other {i}"] for i in range(k)],
        "runner_up_votes": [[1]] * k,
        "nearest": [["a.png"]] * k,
        "farthest": [["b.png"]] * k,
    }
    meta = dict.fromkeys(("encoder", "corpus", "clustering", "seed"), "x")
    write_table(tmp_path / "names.parquet", columns, meta)
    images = {"image_id": ["a.png"], "cluster": [0]}
    write_table(tmp_path / "clusters.parquet", images)
    write_table(tmp_path / "index.parquet", {"image_id": ["a.png"], "label": ["a label"]})
    files = {name: tmp_path / f"{name}.parquet" for name in ("names", "clusters")}
    inputs = SimpleNamespace(**files, index=[tmp_path / "index.parquet"], source=[], locators=[])
    cfg = {"study": "s", "train": "t", "root": None, "pages": [], "files": []}
    explore_clusters(inputs, cfg, str(tmp_path / "clusters.html"), str(tmp_path / "clusters"))
    made = sorted(path.name for path in (tmp_path / "clusters").iterdir())
    assert made == ["1.html", "2.html", "3.html"]
    page = page_of(tmp_path / "clusters.html")
    assert page.locator("article:visible").count() == 200
    page.get_by_label("Search").fill("other 4")
    page.get_by_text("name 411 (38 images)").click()
    assert page.url.endswith("clusters/3.html#c411")
    assert page.get_by_role("heading", name="name 411").is_visible()
    page = page_of(tmp_path / "clusters/2.html", folder=tmp_path)
    page.get_by_label("Search").fill("a label")
    assert page.get_by_role("status").inner_text() == "1 of 450 clusters"
    assert page.get_by_text("name 0 (449 images)").is_visible()
