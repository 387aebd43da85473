import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from workflow_scripts.draw_concepts import draw_concepts
from workflow_scripts.lib.artifacts import write_table
from workflow_scripts.lib.images.containers import write_locators
from workflow_scripts.lib.images.listing import Listing
from workflow_scripts.lib.report import sheets
from workflow_scripts.lib.report.sheets import concept_sheet, fitted, font

META = {"mining": "clustermine", "image_set": "train", "encoder": "e", "corpus": "words"}
META |= {"clustering": "kmeans_3", "seed": 0}


def pixels(text, size=sheets.NAME_SIZE):
    mask = font(size).getmask(text)
    return np.array(mask).reshape(mask.size[::-1])


def dark(sheet):
    return np.asarray(sheet.convert("L")) < 128


def contains(sheet, text, size):
    """Whether the text is drawn anywhere in the sheet. The palette changes the grey of the edges
    of letters, so a few pixels may differ."""
    wanted = pixels(text, size) > 128
    windows = np.lib.stride_tricks.sliding_window_view(dark(sheet), wanted.shape)
    return (windows != wanted).sum(axis=(2, 3)).min() < 0.05 * wanted.sum()


def write_concepts(path, names, examples=()):
    n = len(names)
    write_table(
        path,
        {
            "concept": pa.array(names, pa.string()),
            "votes": np.arange(n, 0, -1),
            "size": np.arange(n, 0, -1),
            "purity": np.ones(n),
            "examples": pa.array([list(examples)] * n, pa.list_(pa.string())),
        },
        META,
    )
    return path


@pytest.fixture
def draw(tmp_path):
    def call(names, examples=()):
        positives = write_concepts(tmp_path / "positives.parquet", names, examples)
        locators = tmp_path / "locators.parquet"
        cfg = {"kind": "folder", "labels": "none", "options": {}}
        write_locators(locators, Listing([], [], archived=False), cfg)
        draw_concepts(positives, tmp_path, locators, tmp_path / "sheet.png")
        with Image.open(tmp_path / "sheet.png") as sheet:
            return sheet.convert("RGB")

    return call


def test_the_title_says_what_is_shown_and_how_much_of_it(draw):
    sheet = draw([f"concept {i}" for i in range(57)]).crop((0, 0, 1220, 56))
    title = "clustermine: concepts of train (kmeans_3, e, words, seed 0)"
    assert contains(sheet, title, sheets.TITLE_SIZE)
    assert contains(sheet, "24 of 57 concepts, most votes first", sheets.TITLE_SIZE)


def test_names_are_drawn_letter_by_letter():
    box = pixels("\ue000")  # no font has a glyph for it
    for letter in "äöüßéñŁžαЖ":
        glyph = pixels(letter)
        assert glyph.shape != box.shape or (glyph != box).any(), letter
    sheet = concept_sheet([], [("Zoë Müller", "2 votes", [])])
    assert contains(sheet, "Zoë Müller", sheets.NAME_SIZE)
    assert not contains(sheet, "Zo\ue000 M\ue000ller", sheets.NAME_SIZE)


@pytest.mark.parametrize(("count", "rows"), [(0, 0), (1, 1), (2, 1), (3, 2), (24, 12), (25, 12)])
def test_two_concepts_are_in_a_row(draw, count, rows):
    sheet = draw([f"concept {i}" for i in range(count)])
    assert sheet.size == (1220, 60 + 76 * rows)
    assert contains(
        sheet.crop((0, 0, 1220, 56)), f"{min(count, 24)} of {count} concepts", sheets.TITLE_SIZE
    )
    below = dark(sheet)[60:]
    assert below.any() == (count > 0)
    assert below[:, 610:].any() == (count > 1)


def test_examples_keep_their_colours_and_missing_ones_are_grey(draw, tmp_path):
    colours = {"red.png": (200, 30, 40), "pink.png": (240, 130, 180)}
    for name, colour in colours.items():
        Image.new("RGB", (90, 90), colour).save(tmp_path / name)
    sheet = draw(["one"], [*colours, "gone.png"])
    middle = sheets.TEXT + sheets.TILE // 2, 56 + sheets.TILE // 2
    shown = [sheet.getpixel((middle[0] + i * 76, middle[1])) for i in range(4)]
    expected = [*colours.values(), (211, 211, 211), (255, 255, 255)]
    assert np.abs(np.subtract(shown, expected)).max() <= 8


def test_long_names_are_wrapped_and_cut():
    width = 150
    for text in ("a very long name " * 9, "without_any_blank_" * 9):
        lines = fitted(text, 14, width, 3)
        assert len(lines) == 3 and lines[-1].endswith("…")
        assert all(0.6 * width < font(14).getlength(line) <= width for line in lines)
    assert fitted("two words", 14, width, 3) == ["two words"]
    assert fitted("checkered yellow diamond", 14, width, 3) == ["checkered yellow", "diamond"]


def test_the_same_input_gives_the_same_bytes(draw, tmp_path):
    contents = set()
    for _ in range(2):
        draw(["one", "two"])
        contents.add((tmp_path / "sheet.png").read_bytes())
    assert len(contents) == 1
