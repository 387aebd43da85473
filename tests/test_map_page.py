"""The pages of the results in a browser, on a project whose names would break them or run in them.

`page_of` fails a test whose page logs an error, opens a dialog or asks for more than it may.
"""

import pandas as pd
import pytest

SCORES = "results/decisions/mini/tinyclip/kmeans_3/clustermine/seed0.parquet"
POSITION = """
(image_id) => {
  const models = [...Bokeh.documents[0]._all_models.values()]
  const {data} = models.find((model) => model.data && "thumbnail" in model.data)
  const view = Bokeh.index.find_one(models.find((model) => model.type == "Figure"))
  const {left, top} = view.canvas_view.el.getBoundingClientRect()
  const row = data.image_id.indexOf(image_id)
  const {x_scale, y_scale} = view.frame
  return [left + x_scale.compute(data.x[row]), top + y_scale.compute(data.y[row])]
}
"""


@pytest.fixture
def decisions(hostile):
    """The scored images, the lowest scores first; by neglabel, which decides."""
    return pd.read_parquet(hostile.folder / SCORES).sort_values("neglabel:rest", kind="stable")


@pytest.fixture
def map_of(hostile, page_of):
    """A function that opens the map of the hostile project and waits until it is drawn."""

    def open_map(**options):
        page = page_of(hostile.folder / "results/explore/mini/map.html", **options)
        page.get_by_text("lowest scores first").wait_for()
        page.wait_for_function("Bokeh.documents[0].is_idle")
        return page

    return open_map


def rows_of(page):
    """The texts of the cells of the list, row by row."""
    rows = page.locator(".slick-row")
    return [row.locator(".slick-cell").all_inner_texts() for row in rows.all()]


@pytest.mark.parametrize(("width", "dark"), [(1440, False), (390, True)])
def test_the_list_shows_the_lowest_scores_first(map_of, decisions, width, dark):
    page = map_of(width=width, dark=dark)
    first = rows_of(page)[:5]
    assert [row[0] for row in first] == decisions["image_id"].head(5).tolist()
    assert [row[2] for row in first] == decisions["concept"].head(5).tolist()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("column", ["image_id", "concept"])
def test_hovering_shows_the_card_of_the_point(map_of, decisions, column):
    page = map_of()
    lowest = decisions[decisions[column].str.contains("<img")].iloc[0]
    page.mouse.move(*page.evaluate(POSITION, lowest["image_id"]))
    card = page.locator(".card").filter(has_text=lowest["image_id"])
    card.wait_for()
    text = card.inner_text()
    assert lowest["concept"] in text
    assert f"score {lowest['neglabel:rest']:.4g}" in text
    assert f"p {lowest['neglabel:rest p']:.4g}" in text
    assert card.locator("img").evaluate("image => image.naturalWidth") > 0


def test_the_select_switches_colours_and_legend(map_of, hostile):
    page = map_of()
    names = pd.read_parquet(
        hostile.folder / "results/names/tinyclip/photos.fit/words/kmeans_3/seed0.parquet"
    )["name"]
    plot = page.locator(".bk-Figure")
    by_set = plot.screenshot()
    assert page.get_by_text("strange", exact=True).first.is_visible()
    page.get_by_label("Colour").select_option("by cluster")
    page.get_by_text(f"0: {names[0]}", exact=True).first.wait_for()
    by_cluster = plot.screenshot()
    page.get_by_label("Colour").select_option("by score")
    page.get_by_text("or more").wait_for()
    assert len({by_set, by_cluster, plot.screenshot()}) == 3


@pytest.mark.parametrize("text", ["<script>ALERT", "🦊", 'script>💥"'])
def test_the_filter_narrows_the_list(map_of, hostile, decisions, text):
    page = map_of()
    page.get_by_label("Find").press_sequentially(text)
    texts = decisions["image_id"] + "\n" + decisions["concept"]
    expected = decisions["image_id"][texts.str.lower().str.contains(text.lower(), regex=False)]
    count = page.get_by_text("lowest scores first").inner_text()
    scored = [row[0] for row in rows_of(page) if row[3]]
    assert scored == expected.tolist()
    assert 0 < int(count.split()[0]) < int(count.split()[2])


def test_a_tap_on_a_point_puts_it_into_the_list(map_of, decisions):
    page, lowest = map_of(), decisions["image_id"].iloc[0]
    page.mouse.click(*page.evaluate(POSITION, lowest))
    page.get_by_text("chosen images").wait_for()
    assert rows_of(page)[0][0] == lowest
