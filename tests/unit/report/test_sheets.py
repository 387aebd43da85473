import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from workflow_scripts.draw_concepts import draw_concepts
from workflow_scripts.lib.artifacts import write_table
from workflow_scripts.lib.images.containers import write_locators
from workflow_scripts.lib.images.listing import Listing
from workflow_scripts.lib.images.manifest import LISTED
from workflow_scripts.lib.report import sheets
from workflow_scripts.lib.report.sheets import Page, concept_sheet

META = {"mining": "clustermine", "image_set": "train", "encoder": "e", "corpus": "words"}
META |= {"clustering": "kmeans_3", "seed": 0}


def page(*texts):
    return Page(1220, 60, texts)


def pixels(text, size=sheets.NAME_SIZE):
    """The text as an array of bool, True where it is dark, without white edges."""
    on = page(text)
    on.write(8, 8, text, size)
    found = dark(on.image())
    rows, columns = np.flatnonzero(found.any(1)), np.flatnonzero(found.any(0))
    return found[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def dark(sheet):
    return np.asarray(sheet.convert("L")) < 128


def contains(sheet, text, size):
    """Whether the text is drawn anywhere in the sheet; at the edges of letters a few pixels may
    differ."""
    wanted = pixels(text, size)
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
        listing = Listing(LISTED.empty_table(), [], 1, archived=False, reading={})
        write_locators(locators, listing, cfg)
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
    sheet = concept_sheet([], [("Zoë Müller 犬", "2 votes", [])])
    assert contains(sheet, "Zoë Müller 犬", sheets.NAME_SIZE)
    assert not contains(sheet, "Zoë Müller 猫", sheets.NAME_SIZE)


def test_a_name_with_dollars_is_no_formula():
    sheet = concept_sheet([], [("cost $x_1$ of $10", "2 votes", [])])
    assert contains(sheet, "cost $x_1$ of $10", sheets.NAME_SIZE)


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
    for text in ("a very long name " * 9, "without_any_blank_" * 9, "犬と猫" * 30):
        on = page(text)
        lines = on.fitted(text, 14, width, 3)
        assert len(lines) == 3 and lines[-1].endswith("…")
        assert all(0.6 * width < on.length(line, 14) <= width for line in lines)
        inked = pixels(lines[0]).shape[1]
        assert inked <= on.length(lines[0], 14) <= inked + 14, "blanks at the edges do not show"
    assert page().fitted("two words", 14, width, 3) == ["two words"]
    lines = page().fitted("checkered yellow diamond", 14, width, 3)
    assert lines == ["checkered yellow", "diamond"]


def test_the_same_input_gives_the_same_bytes(draw, tmp_path):
    contents = set()
    for _ in range(2):
        draw(["one", "two"])
        contents.add((tmp_path / "sheet.png").read_bytes())
    assert len(contents) == 1
