"""A sheet of concepts with example images: text by matplotlib in any script, images by Pillow."""

import numpy as np
from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from PIL import Image

from workflow_scripts.lib.report.figures import DPI, QUIET, STYLE
from workflow_scripts.lib.report.fonts import families

TILE, GAP, TEXT, EXAMPLES, COLUMNS = 72, 4, 230, 5, 2
CELL = TEXT + EXAMPLES * (TILE + GAP)  # width of a concept, in pixels
WIDTH, HEIGHT = COLUMNS * CELL, TILE + GAP
TITLE_SIZE, NAME_SIZE, LINE = 18, 14, 18
TITLE_LINE = 24
NAME_LINES = 3


def concept_sheet(title, concepts):
    """Draw the concepts below a title, two beside each other, in reading order.

    title: lines of text. concepts: list of (name, note, tiles), a note a line of text, tiles up to
    EXAMPLES RGB images of TILE x TILE pixels. Names are wrapped, and cut after three lines.
    Returns an RGB image; without concepts it has only its title.
    """
    top = 2 * GAP + TITLE_LINE * len(title)
    rows = -(-len(concepts) // COLUMNS)
    page = Page(WIDTH, top + rows * HEIGHT + GAP, [*title, *(name for name, _, _ in concepts)])
    for i, line in enumerate(title):
        line = "".join(page.fitted(line, TITLE_SIZE, WIDTH - 4 * GAP, 1))
        page.write(2 * GAP, GAP + i * TITLE_LINE, line, TITLE_SIZE)
    corners = [(i % COLUMNS * CELL, top + i // COLUMNS * HEIGHT) for i in range(len(concepts))]
    for (left, y), (name, note, _) in zip(corners, concepts, strict=True):
        lines = page.fitted(name, NAME_SIZE, TEXT - 4 * GAP, NAME_LINES)
        y += (TILE - LINE * (len(lines) + 1)) // 2
        for i, line in enumerate([*lines, note]):
            colour = "black" if i < len(lines) else QUIET
            page.write(left + 2 * GAP, y + i * LINE, line, NAME_SIZE, colour)
    sheet = page.image()
    for (left, y), (_, _, tiles) in zip(corners, concepts, strict=True):
        for i, tile in enumerate(tiles):
            sheet.paste(tile, (left + TEXT + i * (TILE + GAP), y))
    return sheet


class Page:
    """A white picture to write on; lengths are in pixels, y counts from the top.

    texts: all that will be written, for the choice of fonts.
    """

    def __init__(self, width, height, texts):
        with style.context(["default", STYLE]):
            self._figure = Figure((width / DPI, height / DPI), dpi=DPI)
        self._canvas = FigureCanvasAgg(self._figure)
        self._families = families([*texts, "…"])
        self._width, self._height = width, height

    def _font(self, size):
        return FontProperties(family=self._families, size=size * 72 / DPI)

    def write(self, x, y, text, size, colour="black"):
        """A line of text, its upper left corner at x and y."""
        baseline = self._height - y - 0.93 * size  # the height of capitals and accents
        self._figure.text(
            x / self._width,
            baseline / self._height,
            text,
            color=colour,
            font=self._font(size),
            va="baseline",
            parse_math=False,
        )

    def length(self, text, size):
        return self._canvas.get_renderer().get_text_width_height_descent(
            text, self._font(size), ismath=False
        )[0]

    def fitted(self, text, size, width, lines):
        """The text in lines of at most this width, cut with an ellipsis after so many lines.

        It is broken at blanks; a word that is longer than a line, anywhere.
        """
        rows = [""]
        for word in " ".join(text.split()).split(" "):
            longer = f"{rows[-1]} {word}".lstrip()
            if self.length(longer, size) <= width:
                rows[-1] = longer
                continue
            if rows[-1]:
                rows.append("")
            for letter in word:
                if self.length(rows[-1] + letter, size) > width:
                    rows.append("")
                rows[-1] += letter
        if len(rows) <= lines:
            return rows
        last = rows[lines - 1]
        while self.length(f"{last}…", size) > width:
            last = last[:-1]
        return [*rows[: lines - 1], f"{last}…"]

    def image(self):
        """The page as an RGB image."""
        with style.context(["default", STYLE]):
            self._canvas.draw()
        return Image.fromarray(np.asarray(self._canvas.buffer_rgba())).convert("RGB")
