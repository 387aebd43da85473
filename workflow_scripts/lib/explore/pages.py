"""Static pages: Jinja templates filled with text that is escaped, one self-contained file each.

A page needs no server, no network and no other file: style, script and thumbnails are inside, so
it opens from disk and can be sent by mail. The templates are in `templates/`.
"""

import json
import os
import re
from pathlib import Path
from urllib.parse import quote

import jinja2
import pandas as pd
from markupsafe import Markup, escape

from workflow_scripts.lib.artifacts import write_text

TEMPLATES = Path(__file__).parent / "templates"
EXPLORE = "results/explore/"
UNKNOWN = "–"
DOUBTFUL = 0.3  # a name that a smaller share of the images matches; our choice


def write_page(path, template, cfg, current=None, sprites=(), **values):
    """Fill a template of `templates/` and write it; every value is escaped, but for Markup.

    path: of the page. cfg: study (its name) and pages (the menu: dicts with group, title and path).
    current: the path of the menu's entry that the page belongs to, by default its own. sprites: of
    the page (`sprites.Sprite`). values: what else the template shows.
    """
    current = _in_results(current or path)
    shared = {"study": cfg["study"], "pages": cfg["pages"], "current": current}
    page = _environment().get_template(template)
    write_text(path, page.render(here=_in_results(path), sprites=sprites, **shared, **values))


def _in_results(path):
    """A page's path as the others name it: of the copy that goes to a storage, its end."""
    _, folder, end = str(path).rpartition(EXPLORE)
    return folder + end


def _environment():
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "digits": digits, "count": count, "link": link}
    environment.filters["breakable"] = breakable
    environment.globals["doubtful"] = DOUBTFUL
    environment.globals["raw"] = _raw
    return environment


def _raw(name):
    """A file of `templates/` as it is: style and script."""
    return Markup((TEMPLATES / name).read_text("utf-8"))


def percent(value, decimals=0):
    """A fraction in percent, as text: 0.051 -> "5 %"."""
    return UNKNOWN if pd.isna(value) else f"{100 * value:.{decimals}f} %"


def digits(value, decimals=3):
    """A number with so many significant digits, as text."""
    return UNKNOWN if pd.isna(value) else f"{value:.{decimals}g}"


def count(value):
    """A whole number with thousands separated: 5000 -> "5,000"."""
    return UNKNOWN if pd.isna(value) else f"{int(value):,}"


def breakable(name):
    """A file name as Markup that lines may break after / and _."""
    parts = [str(escape(part)) for part in re.split("(?<=[/_])", name)]
    return Markup("<wbr>".join(parts))


def link(file, page):
    """The address of a file as seen from a page; "" without a file.

    Relative paths stay relative, so a folder with its results can be moved; absolute ones become
    file: addresses.
    """
    if pd.isna(file):
        return ""
    if Path(file).is_absolute():
        return "file://" + quote(file)
    return quote(os.path.relpath(file, Path(page).parent))


def records(frame):
    """The rows of a data frame as dicts, unknown values None."""
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def as_json(values):
    """JSON that may stand in a script element: text from data cannot end it."""
    text = json.dumps(values, ensure_ascii=True, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace("&", "\\u0026"))
