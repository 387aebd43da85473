"""What the figures show is read from the text and the shapes of their SVG."""

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import matplotlib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.report import figures
from workflow_scripts.lib.report.figures import dot_panels, line_panels, wrapped

SVG = "{http://www.w3.org/2000/svg}"
FIRST, SECOND = figures.COLOURS[:2]
WORDS = ("x label", "a title", "a caption")
NASTY = {
    "math": "cost in $x_1$ of $10",
    "underscores": "_frequency_10_",
    "script": "</text><script>&\"'</script>",
    "umlauts": "Zoë Müller",
    "emoji": "dog 🐕",
    "unprintable": "a\x00b\x1bc",
}


def means(index, mean, low=None, high=None):
    low, high = (mean if end is None else end for end in (low, high))
    return pd.DataFrame({"mean": mean, "low": low, "high": high}, index=index, dtype=float)


SWEEP = {
    "temi": means([15, 60, 240], [0.9, 0.94, 0.92], [0.89, 0.93, 0.91], [0.91, 0.95, 0.93]),
    "k-means": means([15, 60, 240], [0.85, 0.9, 0.88]),
}


@pytest.fixture
def draw(tmp_path):
    def call(function, *args, **kwargs):
        path = tmp_path / "figure.svg"
        function([path], *args, **kwargs)
        return ET.parse(path).getroot()

    return call


def labels(svg):
    return [text.text for text in svg.iter(f"{SVG}text")]


def places(svg):
    """Text -> where it is; of several equal texts, the last one."""
    found = {}
    for text in svg.iter(f"{SVG}text"):
        x, y = text.get("x"), text.get("y")
        if x is None:
            x, y = re.match(r"translate\((\S+) (\S+)\)", text.get("transform")).groups()
        found[text.text] = (float(x), float(y))
    return found


def strokes(svg, colour):
    """Lists of corners of the lines in this colour."""
    found = []
    for path in svg.iter(f"{SVG}path"):
        if f"stroke: {colour}" in (path.get("style") or "") and path.get("id") is None:
            numbers = [float(number) for number in re.findall(r"-?[\d.]+", path.get("d"))]
            found.append(list(zip(numbers[::2], numbers[1::2], strict=True)))
    return found


def markers(svg, colour):
    """Where the markers of this colour are, in the order of drawing; the legend's come last."""
    return [
        (float(use.get("x")), float(use.get("y")))
        for use in svg.iter(f"{SVG}use")
        if f"fill: {colour}" in (use.get("style") or "")
    ]


# ---- where things are ----------------------------------------------------------------------------


def test_dots_and_bars_lie_at_their_values(draw):
    frame = means(["b", "a"], [0.4, 0.2], [0.3, 0.1], [0.6, 0.3])
    svg = draw(dot_panels, {"mcm": frame}, {"a": "row a", "b": "row b"}, *WORDS)
    where = places(svg)
    (x_b, y_b), (x_a, y_a) = markers(svg, FIRST)
    assert y_a < y_b, "rows are drawn in the order of `rows`, from top to bottom"
    for y, label in ((y_a, "row a"), (y_b, "row b")):
        assert abs(y - where[label][1]) < 6
    unit = (where["0.6"][0] - where["0.2"][0]) / 0.4
    assert x_b - x_a == pytest.approx(0.2 * unit, abs=0.1)
    bar_b, bar_a = ([x for x, _ in line] for line in strokes(svg, FIRST))
    assert bar_b == pytest.approx([x_b - 0.1 * unit, x_b + 0.2 * unit], abs=0.1)
    assert bar_a == pytest.approx([x_a - 0.1 * unit, x_a + 0.1 * unit], abs=0.1)


def test_panels_share_rows_and_the_x_axis(draw):
    panels = {name: means(["a", "b"], [0.4, x]) for name, x in zip("uvwxyz", "456789", strict=True)}
    svg = draw(dot_panels, panels, {"a": "row a", "b": "row b"}, *WORDS)
    at = markers(svg, FIRST)
    steps = [b - a for (a, _), (b, _) in zip(at[::2], at[1::2], strict=True)]
    assert np.divide(steps, steps[0]) == pytest.approx(
        [(x - 0.4) / 3.6 for x in range(4, 10)], abs=0.01
    )
    shown = labels(svg)
    assert shown.count("row a") == shown.count("row b") == 2, "only in the first of three columns"
    assert shown.count("x label") == 3, "only below the last row"
    assert set(panels) <= set(shown)


def test_a_panel_has_only_its_own_rows(draw):
    """The panels of a line have the same rows, so another list of rows begins a new line."""
    panels = {name: means(["a", "b"], [0.4, 0.9]) for name in ("one", "two")}
    panels["three"] = means(["c"], [0.6])
    svg = draw(dot_panels, panels, {"a": "row a", "c": "row c", "b": "row b"}, *WORDS)
    where = places(svg)
    assert [labels(svg).count(f"row {name}") for name in "abc"] == [1, 1, 1]
    assert where["one"][1] == where["two"][1] < where["row a"][1] < where["three"][1]
    assert where["three"][0] == where["one"][0]
    c = markers(svg, FIRST)[-1]
    assert abs(c[1] - where["row c"][1]) < 6


def test_a_mark_is_a_dashed_line_through_its_value(draw):
    panels = {name: means(["a", "b"], [0.4, 0.9]) for name in ("one", "two")}
    svg = draw(dot_panels, panels, {"a": "a", "b": "b"}, *WORDS, marks={"two": 0.9})
    ((bottom, top),) = strokes(svg, SECOND)
    x = markers(svg, FIRST)[3][0]
    assert (bottom[0], top[0]) == pytest.approx((x, x), abs=0.1)


def test_lines_pass_through_their_points(draw):
    svg = draw(line_panels, {"": {"": means([4, 1, 2], [0.3, 0.2, 0.4])}}, "x", "y", "t", "c")
    points = markers(svg, FIRST)
    x, y = zip(*points, strict=True)
    assert x[2] - x[1] == pytest.approx(2 * (x[1] - x[0]), abs=0.1), "sorted by x"
    assert y[0] - y[2] == pytest.approx((y[0] - y[1]) / 2, abs=0.1)
    (line,) = (line for line in strokes(svg, FIRST) if len(line) == 3)
    assert np.array(line) == pytest.approx(np.array(points), abs=0.01)


def test_a_logarithmic_axis_spaces_factors_evenly(draw):
    svg = draw(line_panels, {"": SWEEP}, "K", "AUROC", "t", "c", log_x=True)
    x = [places(svg)[label][0] for label in ("15", "60", "240")]
    assert x[2] - x[1] == pytest.approx(x[1] - x[0], abs=0.2)


def test_error_bars_of_one_x_stand_apart_and_span_low_to_high(draw):
    svg = draw(line_panels, {"": SWEEP}, "K", "AUROC", "t", "c", log_x=True)
    first, second = (markers(svg, colour)[:3] for colour in (FIRST, SECOND))
    unit = (first[0][1] - first[1][1]) / 0.04
    bars = [line for line in strokes(svg, FIRST) if len(line) == 2][:3]
    for (x, y), bar in zip(first, bars, strict=True):
        expected = [(x, y + 0.01 * unit), (x, y - 0.01 * unit)]
        assert np.array(bar) == pytest.approx(np.array(expected), abs=0.1)
    assert all(two[0] - one[0] > 1 for one, two in zip(first, second, strict=True))


def first_panel(svg):
    """(left, right), (top, bottom) of its frame."""
    frame = next(path for path in svg.iter(f"{SVG}g") if path.get("id") == "patch_2")
    numbers = [float(n) for n in re.findall(r"-?[\d.]+", frame.find(f"{SVG}path").get("d"))]
    return [(min(part), max(part)) for part in (numbers[::2], numbers[1::2])]


def test_panels_of_different_heights_show_all_their_points(draw):
    high, low = means([1, 2, 3], [0.9, 0.95, 0.92]), means([1, 2, 3], [0.2, 0.15, 0.25])
    svg = draw(line_panels, {"one": {"": high}, "two": {"": low}}, "x", "y", "t", "c")
    _, (top, bottom) = first_panel(svg)
    heights = [y for _, y in markers(svg, FIRST)]
    assert len(heights) == 6 and all(top < y < bottom for y in heights)
    assert heights[0] < heights[3], "they share the axis"


def test_all_points_and_bars_lie_inside_their_panel(draw):
    svg = draw(line_panels, {"": SWEEP}, "K", "AUROC", "t", "c", log_x=True)
    (left, right), (top, bottom) = first_panel(svg)
    drawn = [*markers(svg, FIRST)[:3], *markers(svg, SECOND)[:3]]
    drawn += [end for line in strokes(svg, FIRST)[:3] for end in line]
    assert all(left < x < right and top < y < bottom for x, y in drawn)


def test_crowded_tick_labels_are_left_out(draw):
    line = means(range(1, 101), np.linspace(0.1, 0.2, 100))
    svg = draw(line_panels, {"": {"": line}}, "x", "y", "t", "c")
    shown = [text for text in labels(svg) if text.isdigit()]
    assert shown == ["1", "14", "27", "40", "53", "66", "79", "92"]


# ---- names ---------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("name", NASTY.values(), ids=NASTY)
def test_names_come_out_as_text(draw, name):
    shown = figures.UNPRINTABLE.sub(" ", name)
    svg = draw(dot_panels, {name: means([name], [1])}, {name: name}, name, name, name)
    assert labels(svg).count(shown) == 5, "panel, row, axis, title, caption"
    svg = draw(line_panels, {name: {name: means([1, 2], [1, 2])}}, name, name, name, name)
    assert labels(svg).count(shown) == 6, "panel, series, axes, title, caption"
    assert not list(svg.iter(f"{SVG}script"))


def test_long_names_are_wrapped_and_cut():
    assert wrapped("one two three", 8) == "one two\nthree"
    assert wrapped("one two three four", 8) == "one two\nthree…"
    assert wrapped("x" * 100, 10) == "x" * 10 + "\n" + "x" * 9 + "…"
    assert wrapped("", 10) == ""
    assert wrapped("a\x00b\x1bc\ud800d", 10) == "a b c d"


def test_rows_with_long_names_do_not_overlap(draw):
    rows = {i: f"a long name of {i} that needs two lines to be shown in" for i in range(3)}
    svg = draw(dot_panels, {"mcm": means([0, 1, 2], [1, 2, 3])}, rows, *WORDS)
    heights = [places(svg)[f"a long name of {i} that needs two"][1] for i in range(3)]
    assert all(20 < step < 40 for step in np.diff(heights))


def test_everything_lies_inside_the_picture(draw):
    panels = {"p" * 300: {f"series {i} with a long name " * 9: SWEEP["temi"] for i in range(9)}}
    panels |= {f"panel {i}": {"": SWEEP["temi"]} for i in range(5)}
    svg = draw(line_panels, panels, "x" * 300, "y" * 300, "title " * 90, "caption " * 200)
    width, height = (float(number) for number in svg.get("viewBox").split()[2:])
    for text, (x, y) in places(svg).items():
        assert 0 <= x <= width, text
        assert 0 <= y <= height, text


def test_a_series_looks_the_same_in_all_panels(draw):
    panels = {"one": SWEEP, "two": {"k-means": SWEEP["k-means"]}}
    svg = draw(line_panels, panels, "x", "y", "t", "c")
    # Three points per line, and one marker in the legend.
    assert [len(markers(svg, colour)) for colour in (FIRST, SECOND)] == [3 + 1, 6 + 1]


def test_series_stay_apart_when_colours_run_out():
    looks = figures._looks(map(str, range(14)))
    assert len({tuple(look.values()) for look in looks.values()}) == 14


def test_a_single_series_without_a_name_has_no_legend(draw):
    svg = draw(line_panels, {"": {"": means([1, 2], [3, 4])}}, "x", "y", "t", "c")
    assert len(markers(svg, FIRST)) == 2


# ---- what is missing -----------------------------------------------------------------------------


def test_missing_values_are_left_out(draw):
    gone = float("nan")
    frame = means(["a", "b", "c"], [0.5, gone, 0.7], [gone, gone, 0.6], [gone, 1, 0.8])
    svg = draw(dot_panels, {"one": frame}, {row: row for row in "abc"}, *WORDS)
    assert len(markers(svg, FIRST)) == 2
    lengths = [line[-1][0] - line[0][0] for line in strokes(svg, FIRST)]
    assert lengths[0] == 0, "no bar without an interval"
    assert lengths[1] > 10
    svg = draw(line_panels, {"": {"": means([1, 2, 3], [1, gone, 2])}}, "x", "y", "t", "c")
    assert len(markers(svg, FIRST)) == 2


def test_one_row_only(draw):
    svg = draw(dot_panels, {"mcm": means(["a"], [0.5])}, {"a": "the row"}, *WORDS)
    assert {"mcm", "the row", *WORDS} <= set(labels(svg))
    svg = draw(line_panels, {"": {"": means([3], [0.5])}}, "x", "y", "t", "c", log_x=True)
    assert "3" in labels(svg)


def test_refuses_bad_input(tmp_path):
    path = tmp_path / "figure.svg"
    nothing = means([1], [float("nan")])
    for panels in ({}, {"mcm": nothing}):
        with pytest.raises(InputError, match="a title: there is nothing to draw"):
            dot_panels([path], panels, {1: "a"}, *WORDS)
    for panels in ({}, {"mcm": {"one": nothing}}, {"mcm": {}}):
        with pytest.raises(InputError, match="a title: there is nothing to draw"):
            line_panels([path], panels, "x", "y", "a title", "a caption")
    with pytest.raises(InputError, match="logarithmic"):
        line_panels([path], {"": {"": means([0, 1], [1, 2])}}, "x", "y", "t", "c", log_x=True)
    assert not path.exists()


# ---- bytes ---------------------------------------------------------------------------------------

DRAW = """
import sys
import pandas as pd
from workflow_scripts.lib.report.figures import line_panels
frame = pd.DataFrame({"mean": [1.0, 2], "low": [0.0, 1], "high": [2.0, 3]}, index=[1, 2])
line_panels(sys.argv[1:], {"a": {"b": frame, "c": frame}}, "x", "犬", "كلب", "c")
"""


def test_the_same_input_gives_the_same_bytes(tmp_path):
    contents = []
    for run, settings in enumerate(("", "font.size: 30\nsvg.fonttype: path\n")):
        folder = tmp_path / str(run)
        folder.mkdir()
        (folder / "matplotlibrc").write_text(settings)
        paths = [folder / "a.svg", folder / "a.png", folder / "a.pdf"]
        own = {"PYTHONHASHSEED": str(run), "MATPLOTLIBRC": str(folder), "PYTHONPATH": os.curdir}
        own |= {"SOURCE_DATE_EPOCH": str(run * 10**9)}
        subprocess.run([sys.executable, "-c", DRAW, *paths], env=os.environ | own, check=True)
        contents.append([path.read_bytes() for path in paths])
    assert contents[0] == contents[1], "whatever the date, the hashes and the user's settings"


def test_drawing_leaves_the_settings_of_matplotlib_alone(draw):
    before = dict(matplotlib.rcParams)
    draw(dot_panels, {"mcm": means(["a"], [0.5])}, {"a": "a"}, *WORDS)
    assert dict(matplotlib.rcParams) == before


def test_the_png_is_as_wide_as_a_page_and_no_temporary_file_stays(tmp_path):
    panels = {name: means(["a"], [0.5]) for name in "uvw"}
    dot_panels([tmp_path / "a.svg", tmp_path / "a.png"], panels, {"a": "a"}, *WORDS)
    with Image.open(tmp_path / "a.png") as image:
        assert image.width == 1200
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a.svg"]
