"""Pages: addresses of files, numbers as text, and text from data that stays text."""

import json
import re

import pandas as pd
import pytest

from workflow_scripts.lib.explore.pages import (
    as_json,
    count,
    digits,
    link,
    percent,
    records,
    write_page,
)

HOSTILE = "<script>alert('x')</script> \"quoted\" & שלום 🦊"


@pytest.mark.parametrize(
    ("file", "page", "address"),
    [
        ("results/demo/a b.jpg", "results/explore/s/index.html", "../../demo/a%20b.jpg"),
        ("photos/100%.jpg", "results/explore/s/outliers/x.html", "../../../../photos/100%25.jpg"),
        ("/data/#1?.jpg", "results/explore/s/index.html", "file:///data/%231%3F.jpg"),
        (None, "results/explore/s/index.html", ""),
    ],
)
def test_addresses_are_relative_to_the_page_and_quoted(file, page, address):
    assert link(file, page) == address


def test_numbers_as_text():
    assert [percent(0.0512), percent(0.0512, 1), percent(float("nan"))] == ["5 %", "5.1 %", "–"]
    assert [digits(0.012345), digits(float("nan"))] == ["0.0123", "–"]
    assert [count(12345.0), count(None)] == ["12,345", "–"]


def test_unknown_values_of_rows_are_none():
    frame = pd.DataFrame({"p": [0.5, float("nan")], "name": ["a", None]})
    assert records(frame) == [{"p": 0.5, "name": "a"}, {"p": None, "name": None}]


def test_json_for_a_script_element_cannot_end_it():
    text = as_json([{"text": HOSTILE}])
    assert "<" not in text and "&" not in text
    assert json.loads(text) == [{"text": HOSTILE}]


def test_text_from_data_is_escaped(tmp_path):
    page = tmp_path / "data.html"
    menu = [{"group": "", "title": HOSTILE, "path": str(page)}]
    sets = pd.DataFrame([{"image_set": HOSTILE, "role": "test", "images": "3", "lost": 0}])
    cfg = {"study": HOSTILE, "pages": menu}
    write_page(page, "data.html", cfg, leaks=[HOSTILE], sets=sets, tables=[])
    text = page.read_text("utf-8")
    assert len(re.findall("<script>", text)) == 1  # that of the page itself
    assert "&lt;script&gt;alert" in text and "שלום 🦊" in text
