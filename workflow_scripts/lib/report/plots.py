"""Two kinds of plots as SVG files: a line plot for sweeps, a dot plot for named alternatives.

Plain SVG text, so no plotting package is needed: it is small, scales, and follows the light or dark
theme of the page. The alternatives are drawn as dots with their intervals and not as bars, since
bars must start at 0, where AUROCs of .90 and .92 look alike.
"""

import html
import math
import re

from workflow_scripts.lib.artifacts import write_text
from workflow_scripts.lib.errors import InputError

WIDTH, HEIGHT = 480, 300  # of the area between the axes, in pixels
LETTER = 7.3  # generous width of a letter at font size 13
ROW, GAP = 17, 9  # height of a series in a dot plot, gap between rows
# Told apart without full colour vision, and at least 4.5:1 against the background; (light, dark).
COLOURS = [
    ("#0067ab", "#5cadf0"), ("#b94700", "#f2934a"), ("#007556", "#43c59e"), ("#97388b", "#dc93d5"),
    ("#736000", "#d6b849"), ("#b00038", "#ff8298"), ("#006f80", "#45c6da"), ("#50575f", "#b4bcc6"),
]  # fmt: skip
MARKERS = ["circle", "square", "diamond", "up", "down"]
LIGHT = {"paper": "#ffffff", "text": "#1f2328", "quiet": "#59626c", "grid": "#e4e7eb"}
DARK = {"paper": "#0d1117", "text": "#e6edf3", "quiet": "#9ba5b0", "grid": "#2a3038"}
UNPRINTABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


def line_plot(path, series, x_label, y_label, title="", log_x=False):
    """Write an SVG of one line per series over a number, e.g. AUROC over the number of clusters.

    series: dict of name -> (x, y) or (x, y, low, high): sequences of numbers of one length, low and
        high the ends of the error bars. Points that are NaN, or None, are left out.
    log_x: logarithmic x axis. The x axis is marked at the x of the points.
    Raises InputError if there is nothing to draw, lengths differ, or x <= 0 on a logarithmic axis.
    """
    points = {name: sorted(_points(name, *columns)) for name, columns in series.items()}
    xs = sorted({x for rows in points.values() for x, *_ in rows})
    _refuse_nothing(xs)
    if log_x and xs[0] <= 0:
        raise InputError(f"line_plot: x = {xs[0]} cannot be drawn on a logarithmic axis")
    # Error bars of one x stand side by side.
    bars = any(low < high for rows in points.values() for _, _, low, high in rows)
    aside = min(3, 24 / len(points)) if bars else 0
    spread = aside * (len(points) - 1)
    y_ticks = _ticks(points)
    left = 50 + LETTER * max(len(label) for _, label in y_ticks)
    top = 50 if title else 20
    x_at = _scale(xs[0], xs[-1], left + 18 + spread / 2, left + WIDTH - 18 - spread / 2, log_x)
    y_at = _scale(y_ticks[0][0], y_ticks[-1][0], top + HEIGHT, top)
    bottom, right = top + HEIGHT, left + WIDTH

    body = [_text(left, 26, title, "title")] if title else []
    for y, label in y_ticks:
        body += [_line(left, y_at(y), right, y_at(y), "grid")]
        body += [_text(left - 8, y_at(y) + 4.5, label, "quiet end")]
    body += [_line(left, bottom, right, bottom, "axis")]
    free = -math.inf
    for x in xs:
        label = _number(x)
        if x_at(x) - LETTER * len(label) / 2 > free:
            free = x_at(x) + LETTER * (len(label) / 2 + 1)
            body += [_line(x_at(x), bottom, x_at(x), bottom + 5, "axis")]
            body += [_text(x_at(x), bottom + 20, label, "quiet middle")]
    body += [_text(left + WIDTH / 2, bottom + 44, x_label, "middle")]
    body += [_text(18, top + HEIGHT / 2, y_label, "middle", turned=True)]
    for i, rows in enumerate(points.values()):
        shift = aside * i - spread / 2
        at = [(x_at(x) + shift, *(y_at(v) for v in values)) for x, *values in rows]
        corners = " ".join(f"{x:.1f},{y:.1f}" for x, y, _, _ in at)
        body += [f'<polyline class="line {_style(i)}" points="{corners}"/>']
        body += [_line(x, low, x, high, f"error {_style(i)}") for x, _, low, high in at]
        body += [_marker(i, x, y) for x, y, _, _ in at]
    body += _legend(points, right + 26, top + 8)
    _write(path, body, right + 30 + _legend_width(points), bottom + 60, title or y_label)


def dot_plot(path, names, series, x_label, title=""):
    """Write an SVG of one row per name and one dot per series in it, e.g. AUROC per corpus.

    names: sequence of n row names, drawn from top to bottom.
    series: dict of name -> (values,) or (values, low, high): sequences of n numbers, low and high
        the ends of the error bars. Values that are NaN, or None, are left out.
    Raises InputError if there is nothing to draw or lengths differ.
    """
    points = {name: _points(name, range(len(names)), *columns) for name, columns in series.items()}
    _refuse_nothing([row for rows in points.values() for row in rows])
    x_ticks = _ticks(points)
    left = 30 + LETTER * max(len(str(name)) for name in names)
    top = 50 if title else 20
    height = ROW * len(points) + GAP
    bottom, right = top + height * len(names), left + WIDTH
    x_at = _scale(x_ticks[0][0], x_ticks[-1][0], left + 10, right - 10)

    body = [_text(left, 26, title, "title")] if title else []
    for x, label in x_ticks:
        body += [_line(x_at(x), top, x_at(x), bottom, "grid")]
        body += [_text(x_at(x), bottom + 20, label, "quiet middle")]
    for i, name in enumerate(names):
        body += [_line(left, top + height * i, right, top + height * i, "grid")]
        body += [_text(left - 12, top + height * (i + 0.5) + 4.5, name, "end")]
    body += [_line(left, bottom, right, bottom, "axis")]
    body += [_text(left + WIDTH / 2, bottom + 44, x_label, "middle")]
    for i, rows in enumerate(points.values()):
        for row, *values in rows:
            y = top + height * row + GAP / 2 + ROW * (i + 0.5)
            x, low, high = (x_at(value) for value in values)
            body += [_line(low, y, high, y, f"error {_style(i)}"), _marker(i, x, y)]
    body += _legend(points, right + 26, top + 8)
    _write(path, body, right + 30 + _legend_width(points), bottom + 60, title or x_label)


def _points(name, x, y, low=None, high=None):
    """[(x, y, low, high)] of the finite points; low = high = y where there is no error bar."""
    columns = [x, y, y if low is None else low, y if high is None else high]
    if len({len(column) for column in columns}) > 1:
        raise InputError(f"plot: the columns of {name!r} have lengths {[*map(len, columns)]}")
    rows = []
    for values in zip(*columns, strict=True):
        at, value, *ends = (math.nan if v is None else float(v) for v in values)
        if math.isfinite(at) and math.isfinite(value):
            rows.append((at, value, *(end if math.isfinite(end) else value for end in ends)))
    return rows


def _refuse_nothing(points):
    if not points:
        raise InputError("plot: no series has a point that is a number")


def _ticks(points):
    """[(value, label)] of 1-2-5 steps around all values and error bars."""
    values = [v for rows in points.values() for _, *ends in rows for v in ends]
    low, high = min(values), max(values)
    if low == high:
        around = abs(low) * 0.05 or 1
        low, high = low - around, high + around
    span = high - low
    power = 10.0 ** math.floor(math.log10(span / 5))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= 6)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    # Overlaps of a hundredth of a step, as rounding makes, add no tick.
    first, last = math.floor(low / step + 0.01), math.ceil(high / step - 0.01)
    return [(i * step, f"{i * step:.{digits}f}") for i in range(first, last + 1)]


def _scale(low, high, start, stop, log=False):
    """Function from low..high to start..stop; the middle if low = high."""
    of = math.log if log else float
    if low == high:
        return lambda value: (start + stop) / 2
    return lambda value: start + (stop - start) * (of(value) - of(low)) / (of(high) - of(low))


def _number(value):
    return f"{value:,.0f}" if value == int(value) else f"{value:.4g}"


def _style(i):
    """Classes of series i: its colour, and dashes once the colours are used up."""
    return f"c{i % len(COLOURS)}" + (" dashed" if i // len(COLOURS) % 2 else "")


def _line(x1, y1, x2, y2, style):
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x, y, text, style="", turned=False):
    turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}"{turn}>{_escaped(text)}</text>'


def _escaped(text):
    """Text from data, harmless in XML, without characters that XML forbids."""
    return html.escape(UNPRINTABLE.sub(" ", str(text)))


def _marker(i, x, y):
    shape, style = MARKERS[i % len(MARKERS)], f"marker c{i % len(COLOURS)}"
    if shape == "circle":
        return f'<circle class="{style}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
    corners = {
        "square": [(-3.6, -3.6), (3.6, -3.6), (3.6, 3.6), (-3.6, 3.6)],
        "diamond": [(0, -5), (5, 0), (0, 5), (-5, 0)],
        "up": [(0, -4.8), (4.6, 3.4), (-4.6, 3.4)],
        "down": [(0, 4.8), (4.6, -3.4), (-4.6, -3.4)],
    }[shape]
    at = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
    return f'<polygon class="{style}" points="{at}"/>'


def _legend(names, x, y):
    """Marker and name of every series; none for a single one without a name."""
    out = []
    for i, name in enumerate(names if _legend_width(names) else []):
        out += [_line(x - 10, y + 20 * i, x + 10, y + 20 * i, f"line {_style(i)}")]
        out += [_marker(i, x, y + 20 * i), _text(x + 18, y + 20 * i + 4.5, name)]
    return out


def _legend_width(names):
    longest = max(len(str(name)) for name in names)
    return 30 + LETTER * longest if longest else 0


def _theme(colours, which):
    rules = [f".paper{{fill:{colours['paper']}}}", f"text{{fill:{colours['text']}}}"]
    rules += [f".quiet{{fill:{colours['quiet']}}}", f".grid{{stroke:{colours['grid']}}}"]
    rules += [f".axis{{stroke:{colours['quiet']}}}", f".marker{{stroke:{colours['paper']}}}"]
    for i, pair in enumerate(COLOURS):
        rules += [f".line.c{i},.error.c{i}{{stroke:{pair[which]}}}"]
        rules += [f".marker.c{i}{{fill:{pair[which]}}}"]
    return "".join(rules)


STYLE = (
    "text{font:13px system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif}"
    ".title{font-size:15px;font-weight:600}.end{text-anchor:end}.middle{text-anchor:middle}"
    ".grid,.axis{stroke-width:1}.line{fill:none;stroke-width:2;stroke-linejoin:round}"
    ".error{stroke-width:1.5;opacity:.75}.line.dashed{stroke-dasharray:5 4}"
    f"{_theme(LIGHT, 0)}@media(prefers-color-scheme:dark){{{_theme(DARK, 1)}}}"
)


def _write(path, body, width, height, title):
    width, height = math.ceil(width), math.ceil(height)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img">',
        f"<title>{_escaped(title)}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{width}" height="{height}"/>',
        *body,
        "</svg>",
        "",
    ]
    write_text(path, "\n".join(lines))
