"""Draw the mined concepts with their example images, the largest clusters first.

Out: a PNG sheet, one row per concept: its name, votes and purity, and up to five images.
"""

from PIL import Image, ImageDraw, ImageFont

from workflow_scripts.lib.artifacts import read_table, replacing
from workflow_scripts.lib.images.containers import image_readers
from workflow_scripts.lib.images.decode import BadImage, open_rgb
from workflow_scripts.lib.job import job

ROWS, COLUMNS, TILE, GAP, TEXT = 12, 2, 72, 4, 230


def thumbnail(read):
    """The image in a TILE x TILE square; grey if it cannot be read any more.

    read: see `image_readers`.
    """
    square = Image.new("RGB", (TILE, TILE), "lightgrey")
    try:
        image = open_rgb(read())
    except (BadImage, OSError):
        return square
    image.thumbnail((TILE, TILE))
    square.paste(image, ((TILE - image.width) // 2, (TILE - image.height) // 2))
    return square


def draw_concepts(positives, source, locators, output):
    rows = read_table(positives).slice(0, ROWS * COLUMNS).to_pylist()
    examples = dict.fromkeys(example for row in rows for example in row["examples"])
    reads = image_readers(list(examples), source, locators)
    tiles = {example: thumbnail(read) for example, read in zip(examples, reads, strict=True)}
    width, height = TEXT + 5 * (TILE + GAP), TILE + GAP
    sheet = Image.new("RGB", (COLUMNS * width, -(-len(rows) // COLUMNS) * height + GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for i, row in enumerate(rows):
        left, top = (i % COLUMNS) * width + GAP, (i // COLUMNS) * height + GAP
        purity = "" if row["size"] == 0 else f", purity {row['purity']:.2f}"
        text = f"{row['concept']}\n{row['votes']} votes{purity}"
        draw.multiline_text((left, top + TILE // 3), text, fill="black", font=font)
        for j, example in enumerate(row["examples"]):
            sheet.paste(tiles[example], (left + TEXT + j * (TILE + GAP), top))
    with replacing(output) as temporary:
        sheet.save(temporary, format="PNG")


if __name__ == "__main__":
    with job(snakemake):
        draw_concepts(
            snakemake.input.positives,
            snakemake.input.source,
            snakemake.input.locators,
            snakemake.output[0],
        )
