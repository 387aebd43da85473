"""A sheet of concepts with example images, drawn with Pillow and the DejaVu Sans of matplotlib."""

from functools import cache
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

TILE, GAP, TEXT, EXAMPLES, COLUMNS = 72, 4, 230, 5, 2
CELL = TEXT + EXAMPLES * (TILE + GAP)  # width of a concept, in pixels
HEIGHT = TILE + GAP
TITLE_SIZE, NAME_SIZE, LINE = 18, 14, 18
TITLE_LINE = 24
NAME_LINES = 3
COLOURS = 256  # of the palette; a quarter of the size of an RGB image


def concept_sheet(title, concepts):
    """Draw the concepts below a title, two beside each other, in reading order.

    title: lines of text. concepts: list of (name, note, tiles), a note a line of text, tiles up to
    EXAMPLES RGB images of TILE x TILE pixels. Names are wrapped, and cut after three lines.
    Returns a palette image; without concepts it has only its title.
    """
    top = 2 * GAP + TITLE_LINE * len(title)
    rows = -(-len(concepts) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * CELL, top + rows * HEIGHT + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for i, line in enumerate(title):
        line = "".join(fitted(line, TITLE_SIZE, sheet.width - 4 * GAP, 1))
        draw.text((2 * GAP, GAP + i * TITLE_LINE), line, "black", font(TITLE_SIZE))
    for i, (name, note, tiles) in enumerate(concepts):
        at = (i % COLUMNS) * CELL + 2 * GAP, top + (i // COLUMNS) * HEIGHT
        _draw_concept(sheet, at, name, note, tiles)
    # Without k-means (4 steps), pale colours lose their hue.
    return sheet.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, kmeans=4, dither=Image.Dither.NONE)


def _draw_concept(sheet, at, name, note, tiles):
    left, top = at
    lines = fitted(name, NAME_SIZE, TEXT - 4 * GAP, NAME_LINES)
    y = top + (TILE - LINE * (len(lines) + 1)) // 2
    draw = ImageDraw.Draw(sheet)
    for line, colour in [*((line, "black") for line in lines), (note, "#595959")]:
        draw.text((left, y), line, colour, font(NAME_SIZE))
        y += LINE
    for i, tile in enumerate(tiles):
        sheet.paste(tile, (left - 2 * GAP + TEXT + i * (TILE + GAP), top))


def fitted(text, size, width, lines):
    """The text in lines of at most `width` pixels, cut with an ellipsis after so many lines.

    It is broken at blanks; a word that is longer than a line, anywhere.
    """
    rows, fits = [""], font(size).getlength
    for word in " ".join(text.split()).split(" "):
        longer = f"{rows[-1]} {word}".lstrip()
        if fits(longer) <= width:
            rows[-1] = longer
            continue
        if rows[-1]:
            rows.append("")
        for letter in word:
            if fits(rows[-1] + letter) > width:
                rows.append("")
            rows[-1] += letter
    if len(rows) <= lines:
        return rows
    last = rows[lines - 1]
    while fits(f"{last}…") > width:
        last = last[:-1]
    return [*rows[: lines - 1], f"{last}…"]


@cache
def font(size):
    """DejaVu Sans at this size in pixels."""
    path = Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf")
    # The basic layout is in every Pillow; the other one is not, and sets letters elsewhere.
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)
