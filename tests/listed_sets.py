"""Image sets as the scripts list and embed them, for their tests."""

import tarfile

import numpy as np

from workflow_scripts.embed_images import embed_images
from workflow_scripts.lib.images.folder import list_folder
from workflow_scripts.lib.images.listing import scan
from workflow_scripts.lib.images.state import fingerprint, set_state
from workflow_scripts.list_images import list_images

SHARDS = 3


def run_list(folder, out, labels="subfolder", shards=SHARDS):
    return list_set({"kind": "folder", "labels": labels}, folder, out, shards)


def list_set(cfg, source, out, shards=SHARDS, root=None):
    """List a set into `out`, as the workflow does; returns the path of the manifest."""
    tables = [out / f"{name}.parquet" for name in ("manifest", "locators", "quarantine")]
    cfg = {"labels": None, "options": {}, "shards": shards} | cfg
    limit = {"maximum_quarantine": cfg.pop("maximum_quarantine", 1)}
    now = fingerprint(source, cfg, "code", root)
    state = set_state(
        out / "hashes.parquet", now, shards, lambda record: scan(source, cfg, record, root)
    )
    list_images(source, *tables, cfg | {"state": state} | limit, out / "hashes.parquet", root)
    return tables[0]


def run_embed(manifest, folder, checkpoint, out, batch_size=4, shard=0, names=None):
    """Embed a shard of a set, or those with these names (number -> name), into `out`."""
    cfg = {
        "method": "open_clip",
        "checkpoint": checkpoint,
        "device": "cpu",
        "batch_size": batch_size,
    }
    paths = [out / f"x{ending}" for ending in (".npy", ".parquet", ".quarantine.parquet")]
    out.mkdir(exist_ok=True)
    locators = manifest.with_name("locators.parquet")
    names = names or {shard: "shard"}
    embed_images(manifest, names, folder, locators, [], cfg, paths[0], threads=2)
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
