"""An image set whose files change between two looks at it."""

import os

from image_files import picture

from workflow_scripts.lib.images import listing
from workflow_scripts.lib.images.state import fingerprint, set_state
from workflow_scripts.list_images import list_images

NAMES = [f"{label}/{i}.png" for label in ("ant", "fox") for i in range(5)]
SHARDS = 2


class ImageSet:
    """An image set as the workflow sees it: its state is looked at, then it is listed."""

    def __init__(self, folder, source, root=None, **cfg):
        self.out, self.source, self.root = folder / "out", source, root
        self.cfg = {"labels": None, "options": {}, "shards": SHARDS} | cfg
        self.code = "code"
        self.scans = 0

    @property
    def record(self):
        return self.out / "hashes.parquet"

    def scan(self, record):
        self.scans += 1
        return listing.scan(self.source, self.cfg, record, self.root)

    def look(self):
        now = fingerprint(self.source, self.cfg, self.code, self.root)
        return set_state(self.record, now, self.cfg["shards"], self.scan)

    def list(self, state):
        outputs = [self.out / f"{name}.parquet" for name in ("manifest", "locators", "quarantine")]
        cfg = self.cfg | {"state": state, "maximum_quarantine": 1}
        list_images(self.source, *outputs, cfg, self.record, self.root)

    def run(self):
        state = self.look()
        self.list(state)
        return state


def make_photos(folder):
    """A folder with the images NAMES, five in each of two shards."""
    for seed, name in enumerate(NAMES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(picture(seed))
    return folder


def later(path):
    """Give a file a new time, whatever the file system's clock does."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))


def edit(path, seed):
    path.write_bytes(picture(seed))
    later(path)


def changed_shards(before, after):
    """Numbers of the shards whose names differ."""
    pairs = enumerate(zip(before["shards"], after["shards"], strict=True))
    return [shard for shard, (old, new) in pairs if old != new]
