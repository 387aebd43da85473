"""Names from data that would be more than a text: in tables, pages and figures."""

from html.parser import HTMLParser

import pandas as pd
from markdown_it import MarkdownIt

HOSTILE = {
    "a script": "<script>alert(1)</script>",
    "an image": "<img src=x onerror=alert(1)>",
    "an attribute": '" onmouseover="alert(1)',
    "a link": "[x](javascript:alert(1))",
    "a picture": "![x](javascript:alert(1))",
    "a link to a site": "[x](http://evil.org)",
    "a picture of a site": "![](http://evil.org/a.png)",
    "a link to a link": "[x][y]",
    "an address": "http://evil.org",
    "code": "`x``",
    "a table": "a|b\n|c",
    "a formula": '=HYPERLINK("http://evil.org")',
    "a comment": "--><script>x</script>",
    "a template": "{{7*7}}${7*7}",
    "an entity": "&lt;script&gt;",
    "a style": "</style><script>x</script>",
    "mathematics": r"$\frac{a}$",
    "an SVG": "<svg onload=alert(1)>",
    "a reference": "[a]: javascript:x",
}


class Parser(HTMLParser):
    """Collects what a browser would run, load or follow: scripts, handlers, images and links."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        handlers = [key for key, _ in attrs if key.startswith("on")]
        code = [
            value for _, value in attrs if (value or "").strip().lower().startswith("javascript")
        ]
        self.found += handlers + code + [tag] * (tag in ("script", "img", "svg", "a"))


def harmless(html):
    """Whether HTML of a text runs, loads and links nothing."""
    parser = Parser()
    parser.feed(html)
    return not parser.found


def in_tables(text):
    def check(folder):
        from workflow_scripts.lib.report.tables import write_tables

        frame = pd.DataFrame({"concept": [text, "dog"], "auroc": [0.5, 0.7]})
        paths = [folder / f"t.{ending_}" for ending_ in ("parquet", "csv", "md", "html")]
        write_tables(frame, *paths, "title")
        markdown = paths[2].read_text("utf-8")
        rendered = MarkdownIt("commonmark").enable("table").render(markdown)
        assert harmless(paths[3].read_text("utf-8")) and harmless(rendered)
        assert "://" not in markdown, "an address is a link on GitHub"
        rows = [line for line in markdown.splitlines() if line.startswith("|")]
        assert len(rows) == 4, "the text broke its table"
        assert pd.read_csv(paths[1])["concept"][0] == text

    return check


def in_pages(text):
    def check(_):
        from workflow_scripts.lib.explore.pages import _environment

        made = _environment().from_string('<p title="{{ text }}">{{ text }}</p>').render(text=text)
        assert harmless(made), made

    return check


def in_figures(text):
    def check(folder):
        from matplotlib import style
        from matplotlib.figure import Figure

        from workflow_scripts.lib.report.figures import STYLE

        with style.context(["default", STYLE]):
            figure = Figure()
            figure.text(0.1, 0.5, text)
            figure.savefig(folder / "x.svg")
        drawn = (folder / "x.svg").read_text("utf-8").replace("<svg ", "<g ")
        assert harmless(drawn)

    return check


def name_cases():
    """Name -> check."""
    places = {"tables": in_tables, "pages": in_pages, "figures": in_figures}
    return {
        f"{what} in {where}": check(text)
        for where, check in places.items()
        for what, text in HOSTILE.items()
    }
