"""Names from data in Markdown are shown as they are: no link, image, markup or table of them."""

from html.parser import HTMLParser

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from workflow_scripts.lib.report.tables import markdown, markdown_text, write_tables
from workflow_scripts.summarise import wrapped

READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
HOSTILE = [
    "[x](http://evil.org)", "![x](http://evil.org/a.png)", "[x][y]", "[x]: http://evil.org",
    "[x](<http://evil.org>)", "[a[b](c)](d)", r"[a\](b)", r"\[a](b)", r"a\|b", "a|b||c", "|", "\\",
    "`code`", "``a`b``", "*a*", "**a**", "_a_", "__a__", "a_b_ _c", "~~a~~", "$a$", r"\*a*",
    "<b>a</b>", "<http://evil.org>", "<!-- a", "&lt;", "&#91;x](y)", "a\nb", "a\r\n\r\n# b",
    "a\u2028b", "http://evil.org", "see https://evil.org/a_b_c*", "www.evil.org", "WWW.evil.org",
    "<img src=http://evil.org>", "]( [", "[", "![", "[ ] a", "犬 [x](y)",
]  # fmt: skip


class Reader(HTMLParser):
    """The tags of HTML, and its text in each cell and paragraph."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.texts.append("")

    def handle_data(self, data):
        if self.texts:
            self.texts[-1] += data


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_in_a_table_is_what_a_reader_sees(tmp_path, name):
    frame = pd.DataFrame({"name": [name, "dog"], "next": [name, "cat"], "auroc": [0.5, 0.7]})
    paths = [tmp_path / f"t.{ending}" for ending in ("parquet", "csv", "md", "html")]
    write_tables(frame, *paths, "Title")
    page = paths[3].read_text("utf-8")
    text = paths[2].read_text("utf-8")
    shown = " ".join(name.split())
    for html in (READER.render(text), page[page.index("<body>") :]):
        found = Reader(html)
        assert set(found.tags) <= {"body", "h1", "table", "thead", "tbody", "tr", "th", "td"}
        cells = [t for tag, t in zip(found.tags, found.texts, strict=True) if tag == "td"]
        assert [cell.strip() for cell in cells] == [shown, shown, "0.500", "dog", "cat", "0.700"]
    assert "://" not in text and "www." not in text.lower()  # a link by itself, on GitHub


@pytest.mark.parametrize("mark", [*HOSTILE, "-", "+", "#", "## a", "1. b", "1) b", "---", "===",
                                  ":-:", "- - -", "~~~", "***", ">"])  # fmt: skip
def test_a_hostile_name_in_a_sentence_begins_nothing(mark):
    """Wherever the sentence is wrapped."""
    for words in range(17, 22):
        sentence = f"{'many ' * words}{mark} {'more ' * 22}{mark} end"
        html = READER.render("\n".join(wrapped(markdown_text(sentence), "- ", "  ")))
        found = Reader(html)
        assert found.tags == ["ul", "li"], html
        assert " ".join("".join(found.texts).split()) == " ".join(sentence.split())


def test_ordinary_names_and_numbers_are_written_as_they_are():
    names = ["kmeans_60", "lower -1.5 [-2.4, -0.6]", "noise/00000.jpg", "k=60, n+1 (a) #2 'x' é 犬"]
    assert markdown(pd.DataFrame({"name": names})).splitlines()[2:] == [
        f"| {name.ljust(25)} |" for name in names[:3]
    ] + [f"| {names[3].ljust(24)} |"]
    for name in names:
        assert markdown_text(name) == name
