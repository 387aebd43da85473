"""Letters of many scripts: what is drawn is compared with the box of a letter that no font has."""

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from fontTools.ttLib import TTCollection, TTFont
from matplotlib.font_manager import findfont

from workflow_scripts.lib.report.fonts import BASE, families
from workflow_scripts.lib.report.sheets import Page

ROOT = Path(__file__).parents[3]
NAMES = {
    "Latin": "Zoë Müller, Łódź",
    "Greek and Cyrillic": "Ελληνικά собака",
    "Hebrew": "שלום",
    "Arabic": "كلب سريع",
    "Devanagari": "नमस्ते हिन्दी",
    "Bengali": "কুকুর",
    "Tamil and Telugu": "தமிழ் తెలుగు",
    "Thai": "สุนัขและแมว",
    "Georgian and Ethiopic": "ქართული ኢትዮጵያ",
    "Chinese": "红色的狐狸",
    "Japanese": "犬と猫カメラ",
    "Korean": "강아지",
    "emoji": "🐕🦊",
}
NOWHERE = "\ue000"


def drawn(text, height=40):
    """The text as an array of bool, True where it is dark, without white edges."""
    page = Page(300, height, [text])
    page.write(4, 4, text, 20)
    dark = np.asarray(page.image().convert("L")) < 128
    rows, columns = np.flatnonzero(dark.any(1)), np.flatnonzero(dark.any(0))
    return dark[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def letters_of(family):
    """The letters that a font has, by fontTools, which matplotlib does not read them with."""
    path = findfont(family)
    is_collection = path.endswith("c")
    font = TTCollection(path).fonts[0] if is_collection else TTFont(path)
    return set(map(chr, font.getBestCmap()))


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_names_are_drawn_in_fonts_that_have_their_letters(name):
    chosen = families([name])
    assert chosen[0] == BASE
    assert set(name) <= set().union(*map(letters_of, chosen))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of letters without a font
        drawn(name)
    with pytest.warns(UserWarning, match="ue000"):
        box = drawn(NOWHERE)
    for letter in set(name) - {" ", ","}:
        if letter.isalpha() or name == NAMES["emoji"]:
            glyph = drawn(letter)
            assert glyph.shape != box.shape or (glyph != box).any(), letter


def test_latin_needs_no_other_font():
    assert families(["a name", "Zoë\nMüller \u200b"]) == [BASE]


def test_a_letter_without_a_font_is_a_box_and_named_in_a_warning():
    with pytest.warns(UserWarning, match=r"Glyph 57344 \(\\ue000\) missing from font"):
        box = drawn(NOWHERE)
    assert box.sum() > 20


def test_right_to_left_text_runs_right_to_left():
    """The Hebrew letter that is first in the name is the last from the left."""
    first, last = drawn("א"), drawn("ל")
    word = drawn("אל")
    assert (word[-first.shape[0] :, -first.shape[1] :] == first).mean() > 0.9
    assert (word[:, : last.shape[1]][: last.shape[0]] == last).mean() > 0.9


def test_arabic_letters_are_joined():
    """A gap between the letters would be a white column."""
    apart = drawn("ك\u200cل\u200cب")  # with non-joiners
    assert not apart.any(0).all()
    assert drawn("كلب").any(0).all()


JOB = """
import sys
from types import SimpleNamespace
from workflow_scripts.lib.job import job
from workflow_scripts.lib.report.sheets import concept_sheet
names = {"rule": "draw_concepts", "wildcards": [], "output": [], "resources": {}}
with job(SimpleNamespace(log=[sys.argv[1]], **names)):
    concept_sheet([], [("a name with \\ue000", "2 votes", [])])
"""


def test_the_log_of_a_job_names_a_letter_without_a_font(tmp_path):
    log = tmp_path / "sheet.log"
    subprocess.run([sys.executable, "-c", JOB, log], cwd=ROOT, check=True)
    assert r"Glyph 57344 (\ue000) missing from font(s) DejaVu Sans" in log.read_text()
