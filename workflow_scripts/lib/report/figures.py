"""Figures made of panels: dots with intervals for names, lines for numbers; as SVG, PNG and PDF.

Dots and not bars, since bars must start at 0, where AUROCs of .90 and .92 look alike.
The colours are those of Okabe and Ito (2008), which people with any form of colour blindness tell
apart; yellow is left out, for it is too pale on white. The same input gives the same bytes.
"""

import contextlib
import itertools
import re
import textwrap

import numpy as np
from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import NullLocator
from matplotlib.transforms import ScaledTranslation

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.replacing import replacing
from workflow_scripts.lib.report.fonts import BASE, families

COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#e69f00", "#56b4e9"]
MARKERS = "osD^v"
QUIET, GRID = "#595959", "#dddddd"
COLUMNS = 3  # panels side by side
WIDTHS = {1: 8, 2: 10, 3: 12}  # of a figure, in inches
DPI = 100
# A date would make the same figure differ from run to run.
UNDATED = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
UNPRINTABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]")

STYLE = {
    "font.family": BASE,
    "font.size": 10,
    "text.parse_math": False,  # names with a $ are names
    "svg.fonttype": "none",
    "svg.hashsalt": "clustermine",  # else the ids in an SVG are random
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": QUIET,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": GRID,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": "black",
    "ytick.labelcolor": "black",
    "legend.frameon": False,
}


def dot_panels(outputs, panels, rows, x_label, title, caption, marks=None):
    """Write a figure with a panel per entry: a row per name, a dot with its interval per row.

    outputs: paths, ending in .svg, .png or .pdf.
    panels: dict of name -> data frame of floats with the columns mean, low and high, its index the
        names of the panel's rows. A row without a mean is left empty; one without low or high has
        no bar there.
    rows: dict of row name -> the label to show, from top to bottom, for all panels.
    marks: dict of panel name -> x of a dashed line; panels that are missing have none.
    Raises InputError if there is nothing to draw.
    """
    _refuse_nothing([frame["mean"].dropna() for frame in panels.values()], title)
    own = [[row for row in rows if row in frame.index] for frame in panels.values()]
    labels = {row: wrapped(label, 34) for row, label in rows.items()}
    lines = 1 + max(label.count("\n") for label in labels.values())
    places = _places(own)
    most = [len(own[places.index((line, 0))]) for line in range(places[-1][0] + 1)]
    heights = [0.5 + 0.21 * lines * count for count in most]
    with _axes(outputs, panels, places, heights, x_label, title, caption) as axes:
        for axis, place, names, (panel, frame) in zip(
            axes, places, own, panels.items(), strict=True
        ):
            axis.grid(axis="y", visible=False)
            if panel in (marks or {}):
                axis.axvline(marks[panel], color=COLOURS[1], linestyle="--", linewidth=1)
            drawn = _drawable(frame)
            at = [names.index(row) for row in drawn.index]
            axis.hlines(at, drawn["low"], drawn["high"], color=COLOURS[0], linewidth=1.5)
            axis.plot(drawn["mean"], at, "o", color=COLOURS[0], markersize=5)
            axis.set_yticks(range(len(names)), [labels[row] for row in names])
            axis.set_ylim(len(names) - 0.4, -0.6)
            axis.tick_params(labelleft=place[1] == 0)


def line_panels(outputs, panels, x_label, y_label, title, caption, log_x=False):
    """Write a figure with a panel per entry: a line with error bars per series over a number.

    outputs: paths, ending in .svg, .png or .pdf.
    panels: dict of panel name -> dict of series name -> data frame of floats with the columns
        mean, low and high, its index the numbers x. Points without a mean are left out. A series
        looks the same in all panels.
    log_x: logarithmic x axis. The x axis is marked at the x of the points.
    Raises InputError if there is nothing to draw, or for x <= 0 on a logarithmic axis.
    """
    panels = {
        name: {label: _drawable(frame).sort_index() for label, frame in series.items()}
        for name, series in panels.items()
    }
    frames = [frame for series in panels.values() for frame in series.values()]
    _refuse_nothing(frames, title)
    xs = sorted({x for frame in frames for x in frame.index})
    if log_x and xs[0] <= 0:
        raise InputError(f"{title}: x = {xs[0]} cannot be drawn on a logarithmic axis")
    looks = _looks(label for series in panels.values() for label in series)
    places = [divmod(i, COLUMNS) for i in range(len(panels))]
    heights = [3.2] * (places[-1][0] + 1)
    with _axes(outputs, panels, places, heights, x_label, title, caption, looks) as axes:
        axes[0].set_xscale("log" if log_x else "linear")
        for axis in axes[1:]:
            axis.sharey(axes[0])  # before they are drawn in: the limits are those of all
        for axis, series in zip(axes, panels.values(), strict=True):
            for label, frame in series.items():
                _line(axis, frame, looks[label], list(looks).index(label) - (len(looks) - 1) / 2)
        axes[0].xaxis.set_minor_locator(NullLocator())
        axes[0].set_xticks(xs, _sparse_labels(np.log(xs) if log_x else xs, xs))
        for axis, (_, column) in zip(axes, places, strict=True):
            axis.tick_params(labelleft=column == 0)
            axis.set_ylabel(wrapped(y_label, 40) if column == 0 else "")


def wrapped(text, width, lines=2):
    """Text from data in lines of at most `width` letters, cut with an ellipsis after `lines`;
    characters that XML forbids are blanks."""
    rows = textwrap.wrap(UNPRINTABLE.sub(" ", str(text)), width)
    if len(rows) > lines:
        rows = [*rows[: lines - 1], f"{rows[lines - 1][: width - 1]}…"]
    return "\n".join(rows)


def _drawable(frame):
    """The rows with a mean; where low or high is unknown, it is the mean."""
    frame = frame[frame["mean"].notna()]
    ends = {end: frame[end].fillna(frame["mean"]) for end in ("low", "high")}
    return frame.assign(**ends)


def _refuse_nothing(frames, title):
    if not any(map(len, frames)):
        raise InputError(f"{title}: there is nothing to draw, no value is a number")


def _looks(names):
    """Name -> colour, marker and dashes of a series, all different for the first 14 names."""
    return {
        name: {
            "color": COLOURS[i % len(COLOURS)],
            "marker": MARKERS[i % len(MARKERS)],
            "linestyle": "--" if i // len(COLOURS) % 2 else "-",
        }
        for i, name in enumerate(dict.fromkeys(names))
    }


def _line(axis, frame, look, place):
    """Draw a series, moved sideways by `place` times 2 points so that error bars stand apart."""
    aside = ScaledTranslation(2 * place / 72, 0, axis.figure.dpi_scale_trans)
    where = {"transform": axis.transData + aside}
    axis.vlines(frame.index, frame["low"], frame["high"], color=look["color"], **where)
    axis.plot(frame.index, frame["mean"], markersize=5, **look, **where)
    # matplotlib leaves out what is drawn by a transform of its own.
    for end in ("low", "high"):
        axis.update_datalim(np.column_stack([frame.index, frame[end]]))
    axis.autoscale_view()


def _sparse_labels(positions, values):
    """A label per value, empty where it would be closer than an eighth of the axis to the last."""
    labels, last = [], -np.inf
    for position, value in zip(positions, values, strict=True):
        far = position - last >= (positions[-1] - positions[0]) / 8
        labels.append((f"{value:,.0f}" if value == int(value) else f"{value:.4g}") if far else "")
        last = position if far else last
    return labels


def _places(own):
    """Row and column of every panel of dots; panels beside each other have the same rows."""
    places = [(0, 0)]
    for before, names in itertools.pairwise(own):
        line, column = places[-1]
        fits = names == before and column + 1 < COLUMNS
        places.append((line, column + 1) if fits else (line + 1, 0))
    return places


@contextlib.contextmanager
def _axes(outputs, panels, places, heights, x_label, title, caption, looks=None):
    """Yield an axes per panel to draw in, then write the figure; they share the x axis.

    panels: their names. places: row and column of each. heights: of the rows, in inches. looks: of
    the series, see `_looks`.
    """
    columns = 1 + max(column for _, column in places)
    width = WIDTHS[columns]
    # The default style first, so that no matplotlibrc of the user changes the figure.
    with style.context(["default", STYLE]):
        figure = Figure((width, 1.1 + sum(heights)), dpi=DPI, layout="constrained")
        figure.suptitle(wrapped(title, 11 * width), x=0.01, ha="left", weight="bold")
        figure.supxlabel(
            wrapped(caption, 15 * width, 6), x=0.01, ha="left", fontsize=9, color=QUIET
        )
        grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
        lowest = {column: (line, column) for line, column in places}.values()
        axes = []
        for name, place in zip(panels, places, strict=True):
            axis = figure.add_subplot(grid[place], sharex=axes[0] if axes else None)
            axis.set_title(wrapped(name, 36), loc="left", fontsize=10)
            axis.tick_params(labelbottom=place in lowest)
            axis.set_xlabel(wrapped(x_label, 36) if place in lowest else "")
            axes.append(axis)
        yield axes
        if looks and any(looks):
            _legend(figure, looks)
        _write(figure, outputs)


def _legend(figure, looks):
    handles = [Line2D([], [], markersize=5, **look) for look in looks.values()]
    names = [wrapped(name, 28, 3) for name in looks]
    figure.legend(handles, names, loc="outside right upper")


def _write(figure, outputs):
    texts = figure.findobj(Text)
    names = families(text.get_text() for text in texts)
    for text in texts:
        text.set_fontfamily(names)
    for path in outputs:
        ending = str(path).rpartition(".")[2]
        with replacing(path) as temporary:
            figure.savefig(temporary, format=ending, metadata=UNDATED.get(ending))
