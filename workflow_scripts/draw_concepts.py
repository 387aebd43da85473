"""Draw the mined concepts with their example images, those with the most votes first.

Out: a PNG sheet, one row per concept: its name, votes and purity, and up to five images.
"""

from PIL import Image

from workflow_scripts.lib.artifacts import read_meta, read_table
from workflow_scripts.lib.images.thumbnails import thumbnails
from workflow_scripts.lib.job import job
from workflow_scripts.lib.replacing import replacing
from workflow_scripts.lib.report.sheets import TILE, concept_sheet

CONCEPTS = 24  # on a sheet


def tile_of(image):
    """A thumbnail in a TILE x TILE square; grey where there is none."""
    square = Image.new("RGB", (TILE, TILE), "lightgrey")
    if image is None:
        return square
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
    examples = [example for row in rows for example in row["examples"]]
    found = thumbnails(examples, source, locators, TILE)
    tiles = {example: tile_of(image) for example, image in found.items()}
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
