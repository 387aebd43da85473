"""Listing an image set: every entry of its container ends as an image of a shard or as rejected."""

import functools
import itertools
import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images.containers import open_container
from workflow_scripts.lib.images.decode import BadImage
from workflow_scripts.lib.images.entries import Locator, Rejected
from workflow_scripts.lib.images.losses import is_lost, repeats
from workflow_scripts.lib.images.manifest import LISTED, QUARANTINE, printable, shard_of
from workflow_scripts.lib.images.record import MEASURES, NOTHING, TIMES, read_hashes
from workflow_scripts.lib.images.rows import Rows, in_order, taken, tuples
from workflow_scripts.lib.job import progress
from workflow_scripts.lib.sources import times_of

CHUNK = 256  # files per task of a thread, at most
MANY = 1000  # files that are read without a word
# What is known of an image before it is read, `size` of an entry of an archive; and then.
FOUND = pa.schema([*(LISTED.field(i) for i in range(8)), ("size", pa.int64())])
READ = pa.schema([*FOUND, *(LISTED.field(name) for name in MEASURES)])


class Listing(NamedTuple):
    """What a set holds."""

    table: pa.Table  # of LISTED, sorted by shard, then image_id
    rejected: pa.Table  # of QUARANTINE, sorted by image_id
    count: int  # of shards
    archived: bool  # whether images are no files of their own, and need locators
    reading: dict  # how they are read from archives, see `_reading`

    @property
    def shards(self):
        """The rows of each shard, Tables."""
        sizes = np.bincount(self.table["shard"].to_numpy(), minlength=self.count)
        starts = np.cumsum([0, *sizes])
        return [self.table.slice(*part) for part in zip(starts, sizes, strict=False)]

    @property
    def labelled(self):
        """Whether an image has a label."""
        return self.table["label"].null_count < len(self.table)

    @property
    def members(self):
        """The rows that need locators: all or none."""
        return self.table if self.archived else self.table.slice(0, 0)


def scan(source, cfg, record=None, root=None, threads=1):
    """List an image set.

    source: a folder, an archive or a table, or a folder of these. cfg: kind, labels and options of
    `open_container`, and the number of shards. record: path of the set's record (see `record.py`),
    if it has one; a file of the same path, size and times is not read again, unless archives are
    read in another way. root: the folder that a list's paths are relative to. threads: how many
    read files.

    Returns a Listing. Raises InputError if no file is an image or the container is damaged, and
    OSError if a folder cannot be read.
    """
    options = cfg["options"] | ({"root": root} if root else {})
    container = open_container(cfg["kind"], source, cfg["labels"], **options)
    rejected = Rows(QUARANTINE)
    reading = _reading(cfg) if container.archived else {}
    same, new = _compared(_found(container, rejected), record, reading)
    if len(new) > MANY:
        text = f"{source}: {len(new):,} files are new or changed; reading them"
        print(text, file=sys.stderr, flush=True)
    images = pa.concat_tables([same, _read(container, new, rejected, threads)])
    rejected = rejected.table()
    del same, new  # their memory is free for what follows
    if not len(images):
        ((path, reason),) = tuples(rejected.slice(0, 1).select(["path", "reason"]))
        raise InputError(
            f"None of the {len(rejected)} files in {source} is an image that can be read "
            f"(first: {path}: {reason})."
        )
    rejected = _without_repeated(rejected, images, container.archived)
    images = _dealt(images, cfg["shards"])
    return Listing(images, rejected, cfg["shards"], container.archived, reading)


def _reading(cfg):
    """What decides, beside an archive's bytes, which of them are the image of an id; a JSON-able
    dict. Which archives are taken and where labels come from do not, but that labels may put the
    archive's name into the ids.
    """
    options = {key: cfg["options"][key] for key in cfg["options"] if key not in ("files", "label")}
    return {"kind": cfg["kind"], "options": options, "by_archive": cfg["labels"] == "shard"}


def _found(container, rejected):
    """What may be images, a Table of FOUND; `rejected` gets the others."""
    found = Rows(FOUND)
    for image_id, locator in container.entries():
        try:
            status = container.status(locator)
        except BadImage as reason:
            rejected.append(rejection(container, image_id, locator, reason))
            continue
        file, offset, size, label, _, member = locator
        found.append((image_id, label, file, offset, member, *times_of(status), size))
    return found.table()


def _compared(found, record, reading):
    """Known images with their measures, a Table of READ, and the others, one of FOUND."""
    known = read_hashes(record, reading) if record else NOTHING
    numbers = pc.index_in(found["image_id"], known["path"]).combine_chunks()
    equal = (pc.equal(found[key], taken(known[key], numbers)) for key in TIMES)
    unchanged = pc.fill_null(functools.reduce(pc.and_, equal), False)
    same, numbers = found.filter(unchanged), numbers.filter(unchanged.combine_chunks())
    for name in MEASURES:
        same = same.append_column(READ.field(name), taken(known[name], numbers))
    return same, found.filter(pc.invert(unchanged))


def _read(container, new, rejected, threads):
    """Read files, a Table of FOUND. Returns the images, one of READ; `rejected` gets the others."""

    def read(row):
        image_id, _, file, offset, *_, size = row
        locator = Locator(file, offset, size)
        try:
            return (*row, *container.measure(locator))
        except BadImage as reason:
            return rejection(container, image_id, locator, reason)

    # One thread keeps the order of storage, which compressed archives are read in.
    rows = mapped(read, tuples(new), len(new), 1 if container.sequential else threads)
    if len(new) > MANY:
        rows = progress(rows, total=len(new), unit="files")
    images = Rows(READ)
    for row in rows:
        (rejected if isinstance(row, Rejected) else images).append(row)
    return images.table()


def mapped(function, items, total, threads):
    """Map `function` over `total` items in threads, in order and little ahead; in chunks, as each
    task costs more than a small file."""
    if threads == 1:
        yield from map(function, items)
        return
    size = min(CHUNK, total // (4 * threads) + 1)
    with ThreadPoolExecutor(threads) as pool:
        waiting = deque()
        while chunk := list(itertools.islice(items, size)):
            waiting.append(pool.submit(lambda chunk: [function(item) for item in chunk], chunk))
            if len(waiting) > 2 * threads:
                yield from waiting.popleft().result()
        for results in waiting:
            yield from results.result()


def rejection(container, image_id, locator, reason):
    """The `Rejected` row of an entry that cannot be used. reason: a BadImage."""
    name = printable(image_id)
    file = printable(locator["file"]) if container.archived else None
    lost = container.lists_images or is_lost(name, reason)
    return Rejected(name, name, file, "list", str(reason), lost)


def _without_repeated(rejected, images, archived):
    """The rejected rows, sorted; those that repeat the id of an image are not lost."""
    repeated = images.filter(pc.is_in(images["image_id"], rejected["image_id"]))
    files = dict(tuples(repeated.select(["image_id", "file"])))
    rows = map(Rejected._make, tuples(rejected))
    lost = [row.lost and not repeats(row, files, archived) for row in rows]
    at = rejected.schema.get_field_index("lost")
    rejected = rejected.set_column(at, QUARANTINE.field("lost"), pa.array(lost, pa.bool_()))
    return in_order(rejected, ["image_id"])


def _dealt(images, count):
    """Images with their shards, of `count`, a Table of LISTED, sorted."""
    ids = tuples(images.select(["image_id"]))
    shards = np.fromiter((shard_of(*row, count) for row in ids), np.int32, len(images))
    images = images.append_column("shard", pa.array(shards)).select(LISTED.names)
    return in_order(images, ["shard", "image_id"])
