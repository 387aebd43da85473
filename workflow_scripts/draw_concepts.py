"""Draw the mined concepts with their example images, those with the most votes first.

Out: a PNG sheet, one row per concept: its name, votes and purity, and up to five images.
"""

from PIL import Image

from workflow_scripts.lib.artifacts import read_meta, read_table
from workflow_scripts.lib.images.containers import image_readers
from workflow_scripts.lib.images.decode import BadImage, open_rgb
from workflow_scripts.lib.job import job
from workflow_scripts.lib.replacing import replacing
from workflow_scripts.lib.report.sheets import TILE, concept_sheet

CONCEPTS = 24  # on a sheet


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


def title_of(meta):
    """What the concepts were mined from, of the metadata of the positives."""
    clustering, encoder = meta["clustering"], meta["encoder"]
    if (own := meta.get("clustering_encoder", encoder)) != encoder:
        clustering += f" of {own}"
    source = f"{clustering}, {encoder}, {meta['corpus']}, seed {meta['seed']}"
    return f"{meta['mining']}: concepts of {meta['image_set']} ({source})"


def note_of(row):
    purity = "" if row["size"] == 0 else f", purity {row['purity']:.2f}"
    return f"{row['votes']} votes{purity}"


def draw_concepts(positives, source, locators, output):
    table = read_table(positives)
    rows = table.slice(0, CONCEPTS).to_pylist()
    shown = f"{len(rows)} of {len(table)} concepts, most votes first"
    examples = dict.fromkeys(example for row in rows for example in row["examples"])
    reads = image_readers(list(examples), source, locators)
    tiles = {example: thumbnail(read) for example, read in zip(examples, reads, strict=True)}
    concepts = [
        (row["concept"], note_of(row), [tiles[example] for example in row["examples"]])
        for row in rows
    ]
    sheet = concept_sheet([title_of(read_meta(positives)), shown], concepts)
    with replacing(output) as temporary:
        sheet.save(temporary, format="PNG", optimize=True)


if __name__ == "__main__":
    with job(snakemake):
        draw_concepts(
            snakemake.input.positives,
            snakemake.input.source,
            snakemake.input.locators,
            snakemake.output[0],
        )
