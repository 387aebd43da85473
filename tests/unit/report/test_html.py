import re

import pandas as pd

from workflow_scripts.lib.report.html import page
from workflow_scripts.lib.report.tables import markdown

FRAME = pd.DataFrame({
    "name": ["a | b", "<script>alert(1)</script>", "[x](javascript:alert(1))", "犬 *not bold*"],
    "auroc": [0.91234, 0.5, float("nan"), 1],
})  # fmt: skip


def test_a_page_shows_the_table():
    text = page(f"# A title\n\n{markdown(FRAME[['auroc']])}\n")
    assert re.findall("<t[hd].*?>(.*?)</t[hd]>", text) == ["auroc", "0.912", "0.500", "", "1.000"]
    assert "<h1>A title</h1>" in text


def test_names_are_no_html():
    text = page("# <title>\n\n" + markdown(FRAME) + "\n\n<b>bold</b>")
    body = text[text.index("<body>") :]
    assert not re.search("<(script|b)>|href=.javascript", body)
    assert "a | b" in body
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in body
    assert "<title>&lt;title&gt;</title>" in text
