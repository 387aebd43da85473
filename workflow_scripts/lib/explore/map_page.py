"""The HTML, CSS and JavaScript inside a map: all text from data is escaped here or by Bokeh."""

from html import escape

import pyarrow as pa
from bokeh.embed import json_item
from bokeh.models import InlineStyleSheet
from bokeh.resources import Resources
from markupsafe import Markup

from workflow_scripts.lib.explore.pages import as_json

COMPONENTS = ["bokeh", "bokeh-widgets", "bokeh-tables"]

# The style is inside: Bokeh keeps the body of a tooltip alone.
CARD = """\
<div class="card"><style>
.card { display: flex; gap: 8px; max-width: 300px; }
.card img { width: 64px; height: 64px; object-fit: contain; flex: none; }
.card img[src=""] { display: none; }
.card p { margin: 0; overflow-wrap: anywhere; }
.card small { color: #555; }
</style>
<img alt="" src="@{thumbnail}"><div>
<p dir="auto"><b>@{name}</b></p>
<p dir="auto">@{x}{custom}</p>
<p dir="auto"><small>@{image_set}: @{image_id}</small></p>
</div></div>
"""

# What is known of a point, in place of its x.
DETAILS = """\
const {score, p_value, cluster} = source.data
const row = special_vars.index
const number = (word, value) => isNaN(value) ? [] : [`${word} ${value.toPrecision(4)}`]
const known = [...number("score", score[row]), ...number("p", p_value[row])]
return [...known, ...cluster[row] ? [`cluster ${cluster[row]}`] : []].join(", ")
"""

RECOLOUR = """\
for (const glyph of glyphs) {
  glyph.fill_color = {field: `${this.value} colour`}
  glyph.marker = {field: `${this.value} marker`}
}
for (const [name, legend] of Object.entries(legends)) {
  legend.visible = name == this.value
}
"""

# The chosen points, or all, that hold the text; the lowest scores first, those without one last.
REFILL = """\
const shown = 500
const {data} = source
const text = find.value_input.trim().toLowerCase()
const chosen = source.selected.indices
const rows = chosen.length ? [...chosen] : [...data.x.keys()]
const holds = (row) => ["name", "cluster", "image_id"].some(
  (field) => data[field][row].toLowerCase().includes(text))
const found = text ? rows.filter(holds) : rows
const rank = (row) => isNaN(data.score[row]) ? Infinity : data.score[row]
found.sort((a, b) => rank(a) == rank(b) ? a - b : rank(a) - rank(b))
const listing = {}
for (const field of fields) {
  listing[field] = found.slice(0, shown).map((row) => data[field][row])
}
listed.data = listing
const cut = found.length > shown ? `, the first ${shown} of them listed` : ""
const of = chosen.length ? "chosen images" : "images"
count.text = `${found.length} of ${rows.length} ${of}, lowest scores first${cut}`
"""

WIDGETS = InlineStyleSheet(
    css="""\
:host { color: var(--ink); }
.bk-input { color: var(--ink); background: var(--card); border-color: var(--line); }
ul { list-style: none; margin: 0; padding: 0; display: flex; flex-wrap: wrap; gap: 2px 14px; }
li { display: flex; align-items: center; gap: 6px; min-width: 0; overflow-wrap: anywhere; }
svg { flex: none; }
.scale { width: 260px; height: 12px; border-radius: 3px; }
.ends { width: 260px; display: flex; justify-content: space-between; }
.slick-viewport, .slick-header-column, .slick-cell {
  background: var(--paper) !important; color: var(--ink) !important;
  border-color: var(--line) !important;
}
.slick-row.odd .slick-cell { background: var(--card) !important; }
select.bk-input { appearance: auto !important; background-image: none !important; }
"""
)

SHAPES = {
    "circle": '<circle cx="6" cy="6" r="5"/>',
    "square": '<rect x="1.5" y="1.5" width="9" height="9"/>',
    "triangle": '<path d="M6 1 11 10.5H1z"/>',
    "diamond": '<path d="M6 0 10 6 6 12 2 6z"/>',
}


def strings(values):
    return pa.array(values, pa.string())


def legend(entries):
    """HTML of (colour, marker, name) each."""
    items = [
        f'<li><svg width="12" height="12" fill="{colour}">{SHAPES[marker]}</svg>'
        f'<span dir="auto">{escape(name)}</span></li>'
        for colour, marker, name in entries
    ]
    return f"<ul>{''.join(items)}</ul>"


def many(number):
    return f"<div>{number} clusters: colours and shapes repeat; hover for the name.</div>"


def scale(colours, low, high, unknown=None):
    """HTML of a scale of scores. unknown: the colour of images without one, if there are some."""
    fill = f"linear-gradient(90deg, {', '.join(colours)})"
    bar = f'<div class="scale" style="background: {fill}"></div>'
    ends = f'<div class="ends"><span>{low:.4g} or less</span><span>{high:.4g} or more</span></div>'
    return bar + ends + (legend([(unknown, "circle", "no score")]) if unknown else "")


def embedded(layout):
    """(item, scripts) of a Bokeh layout as Markup: its JSON for the element `map`, and Bokeh itself
    as script elements."""
    scripts = Resources(mode="inline", components=COMPONENTS).js_raw
    elements = "\n".join(f"<script>{script}</script>" for script in scripts)
    return as_json(json_item(layout, "map")), Markup(elements)
