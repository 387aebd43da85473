"""Collect the files that could not be used: set, path, stage and reason. Too many are an error."""

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from workflow_scripts.lib.artifacts import read_table
from workflow_scripts.lib.embeddings import split_parts
from workflow_scripts.lib.images.losses import check_losses
from workflow_scripts.lib.job import job
from workflow_scripts.lib.report.tables import read_frames, write_tables

COLUMNS = ["image_set", "path", "image_id", "stage", "reason", "lost"]
EMPTY = pd.DataFrame({name: pd.Series(dtype="string") for name in COLUMNS}).astype({"lost": bool})


def collect_quarantine(inputs, cfg, parquet, csv, md, html):
    """Write one row per file in quarantine, with COLUMNS; `path` opens the file or its archive.

    inputs: named lists of paths; listings (the quarantine of the listing), manifests and locators
    have one per image set, parts has those of the embeddings, set by set. cfg:
    image_sets, name -> root (folder that files are relative to), parts (their number, over all
    encoders) and maximum_quarantine. The Parquet's metadata tell the number of images that each
    set was meant to have, under the key "images".
    Raises InputError if a set lost more than its maximum_quarantine.
    """
    sets = cfg["image_sets"]
    parts = split_parts(inputs.parts, {name: block["parts"] for name, block in sets.items()})
    frames, images = [], {}
    files = zip(inputs.listings, inputs.manifests, inputs.locators, strict=True)
    for (name, block), (listing, manifest, locators) in zip(sets.items(), files, strict=True):
        frame = read_frames([listing, *parts[name]]).drop_duplicates()
        lost = frame[frame["lost"]].drop_duplicates("image_id")
        images[name] = pq.read_metadata(manifest).num_rows + int((lost["stage"] == "list").sum())
        check_losses(name, images[name], lost["reason"], block["maximum_quarantine"])
        frames.append(with_paths(frame, name, block["root"], locators)[COLUMNS])
    found = [frame for frame in frames if len(frame)]
    frame = pd.concat(found, ignore_index=True) if found else EMPTY
    title = f"Quarantined files: {len(frame)}"
    write_tables(frame, parquet, csv, md, html, title, meta={"images": images})


def with_paths(frame, image_set, root, locators):
    """Quarantine rows with their image set, and as `path` the file or archive that holds each."""
    places = read_table(locators, ["image_id", "file"])
    wanted = pa.array(frame["image_id"].tolist(), pa.string())
    places = places.filter(pc.is_in(places["image_id"], wanted))
    archive_of = dict(zip(*places.to_pydict().values(), strict=True))
    stored = frame["file"].fillna(frame["image_id"].map(archive_of)).fillna(frame["path"])
    return frame.assign(image_set=image_set, path=[f"{root}/{file}" for file in stored])


if __name__ == "__main__":
    with job(snakemake):
        collect_quarantine(snakemake.input, snakemake.params.cfg, *snakemake.output)
