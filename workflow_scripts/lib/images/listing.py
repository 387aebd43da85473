"""Listing an image set: every entry of its container ends as an image of a shard or as rejected."""

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images.containers import open_container
from workflow_scripts.lib.images.decode import BadImage
from workflow_scripts.lib.images.losses import is_lost, mark_repeated
from workflow_scripts.lib.images.manifest import printable, shard_of
from workflow_scripts.lib.job import progress

CHUNK = 256  # files per task of a thread, at most
MANY = 1000  # files that are read without a word


class Listing(NamedTuple):
    """What a set holds, sorted by image_id."""

    shards: list  # per shard a list of ListedImages
    rejected: list  # rows of QUARANTINE
    archived: bool  # whether images are no files of their own, and need locators

    @property
    def rows(self):
        """The rows of all shards, in the order of the manifest."""
        return [row for shard in self.shards for row in shard]

    @property
    def labelled(self):
        """Whether an image has a label."""
        return any(row.label is not None for shard in self.shards for row in shard)


def scan(source, cfg, known, root=None, threads=1):
    """List an image set.

    source: a folder, an archive or a table, or a folder of these. cfg: kind, labels and options of
    `open_container`, and the number of shards. known: what `record.read_hashes` returned; a file of
    the same path, size and time is not read again. root: the folder that a list's paths are
    relative to. threads: how many read files.

    Returns a Listing. Raises InputError if no file is an image or the container is damaged, and
    OSError if a folder cannot be read.
    """
    options = cfg["options"] | ({"root": root} if root else {})
    container = open_container(cfg["kind"], source, cfg["labels"], **options)
    rows, new, rejected = _compared(container, known)
    if len(new) > MANY:
        text = f"{source}: {len(new):,} files are new or changed; reading them"
        print(text, file=sys.stderr, flush=True)
    read, unreadable = _read(container, new, threads)
    rows, rejected = rows + read, rejected + unreadable
    if not rows:
        first = rejected[0]
        raise InputError(
            f"None of the {len(rejected)} files in {source} is an image that can be read "
            f"(first: {first['path']}: {first['reason']})."
        )
    ids = {row["image_id"] for row in rejected}
    files = {row.image_id: row.file for row in rows if row.image_id in ids}
    mark_repeated(rejected, files, container.archived)
    rejected = sorted(rejected, key=_image_id)
    return Listing(_dealt(rows, cfg["shards"]), rejected, container.archived)


def _compared(container, known):
    """Rows of known files, (row, locator) of those that must be read, and rejected rows."""
    rows, new, rejected = [], [], []
    for image_id, locator in container.entries():
        try:
            row = container.row(image_id, locator)
        except BadImage as reason:
            rejected.append(rejection(container, image_id, locator, reason))
            continue
        found = known.get((row.path, row.file_bytes, row.mtime_ns))
        if found:
            rows.append(_measured(row, found))
        else:
            new.append((row, locator))
    return rows, new, rejected


def _read(container, new, threads):
    """Rows and rejected rows of files that must be read; new: pairs of row and locator."""

    def read(pair):
        row, locator = pair
        try:
            return _measured(row, container.measure(locator))
        except BadImage as reason:
            return rejection(container, row.image_id, locator, reason)

    # One thread keeps the order of storage, which compressed archives are read in.
    found = mapped(read, new, 1 if container.sequential else threads)
    if len(new) > MANY:
        found = progress(found, total=len(new), unit="files")
    rows, rejected = [], []
    for row in found:
        (rejected if isinstance(row, dict) else rows).append(row)
    return rows, rejected


def mapped(function, items, threads):
    """Map `function` over a list in threads, in order; in chunks, as each task costs more than a
    small file. One thread uses the list up."""
    if threads == 1:
        items.reverse()
        while items:  # an item's memory is free for what comes of it
            yield function(items.pop())
        return
    size = min(CHUNK, len(items) // (4 * threads) + 1)
    chunks = (items[start : start + size] for start in range(0, len(items), size))
    with ThreadPoolExecutor(threads) as pool:
        for results in pool.map(lambda chunk: [function(item) for item in chunk], chunks):
            yield from results


def _measured(row, measures):
    row.bytes, row.width, row.height, row.sha256 = measures  # as `Container.measure` returns them
    row.size = row.bytes
    return row


def rejection(container, image_id, locator, reason):
    """The row of QUARANTINE of an entry that cannot be used. reason: a BadImage."""
    name = printable(image_id)
    return {
        "image_id": name,
        "path": name,
        "file": printable(locator["file"]) if container.archived else None,
        "stage": "list",
        "reason": str(reason),
        "lost": container.lists_images or is_lost(name, reason),
    }


def _dealt(rows, count):
    """Rows by shard, each sorted."""
    shards = [[] for _ in range(count)]
    for row in sorted(rows, key=_image_id):
        row.shard = shard_of(row.image_id, count)
        shards[row.shard].append(row)
    return shards


def _image_id(row):
    return row["image_id"]
