"""Fonts for names in any script: DejaVu Sans of matplotlib, and for what it lacks the Noto fonts.

matplotlib takes the letters of a text from several fonts, and joins and turns those of Arabic,
Hebrew or Devanagari (from version 3.11 on). The Noto fonts are data of the packages manimgx-fonts
and manimgx-fonts-cjk, under the SIL Open Font License. Fonts of the system are not used, so that
the same names give the same bytes everywhere.
"""

import unicodedata
from functools import cache
from importlib.resources import files

from matplotlib.font_manager import FontEntry, fontManager, get_font
from matplotlib.font_manager import findfont as path_of

BASE = "DejaVu Sans"
PACKAGES = ("manimgx_fonts", "manimgx_fonts_cjk")


def families(texts):
    """Names of the fonts that together have the letters of these texts, `BASE` first.

    A letter that no font has is drawn by matplotlib as a box, with a warning that names it.
    """
    missing = {ord(letter) for text in texts for letter in text if _visible(letter)}
    missing -= set(get_font(path_of(BASE)).get_charmap())
    chosen = [BASE]
    for path in _noto() if missing else ():
        font = get_font(path)
        if has := missing & set(font.get_charmap()):
            missing -= has
            chosen.append(_registered(path, font.family_name))
    return chosen


def _visible(letter):
    """Not a line break, nor a mark like the joiner of two emoji."""
    return unicodedata.category(letter) not in {"Cc", "Cf", "Cs"}


def _noto():
    """Paths of the upright fonts, in order; that for Chinese, Japanese and Korean is the last."""
    paths = [path for name in PACKAGES for path in sorted(files(name).iterdir(), key=str)]
    return [
        str(path) for path in paths if path.suffix in {".ttf", ".ttc"} and "Italic" not in path.name
    ]


@cache
def _registered(path, name):
    """The name of a font, after it was made known to matplotlib before those of the system."""
    fontManager.ttflist.insert(0, FontEntry(path, name=name, weight=400))
    return name
