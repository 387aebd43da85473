"""A map of images, drawn by Bokeh."""

import numpy as np
import pyarrow.compute as pc
from bokeh.document import Document
from bokeh.events import DocumentReady
from bokeh.layouts import column, row
from bokeh.models import (
    BoxSelectTool,
    ColumnDataSource,
    CustomJS,
    CustomJSHover,
    DataTable,
    Div,
    HoverTool,
    LassoSelectTool,
    NumberFormatter,
    Scatter,
    Select,
    StringFormatter,
    TableColumn,
    TextInput,
    WheelZoomTool,
)
from bokeh.plotting import figure

from workflow_scripts.lib.explore import map_page as page

# Okabe and Ito's colours, which the colour-blind tell apart, without black and yellow, which a dark
# or a white page hides. With the markers they make 24 kinds of points.
COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#0072B2", "#D55E00")
MARKERS = ("circle", "square", "triangle", "diamond")
GREY = "#9A9A9A"
LOW_TO_HIGH = ("#D55E00", "#BDBDBD", "#0072B2")  # of scores
NAMED = 24  # clusters that the legend names at most
FIELDS = ("image_id", "image_set", "name", "score", "p_value", "cluster")  # of the list
OPTIONAL = ("name", "score", "p_value", "cluster")  # listed where a study has them


def map_page(table, plane, thumbnails, meta):
    """What the template `map.html` shows: a dict with item and scripts (Markup) and notes (texts).

    table: pyarrow Table, a row per image: image_set, image_id, name, score, p_value, cluster and
        cluster_name; all but the first two may be null. The first set is the training set.
    plane: float32 [n, 2]. thumbnails: n data URIs or "". meta: study, projection, total (images
        there are), decide_by (detector, negatives), encoder, source_of (by the names of the sets).
    """
    views = views_of(table, list(meta["source_of"]))
    source = ColumnDataSource(columns_of(table, plane, thumbnails, views))
    plot, glyphs = draw_points(source)
    legends = {name: Div(text=view["legend"], visible=False) for name, view in views.items()}
    next(iter(legends.values())).visible = True
    select = Select(title="Colour", options=list(views), value=next(iter(views)), width=260)
    colours = {"glyphs": glyphs, "legends": legends}
    select.js_on_change("value", CustomJS(args=colours, code=page.RECOLOUR))
    parts, refill = listing(source)
    side = column(select, *legends.values(), *parts, sizing_mode="stretch_width")
    plot.styles, side.styles = {"flex": "3 1 340px"}, {"flex": "2 1 340px", "min-width": "0"}
    for part in [select, *legends.values()]:
        part.stylesheets = [page.WIDGETS]
    layout = row(
        plot, side, sizing_mode="stretch_width", styles={"flex-wrap": "wrap", "gap": "16px"}
    )
    document = Document()
    document.add_root(layout)
    document.js_on_event(DocumentReady, refill)
    item, scripts = page.embedded(layout)
    return {"item": item, "scripts": scripts, "notes": notes_of(meta, thumbnails)}


def columns_of(table, plane, thumbnails, views):
    """The columns of the points: what cards and list show, and a colour and a marker per view."""
    names = pc.coalesce(table["name"], table["cluster_name"])
    columns = {
        "x": plane[:, 0],
        "y": plane[:, 1],
        "image_set": table["image_set"].to_pylist(),
        "image_id": table["image_id"].to_pylist(),
        "cluster": cluster_texts(table),
        "name": pc.fill_null(names, "").to_pylist(),
        "score": table["score"].to_numpy().astype(np.float32),
        "p_value": table["p_value"].to_numpy().astype(np.float32),
        "thumbnail": thumbnails,
    }
    for name, view in views.items():
        columns |= {f"{name} colour": view["colours"], f"{name} marker": view["markers"]}
    return columns


def cluster_texts(table):
    """Number and name of every image's cluster, "" without one."""
    numbers, names = table["cluster"].to_pylist(), table["cluster_name"].to_pylist()
    return [cluster_text(*pair) for pair in zip(numbers, names, strict=True)]


def cluster_text(number, name):
    if number is None:
        return ""
    return f"{number}" if name is None else f"{number}: {name}"


def views_of(table, sets):
    """Name of a view -> its colours uint32 [n], markers (n names) and legend (HTML).

    By cluster and by score only where there are some. sets: names, the training set first.
    """
    codes = pc.index_in(table["image_set"], value_set=page.strings(sets)).to_numpy()
    names = [(code - 1, name) for code, name in enumerate(sets)]
    views = {"by set": view_of(codes - 1, names)}
    clusters = pc.fill_null(table["cluster"], -1).to_numpy()
    if (clusters >= 0).any():
        pairs = zip(clusters.tolist(), cluster_texts(table), strict=True)
        views["by cluster"] = view_of(clusters, sorted(dict(pairs).items()))
    scores = table["score"].to_numpy()
    if np.isfinite(scores).any():
        views["by score"] = score_view(scores)
    return views


def view_of(codes, names):
    """A view by category. codes: int [n], -1 is grey. names: (code, name) of all categories."""
    cycle, shapes = len(COLOURS), len(MARKERS)
    colours = np.array([packed(colour) for colour in (*COLOURS, GREY)], np.uint32)
    markers = np.array([*MARKERS, MARKERS[0]])
    chosen = np.where(codes < 0, cycle, codes % cycle)
    shape = np.where(codes < 0, 0, codes // cycle % shapes)
    entries = [
        (
            GREY if code < 0 else COLOURS[code % cycle],
            MARKERS[0 if code < 0 else code // cycle % shapes],
            name or "no cluster",
        )
        for code, name in names
    ]
    number = sum(code >= 0 for code, _ in names)
    legend = page.legend(entries) if number <= NAMED else page.many(number)
    return {"colours": colours[chosen], "markers": markers[shape].tolist(), "legend": legend}


def score_view(scores):
    """A view by score, linear between the 1st and 99th percentile; images without one are grey."""
    known = np.isfinite(scores)
    low, high = np.percentile(scores[known], [1, 99])
    share = np.clip((scores - low) / max(high - low, np.finfo(float).tiny), 0, 1)
    stops = np.array([channels(colour) for colour in LOW_TO_HIGH], float)
    filled = np.where(known, share, 0.5)
    mixed = np.stack([np.interp(filled, [0, 0.5, 1], stops[:, i]) for i in range(3)], axis=1)
    rgb = np.where(known[:, None], np.rint(mixed), channels(GREY)).astype(np.uint32)
    colours = (rgb[:, 0] << 24) | (rgb[:, 1] << 16) | (rgb[:, 2] << 8) | 255
    legend = page.scale(LOW_TO_HIGH, low, high, GREY if not known.all() else None)
    markers = [MARKERS[0]] * len(scores)
    return {"colours": colours.astype(np.uint32), "markers": markers, "legend": legend}


def channels(colour):
    """Red, green and blue of "#RRGGBB", integers."""
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]


def packed(colour):
    """A colour as Bokeh stores it: 0xRRGGBBAA."""
    return int(colour[1:] + "FF", 16)


def draw_points(source):
    """The figure with the points of a source, coloured by set, and the glyphs of its renderer."""
    zoom, box, lasso = WheelZoomTool(), BoxSelectTool(), LassoSelectTool()
    tools = ["pan", zoom, box, lasso, "tap", "reset"]
    plot = figure(
        tools=tools, active_scroll=zoom, toolbar_location="above",
        sizing_mode="stretch_width", aspect_ratio=1.1, min_width=300,
        background_fill_color=None, border_fill_color=None, outline_line_color="#8884",
        match_aspect=True, lod_threshold=20_000,
    )  # fmt: skip
    plot.axis.visible = plot.grid.visible = False
    plot.toolbar.logo = None
    size = 7 if len(source.data["x"]) < 20_000 else 4
    look = {"x": "x", "y": "y", "size": size, "line_color": None}
    look |= {"fill_color": {"field": "by set colour"}, "marker": {"field": "by set marker"}}
    renderer = plot.add_glyph(
        source,
        Scatter(**look, fill_alpha=0.7),
        selection_glyph=Scatter(**look, fill_alpha=0.9),
        nonselection_glyph=Scatter(**look, fill_alpha=0.08),
    )
    # Bokeh escapes what it puts in place of @{...}.
    details = {"@{x}": CustomJSHover(args={"source": source}, code=page.DETAILS)}
    hover = HoverTool(renderers=[renderer], tooltips=page.CARD, formatters=details, limit=3)
    plot.add_tools(hover)
    return plot, [renderer.glyph, renderer.selection_glyph, renderer.nonselection_glyph]


def listing(source):
    """The filter, the count and the table of the chosen points, or of all where none is chosen; and
    what fills them."""
    fields = [name for name in FIELDS if name not in OPTIONAL or has_values(source.data[name])]
    listed = ColumnDataSource({name: [] for name in fields})
    find = TextInput(title="Find by name, cluster or file", width=260)
    count = Div(text="")
    text, number = StringFormatter(nan_format=""), NumberFormatter(format="0.0000", nan_format="")
    widths = {"image_id": 170, "image_set": 100, "name": 140, "cluster": 140}
    columns = [
        TableColumn(
            field=name,
            title=name.replace("_", " "),
            width=widths.get(name, 65),
            formatter=number if name in ("score", "p_value") else text,
        )
        for name in fields
    ]
    table = DataTable(
        source=listed, columns=columns, height=440, sizing_mode="stretch_width",
        index_position=None, selectable=False, reorderable=False, autosize_mode="none",
    )  # fmt: skip
    args = {"source": source, "listed": listed, "find": find, "count": count, "fields": fields}
    refill = CustomJS(args=args, code=page.REFILL)
    find.js_on_change("value_input", refill)
    source.selected.js_on_change("indices", refill)
    for part in (find, count, table):
        part.stylesheets = [page.WIDGETS]
    return [find, count, table], refill


def has_values(column):
    """Whether a column has any: texts that are not "", or numbers that are not NaN."""
    return any(column) if isinstance(column, list) else bool(np.isfinite(column).any())


def notes_of(meta, thumbnails):
    """What the page says about itself, lines of text."""
    shown, total = len(thumbnails), meta["total"]
    which = f"{shown:,} images" if shown == total else f"A random {shown:,} of {total:,} images"
    by = [name for name in meta["decide_by"].values() if name != "none"]
    names = {"pca": "principal components", "umap": "UMAP", "tsne": "t-SNE"}
    pictures = sum(map(bool, thumbnails))
    if pictures == shown:
        seen = "All have a picture."
    elif pictures:
        seen = f"{pictures:,} have a picture: those of the lowest scores, and a random sample."
    else:
        seen = "No pictures are known."
    return [
        f"{which} of the encoder {meta['encoder']}, by {names[meta['projection']]}. The score is "
        f"{', '.join(by)}; the lower, the less an image belongs. {seen}",
        "Name is that of the nearest positive, of training images that of their cluster. Hover or "
        "tap a point; choose several by box or lasso, which fills the list.",
    ]
