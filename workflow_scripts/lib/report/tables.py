"""Result tables: one data frame written as Parquet (exact), CSV (exact) and Markdown (to read)."""

import re

import pandas as pd
import pyarrow as pa

from workflow_scripts.lib import artifacts
from workflow_scripts.lib.job import RECIPE
from workflow_scripts.lib.report.html import page

NO_NAMES = "(none)"
# Characters of a text that Markdown would obey. A bracket means something where a link may follow
# it, so that intervals stay as they are; addresses are links by themselves in GitHub's Markdown.
MARKS = re.compile(
    r"[\\`*~$|]|(?<![^\W_])_|_(?![^\W_])|\](?=[(\[:])|(?<=:)/(?=/)|(?<=\bwww)\.", re.IGNORECASE
)


def read_frame(path):
    """A Parquet artifact as a pandas data frame."""
    return artifacts.read_table(path).to_pandas()


def read_frames(paths):
    """The rows of several Parquet artifacts below each other, as a pandas data frame."""
    return pd.concat([read_frame(path) for path in paths], ignore_index=True)


def write_frame(path, frame, meta=None):
    """Write a data frame as a Parquet artifact; its metadata say what it is made of.

    meta: a dict to store with it, beside the recipe of the running job under the key "recipe".
    """
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    recipe = RECIPE.get()()
    artifacts.write_table(path, table, (meta or {}) | ({"recipe": recipe} if recipe else {}))


def markdown(frame, digits=3):
    """The frame as a Markdown table: fractions with `digits` decimals, unknown values empty."""
    shown = frame.copy()
    for name in shown.columns:
        if pd.api.types.is_float_dtype(shown[name]):
            shown[name] = [_rounded(value, digits) for value in shown[name]]
        else:
            shown[name] = ["" if pd.isna(v) else markdown_text(str(v)) for v in shown[name]]
    return shown.to_markdown(index=False, disable_numparse=True)


def _rounded(value, digits):
    return "" if pd.isna(value) else f"{value:.{digits}f}"


def markdown_text(text):
    """A text as it is, in Markdown, also in a table: one line, and no mark of it has a meaning.

    For all text from data. What begins a list or heading at the start of a line is left: begin with
    another word.
    """
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return " ".join(MARKS.sub(r"\\\g<0>", text).split())


def write_latex(path, frame, digits=3):
    """Write the frame as a LaTeX table for the package booktabs, numbers as in `markdown`."""
    numbers = [name for name in frame if pd.api.types.is_float_dtype(frame[name])]
    style = frame.reset_index(drop=True).style.hide(axis="index")
    style = style.format(escape="latex", na_rep="").format_index(escape="latex", axis=1)
    style = style.format(lambda value: _rounded(value, digits), subset=numbers)
    align = ["r" if pd.api.types.is_numeric_dtype(frame[name]) else "l" for name in frame]
    artifacts.write_text(path, style.to_latex(column_format="".join(align), hrules=True))


def write_markdown(md, html, text):
    """Write a text as Markdown and as a page for the report."""
    artifacts.write_text(md, text)
    artifacts.write_text(html, page(text))


def write_tables(
    frame, parquet, csv, md, html, title, readable=None, digits=3, lists=(), meta=None
):
    """Write `frame` as Parquet and CSV, and `readable` (default: the frame) as Markdown and HTML.

    lists: columns of the frame whose lists the CSV joins, see `with_joined`. meta: stored with the
    Parquet, see `write_frame`.
    """
    write_frame(parquet, frame, meta)
    artifacts.write_text(csv, with_joined(frame, lists).to_csv(index=False))
    shown = markdown(frame if readable is None else readable, digits)
    write_markdown(md, html, f"# {title}\n\n{shown}\n")


def with_joined(frame, lists):
    """The frame with the lists of these columns as texts, their entries joined by "; "."""
    texts = {name: ["; ".join(map(str, values)) for values in frame[name]] for name in lists}
    return frame.assign(**texts)


def joined_names(frame, columns):
    """Per row, its names in these columns joined by commas: a list of n texts.

    `none` is no name; NO_NAMES if there is no other.
    """
    rows = frame[columns].itertuples(index=False)
    return [", ".join(text for text in row if text != "none") or NO_NAMES for row in rows]


def over_seeds(frame, by, values):
    """Mean and standard deviation (ddof 1) of the `values` over the seeds, grouped `by`."""
    grouped = frame.groupby(by, sort=False, dropna=False)[values]
    mean, std = grouped.mean(), grouped.std()
    out = mean.copy()
    for position, name in enumerate(values):
        out.insert(2 * position + 1, f"{name}_std", std[name])
    counts = [name for name in values if pd.api.types.is_integer_dtype(frame[name])]
    whole = [name for name in counts if (mean[name] % 1 == 0).all()]
    out = out.astype(dict.fromkeys(whole, "int64"))
    out.insert(0, "seeds", grouped.size())
    return out.reset_index()
