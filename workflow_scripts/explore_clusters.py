"""Write the pages of a study's clusters: a card each with name, votes, nearest and farthest images.

Out: clusters.html with the 200 largest clusters, and a folder with the further pages, 2.html, ...;
its 1.html leads to the first. They are those of the study's deciding scores, else of its first
clustering and seed. Labels, where known, are shown beside the names; nothing was chosen by them.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from workflow_scripts.lib.artifacts import read_meta, read_table, write_text
from workflow_scripts.lib.explore.clusters import CARDS, cards, index
from workflow_scripts.lib.explore.pages import as_json, link, write_page
from workflow_scripts.lib.explore.sprites import Sprite
from workflow_scripts.lib.images.thumbnails import thumbnails
from workflow_scripts.lib.job import job, progress

TILE = 56  # pixels


def labels_and_clusters(inputs):
    """The label and the cluster of every training image, lists [N]; (None, None) without labels."""
    clusters = read_table(inputs.clusters, ["image_id", "cluster"])
    images = pa.concat_tables(read_table(path, ["image_id", "label"]) for path in inputs.index)
    rows = pc.index_in(clusters["image_id"], images["image_id"])
    labels = images["label"].take(rows)
    if labels.null_count == len(labels):
        return None, None
    return labels.to_pylist(), clusters["cluster"].to_pylist()


def sprite_of(card, inputs):
    """The thumbnails of a cluster's nearest and farthest images."""
    ids = [*card["nearest"], *card["farthest"]]
    found = thumbnails(ids, inputs.source, inputs.locators, TILE) if inputs.source else {}
    return Sprite(f"k{card['cluster']}", TILE, found)


def explore_clusters(inputs, cfg, first, more):
    """inputs: named paths, names, clusters, index (of the training images), source and locators
    (none of precomputed embeddings). cfg: study, train, root (of the images' files, or None),
    pages and files. first: the page of the largest clusters. more: the folder of the others."""
    found = cards(read_table(inputs.names).to_pylist(), *labels_and_clusters(inputs))
    known, meta = as_json(index(found)), read_meta(inputs.names)
    count = -(-len(found) // CARDS)
    # A folder without a file would be lost in most storages.
    write_text(
        f"{more}/1.html", f'<meta http-equiv="refresh" content="0; url=../{Path(first).name}">\n'
    )
    paths = {1: first} | {page: f"{more}/{page}.html" for page in range(2, count + 1)}
    for page, path in progress(paths.items(), unit="page"):
        shown = [card for card in found if card["page"] == page]
        sprites = [sprite_of(card, inputs) for card in shown]
        write_page(
            path,
            "clusters.html",
            cfg,
            current=first,
            addresses={number: link(other, path) for number, other in paths.items()},
            sprites=sprites,
            cards=list(zip(shown, sprites, strict=True)),
            index=known,
            train=cfg["train"],
            root=cfg["root"],
            page=page,
            count=count,
            files=cfg["files"],
            n=sum(card["size"] > 0 for card in found),
            names=len({card["name"] for card in found if card["name"] is not None}),
            labelled=any(card["truth"] for card in found),
            made_by=", ".join(
                str(meta[key]) for key in ("encoder", "corpus", "clustering", "seed")
            ),
        )


if __name__ == "__main__":
    with job(snakemake):
        explore_clusters(
            snakemake.input, snakemake.params.cfg, snakemake.output.page, snakemake.output.more
        )
