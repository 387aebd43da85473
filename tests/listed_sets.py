"""Image sets as the scripts list and embed them, for their tests."""

import tarfile

import numpy as np

from workflow_scripts.embed_images import embed_images
from workflow_scripts.lib.images.files import list_folder
from workflow_scripts.list_images import list_images

SHARDS = 3


def run_list(folder, out, labels="subfolder", shards=SHARDS):
    return list_set({"kind": "folder", "labels": labels}, folder, out, shards)


def list_set(cfg, source, out, shards=SHARDS, root=None):
    """List a set into `out`; returns the paths of the manifests."""
    manifests = [out / f"{shard:05d}.parquet" for shard in range(shards)]
    tables = [out / "quarantine.parquet", out / "hashes.parquet", out / "locators"]
    out.mkdir(exist_ok=True)
    list_images(source, manifests, *tables, {"labels": None, "options": {}} | cfg, root)
    return manifests


def run_embed(manifest, folder, checkpoint, out, batch_size=4, locators=()):
    cfg = {
        "method": "open_clip",
        "checkpoint": checkpoint,
        "device": "cpu",
        "batch_size": batch_size,
    }
    paths = [out / f"x{ending}" for ending in (".npy", ".parquet", ".quarantine.parquet")]
    out.mkdir(exist_ok=True)
    embed_images(manifest, folder, locators, [], cfg, *paths, threads=2)
    return paths


def in_tars(root, out, shards, ending, shuffled):
    """Deal the files of a folder to tar shards."""
    out.mkdir()
    names = list_folder(root)
    if shuffled:
        np.random.default_rng(2).shuffle(names)
    for shard in range(shards):
        mode = "w" if ending == ".tar" else "w:gz"
        with tarfile.open(out / f"part{shard}{ending}", mode) as archive:
            for name in names[shard::shards]:
                archive.add(root / name, name)
    return {"kind": "tar"}, out
