import math
import re
import xml.etree.ElementTree as ET

import pytest

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.report import plots
from workflow_scripts.lib.report.plots import dot_plot, line_plot

SVG = "{http://www.w3.org/2000/svg}"
SWEEP = {
    "temi": ([15, 60, 240], [0.9, 0.94, 0.92], [0.89, 0.93, 0.91], [0.91, 0.95, 0.93]),
    "k-means": ([15, 60, 240], [0.85, 0.9, 0.88]),
}


@pytest.fixture
def draw(tmp_path):
    def call(function, *args, **kwargs):
        path = tmp_path / "plot.svg"
        function(path, *args, **kwargs)
        return ET.parse(path).getroot()

    return call


def texts(svg):
    return {text.text: text for text in svg.iter(f"{SVG}text")}


def where(element, *names):
    return tuple(float(element.get(name)) for name in names)


def bars(svg, series):
    style = f"error c{series}"
    return [
        where(line, "x1", "y1", "x2", "y2")
        for line in svg.iter(f"{SVG}line")
        if line.get("class") == style
    ]


def circles(svg):
    """Markers of the first series, the legend's last."""
    return [where(circle, "cx", "cy") for circle in svg.iter(f"{SVG}circle")]


# ---- where things are ----------------------------------------------------------------------------


def test_points_lie_at_their_values(draw):
    svg = draw(line_plot, {"one": ([1, 2, 4], [0.2, 0.4, 0.3])}, "x", "y")
    labels = texts(svg)
    # Labels sit on their grid line, 4.5 pixels below its middle.
    y_of = {value: where(labels[value], "y")[0] - 4.5 for value in ("0.20", "0.30", "0.40")}
    x_of = {value: where(labels[value], "x")[0] for value in ("1", "2", "4")}
    *points, _ = circles(svg)
    assert points == [
        pytest.approx((x_of[x], y_of[y]), abs=0.2)
        for x, y in (("1", "0.20"), ("2", "0.40"), ("4", "0.30"))
    ]
    assert x_of["4"] - x_of["2"] == pytest.approx(2 * (x_of["2"] - x_of["1"]), abs=0.3)
    corners = svg.find(f"{SVG}polyline").get("points").split()
    assert corners == [f"{x:.1f},{y:.1f}" for x, y in points]


def test_a_logarithmic_axis_spaces_factors_evenly(draw):
    svg = draw(line_plot, SWEEP, "K", "AUROC", log_x=True)
    x_of = [where(texts(svg)[label], "x")[0] for label in ("15", "60", "240")]
    assert x_of[2] - x_of[1] == pytest.approx(x_of[1] - x_of[0], abs=0.2)


def test_error_bars_span_low_to_high(draw):
    svg = draw(line_plot, SWEEP, "K", "AUROC")
    y_of = {v: where(texts(svg)[f"{v:.2f}"], "y")[0] - 4.5 for v in (0.86, 0.94)}
    pixel = (y_of[0.94] - y_of[0.86]) / 0.08
    for (_, low, _, high), value in zip(bars(svg, 0), SWEEP["temi"][2], strict=True):
        assert low == pytest.approx(y_of[0.86] + pixel * (value - 0.86), abs=0.2)
        assert high - low == pytest.approx(0.02 * pixel, abs=0.2)
    assert all(low == high for _, low, _, high in bars(svg, 1)), "no bars where none are given"


def test_dots_lie_in_the_row_of_their_name(draw):
    names = ["WordNet", "COCO", "Open Images"]
    svg = draw(dot_plot, names, {"MCM": ([0.8, 0.9, 0.85],), "kNN": ([0.7, 0.8, 0.9],)}, "AUROC")
    labels = texts(svg)
    *points, _ = circles(svg)
    for name, (x, y), value in zip(names, points, ("0.80", "0.90", "0.85"), strict=True):
        assert abs(y - where(labels[name], "y")[0]) < plots.ROW
        assert x == pytest.approx(where(labels[value], "x")[0], abs=0.2)


def test_everything_lies_inside_the_picture(draw):
    series = {f"a series with a long name {i}": ([1, 1e6], [i, 1e-3]) for i in range(10)}
    svg = draw(line_plot, series, "x", "y", title="A title")
    width, height = where(svg, "width", "height")
    for text in svg.iter(f"{SVG}text"):
        x, y = where(text, "x", "y")
        assert 0 < x < width
        assert 0 < y < height
        if "end" in text.get("class"):
            assert x - 7 * len(text.text) > 0
        elif not text.get("class"):
            assert x + 7 * len(text.text) < width


def test_crowded_labels_are_left_out(draw):
    svg = draw(line_plot, {"": (range(100), range(100))}, "x", "y")
    row = [t for t in svg.iter(f"{SVG}text") if t.get("class") == "quiet middle"]
    at = [where(text, "x")[0] for text in row]
    assert 5 < len(row) < 40
    for one, two, text in zip(at, at[1:], row, strict=False):
        assert two - one > 7 * len(text.text)


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0.9, 0.9], ["0.84", "0.86", "0.88", "0.90", "0.92", "0.94", "0.96"]),
        ([0, 1], ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        ([0.913, 0.927], ["0.910", "0.915", "0.920", "0.925", "0.930"]),
        ([-3, 40], ["-10", "0", "10", "20", "30", "40"]),
    ],
)
def test_ticks_are_round_and_enclose_the_values(values, labels):
    ticks = plots._ticks({"": [(0, v, v, v) for v in values]})
    assert ticks[0][0] <= min(values) + 1e-9
    assert ticks[-1][0] >= max(values) - 1e-9
    assert [label for _, label in ticks] == labels
    assert all(float(label) == pytest.approx(value, abs=1e-9) for value, label in ticks)


# ---- content -------------------------------------------------------------------------------------


def test_names_are_escaped(draw):
    nasty = "</text><script>alert('1')</script> & \x00\x1b\ud800 \"quoted\""
    svg = draw(line_plot, {nasty: ([1], [2])}, nasty, nasty, title=nasty)
    assert not list(svg.iter(f"{SVG}script"))
    shown = nasty.replace("\x00\x1b\ud800", "   ")
    assert [t.text for t in svg.iter(f"{SVG}text")].count(shown) == 4
    svg = draw(dot_plot, [nasty], {"a": ([1],)}, "x")
    assert shown in texts(svg)


def test_missing_values_are_left_out(draw):
    svg = draw(line_plot, {"one": ([1, 2, 3], [0.5, math.nan, None])}, "x", "y")
    assert len(circles(svg)) == 2, "one point and the legend"
    svg = draw(dot_plot, ["a", "b"], {"one": ([0.5, math.nan], [0.4, None], [None, 1])}, "x")
    assert len(circles(svg)) == 2
    x1, _, x2, _ = bars(svg, 0)[0]
    assert x1 < x2, "one end of the bar is known"


def test_a_single_series_without_a_name_has_no_legend(draw):
    svg = draw(line_plot, {"": ([1, 2], [3, 4])}, "x", "y")
    assert len(circles(svg)) == 2


def test_series_stay_apart_when_colours_run_out(draw):
    svg = draw(line_plot, {str(i): ([1, 2], [i, i]) for i in range(20)}, "x", "y")
    markers = [e for e in svg.iter() if (e.get("class") or "").startswith("marker")]
    shapes = [(e.tag, e.get("class"), len((e.get("points") or "").split())) for e in markers]
    lines = [e.get("class") for e in svg.iter(f"{SVG}polyline")]
    assert len({*zip(lines, shapes[:40:2], strict=True)}) >= 16


def test_colours_have_contrast_in_both_themes():
    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    def contrast(*colours):
        low, high = sorted(map(luminance, colours))
        return (high + 0.05) / (low + 0.05)

    for which, theme in enumerate((plots.LIGHT, plots.DARK)):
        for colour in [theme["text"], theme["quiet"], *(pair[which] for pair in plots.COLOURS)]:
            assert contrast(colour, theme["paper"]) >= 4.5, colour


def test_both_themes_style_every_class(draw):
    svg = draw(line_plot, SWEEP, "K", "AUROC")
    style = svg.find(f"{SVG}style").text
    light, dark = style.split("@media(prefers-color-scheme:dark)")
    used = {c for e in svg.iter() for c in (e.get("class") or "").split()}
    for name in used - {"end", "middle", "title", "error", "line"}:
        assert re.search(rf"\.{name}\b", light), name
        assert re.search(rf"\.{name}\b", dark), name


def test_the_same_input_gives_the_same_bytes(tmp_path):
    for name in ("a.svg", "b.svg"):
        line_plot(tmp_path / name, SWEEP, "K", "AUROC", log_x=True)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_refuses_bad_input(tmp_path):
    path = tmp_path / "plot.svg"
    with pytest.raises(InputError, match="no series has a point"):
        line_plot(path, {"one": ([1], [math.nan])}, "x", "y")
    with pytest.raises(InputError, match="no series has a point"):
        dot_plot(path, [], {}, "x")
    with pytest.raises(InputError, match=r"'one' have lengths \[2, 1, 1, 1\]"):
        line_plot(path, {"one": ([1, 2], [1])}, "x", "y")
    with pytest.raises(InputError, match="logarithmic"):
        line_plot(path, {"one": ([0, 1], [1, 2])}, "x", "y", log_x=True)
    assert not path.exists()
