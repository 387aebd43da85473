"""Draw the mined concepts with their example images, the largest clusters first.

Out: a PNG sheet, one row per concept: its name, votes and purity, and up to five images.
"""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from workflow_scripts.lib.artifacts import read_table, replacing
from workflow_scripts.lib.images import BadImage, open_rgb
from workflow_scripts.lib.job import job

ROWS, COLUMNS, TILE, GAP, TEXT = 12, 2, 72, 4, 230


def thumbnail(path):
    """The image in a TILE x TILE square; grey if it cannot be read any more."""
    square = Image.new("RGB", (TILE, TILE), "lightgrey")
    try:
        image = open_rgb(path)
    except (BadImage, OSError):
        return square
    image.thumbnail((TILE, TILE))
    square.paste(image, ((TILE - image.width) // 2, (TILE - image.height) // 2))
    return square


def draw_concepts(positives, folder, output):
    rows = read_table(positives).slice(0, ROWS * COLUMNS).to_pylist()
    width, height = TEXT + 5 * (TILE + GAP), TILE + GAP
    sheet = Image.new("RGB", (COLUMNS * width, -(-len(rows) // COLUMNS) * height + GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for i, row in enumerate(rows):
        left, top = (i % COLUMNS) * width + GAP, (i // COLUMNS) * height + GAP
        purity = "" if row["size"] == 0 else f", purity {row['purity']:.2f}"
        text = f"{row['concept']}\n{row['votes']} votes{purity}"
        draw.multiline_text((left, top + TILE // 3), text, fill="black", font=font)
        for j, example in enumerate(row["examples"]):
            sheet.paste(thumbnail(Path(folder, example)), (left + TEXT + j * (TILE + GAP), top))
    with replacing(output) as temporary:
        sheet.save(temporary, format="PNG")


if __name__ == "__main__":
    with job(snakemake):
        draw_concepts(snakemake.input.positives, snakemake.input.folder, snakemake.output[0])
