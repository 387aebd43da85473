"""Where the images of a set are: a folder, a list of files, tar shards, Parquet files.

    container = open_container("tar", "photos/shards")
    for image_id, locator in container.entries():
        content = container.read(locator)

An entry that cannot be used is listed all the same, with a reason in its locator, and reading it
raises BadImage; so every member ends as an image, in the quarantine, or as the label of an image.
A container that is damaged as a whole raises InputError. Nothing is unpacked to disk.

An image's id is its POSIX path in the container, so the members of a tar have the ids, bytes and
hashes of the same files in a folder.
"""

import logging
from array import array
from collections import deque
from fnmatch import fnmatch
from functools import partial
from importlib import import_module
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from workflow_scripts.lib.artifacts import read_meta, read_table
from workflow_scripts.lib.columns import check_once, check_spelling
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images.decode import BadImage, measure
from workflow_scripts.lib.images.entries import Locator
from workflow_scripts.lib.images.folders import check_regular, walk
from workflow_scripts.lib.images.manifest import (
    LOCATORS,
    is_text,
    printable,
    read_shard,
    write_rows,
)
from workflow_scripts.lib.images.rows import Rows, tuples
from workflow_scripts.lib.images.splits import splits_of

MAX_HELD = 1 << 30  # bytes of images that wait in memory for their turn
NOT_TEXT = "name is not UTF-8: rename the file"
# An entry: its id, and its `Locator`.
ENTRY = pa.schema(
    [
        ("image_id", pa.string()),
        ("file", pa.string()),
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("label", pa.string()),
        ("reason", pa.string()),
        ("member", pa.string()),
    ]
)


def open_container(kind, path, labels=None, **options):
    """A container of images.

    kind: "folder", "list", "tar" or "parquet". path: the folder, the table, or for "tar" and
        "parquet" a file or a folder of files.
    labels: where an image's label comes from; None takes the first that the kind has.
        folder: "subfolder" (first folder of the id) or "none". list: "column" (the column `label`,
        if there is one), "subfolder" or "none". tar: "subfolder", "none", "cls" or "shard" (see
        `TarContainer`). parquet: "column", "subfolder" or "none".
    options: see ListContainer, TarContainer and ParquetContainer.

    The result has `entries()`, which yields (image_id, locator) in the order of storage, and
    `read(locator)`, which returns the bytes of the file and may be called from several threads.
    A locator is a `Locator`.
    Raises InputError.
    """
    container = import_module(f"workflow_scripts.lib.images.{kind}").CONTAINER
    labels = labels or container.label_modes[0]
    if labels not in container.label_modes:
        modes = ", ".join(container.label_modes)
        raise InputError(f"labels: {labels!r} must be one of {modes} for a {kind} container.")
    return container(Path(path), labels, **options)


def write_locators(path, listing, cfg):
    """Write where images are stored, a table of LOCATORS that `image_readers` reads.

    listing: a `listing.Listing`; only images in archives get rows. cfg: kind, labels and options of
    `open_container`.
    """
    meta = {key: cfg[key] for key in ("kind", "labels", "options")}
    write_rows(path, listing.members, LOCATORS, meta | {"archived": listing.archived})


def image_readers(ids, source, locators, shard=None):
    """Yield per image, in this order, a function that returns what `open_rgb` takes.

    ids: image ids, a pyarrow array or a list. source: the folder, archives or tables that hold the
    images. locators: a file by `write_locators`. shard: the one that all ids are of, if they are;
    others are not read.
    The functions may run in any thread, and be pickled for another process. They raise BadImage;
    going on may raise InputError.
    """
    meta = read_meta(locators)
    ids = pa.table({"image_id": pa.array(ids, pa.string()) if isinstance(ids, list) else ids})
    if not meta["archived"]:
        return (partial(Path, source, image_id) for (image_id,) in tuples(ids))
    container = open_container(meta["kind"], source, meta["labels"], **meta["options"])
    return readers(container, _locators(ids["image_id"], locators, shard))


def _locators(ids, path, shard):
    """Yield the locators of the given ids, in this order."""
    columns = ["image_id", "file", "offset", "size"]
    table = read_table(path, columns) if shard is None else read_shard(path, shard, columns)
    table = table.filter(pc.is_in(table["image_id"], ids))
    places = table.select(columns[1:]).take(pc.index_in(ids, table["image_id"]))
    del table  # its memory is free for what follows
    for file, offset, size in tuples(places):
        if file is None:
            yield Locator("", 0, 0, reason="no longer in its container")
        else:
            yield Locator(file, offset, size)


def readers(container, locators):
    """Yield per locator, in this order, a function that returns the bytes; see `image_readers`.

    A container that must be read in the order of storage is read ahead of the given order, up to
    MAX_HELD bytes: one pass over it if the two orders agree, else one pass per MAX_HELD bytes.
    """
    if not container.sequential:
        yield from (partial(container.read, locator) for locator in locators)
        return
    for part in _parts(locators, MAX_HELD):
        waiting, held = deque(range(len(part))), {}
        for i in sorted(waiting, key=lambda i: (part[i]["file"], part[i]["offset"])):
            held[i] = _held(container, part[i])
            while waiting and waiting[0] in held:
                yield held.pop(waiting.popleft())


def _parts(locators, max_size):
    """Cut a list into lists of at most `max_size` bytes, or of one locator."""
    part, size = [], 0
    for locator in locators:
        if part and size + locator["size"] > max_size:
            yield part
            part, size = [], 0
        part.append(locator)
        size += locator["size"]
    if part:
        yield part


def _held(container, locator):
    """Read now; the function that is returned gives the bytes or raises BadImage later."""
    try:
        return partial(_given, container.read(locator))
    except BadImage as reason:
        return partial(_refused, reason)


def _given(content):
    return content


def _refused(reason):
    raise reason


class Container:
    """What the kinds have in common. One adds `label_modes`, `_entries` and `_read`."""

    duplicate_hint = ""
    lists_images = False  # whether every entry is meant to be an image, whatever its name
    archived = False  # whether images are no files of their own
    sequential = False  # whether images must be read in the order of storage

    def __init__(self, path, labels, files=None):
        """files: of a folder of archives, a pattern of the names of those to take ("train-*")."""
        self.path = path
        self.labels = labels
        self.pattern = files
        self.root = path.parent if path.is_file() else path  # what the files are relative to
        self._statuses = {}  # file -> its os.stat_result

    def status(self, locator):
        """The os.stat_result of the file that holds an entry.

        Raises BadImage if the entry cannot be used, or OSError.
        """
        if locator["reason"]:
            raise BadImage(locator["reason"])
        return self._status(locator["file"])

    def measure(self, locator):
        """What `decode.measure` says of an entry. Raises as `read` does."""
        return measure(self.read(locator))

    def entries(self):
        """Yield (image_id, locator) of every entry; a repeated id can be used only once."""
        rows, hashes, first = Rows(ENTRY), array("q"), {}
        for name, locator in self._entries():
            image_id = self._named(name, locator)
            hashes.append(hash(image_id))
            rows.append((image_id, *locator))
        if not hashes:
            raise InputError(f"{self.path} holds no images: correct the path in the config.")
        several = _repeated(hashes)  # few ids, so that no dict holds all of them
        for image_id, *fields in rows.used_up():
            locator = Locator(*fields)
            if not locator.reason and hash(image_id) in several:
                if image_id in first:
                    locator.reason = f"same image id as the entry at {first[image_id]}"
                    locator.reason += self.duplicate_hint
                else:
                    offset = "" if locator.offset is None else f":{locator.offset}"
                    first[image_id] = locator.file + offset
            yield image_id, locator

    def _named(self, name, locator):
        """An entry's id. The locator gets a reason if its texts cannot be stored."""
        image_id = printable(name)
        if image_id != name:
            locator.reason = NOT_TEXT
            locator.file, locator.member = printable(locator.file), None
        if locator.label is not None and not is_text(locator.label):
            locator.label, locator.reason = None, "label is no valid Unicode: correct it"
        return image_id

    def read(self, locator):
        """The bytes of an image's file. Raises BadImage, or InputError for a changed container."""
        if locator["reason"]:
            raise BadImage(locator["reason"])
        return self._read(locator)

    def _files(self, suffixes):
        """The container's files, relative to `root`: itself, or those below a folder, sorted."""
        if not self.path.exists():
            raise InputError(f"{self.path} does not exist: correct the path in the config.")
        if not self.path.is_dir():
            check_regular(self.path)
            return [self.path.name]
        paths = [path for path, _ in walk(self.path)]
        files = sorted(path for path in paths if path.lower().endswith(suffixes))
        for file in files:
            check_regular(self.root / file)
            if printable(file) != file:
                raise InputError(f"{self.root}/{printable(file)}: {NOT_TEXT}.")
        if not files:
            raise InputError(f"Folder {self.path} holds no {' or '.join(suffixes)} file.")
        if self.pattern:
            return self._chosen(files)
        if splits := splits_of(files):
            raise InputError(
                f"{self.path} holds files of the splits {' and '.join(splits)}, which would become "
                "one image set: choose those of one by `files`, a pattern as '*train*'."
            )
        if len(files) < len(paths):
            others = len(paths) - len(files)
            logging.warning("%s: %d files of other kinds are ignored", self.path, others)
        return files

    def _chosen(self, files):
        chosen = [file for file in files if fnmatch(file, self.pattern)]
        if not chosen:
            raise InputError(
                f"{self.path}: none of {len(files)} files matches files: {self.pattern!r}, the "
                f"first is {files[0]}."
            )
        logging.info("%s: %d of %d files, %s", self.path, len(chosen), len(files), self.pattern)
        return chosen

    def _status(self, file):
        if file not in self._statuses:
            self._statuses[file] = (self.root / file).stat()
        return self._statuses[file]


def _repeated(hashes):
    """The values that are in an array more than once, as a set."""
    values = np.sort(np.frombuffer(hashes, np.int64))
    return set(values[1:][values[1:] == values[:-1]].tolist())


def normal(name):
    """An entry's name without empty and '.' parts: `str(PurePosixPath(name))`, but quick."""
    if "//" not in name and "./" not in name and not name.endswith((".", "/")):
        return name
    return str(PurePosixPath(name))


def unsafe(name):
    """Why a normal name cannot be an image id, or None."""
    if name.startswith("/"):
        return "absolute name: make it relative to the set's folder"
    if ".." in name.split("/"):
        return "name with '..': make it relative to the set's folder"
    return "no name" if name in ("", ".") else None


def texts(column, where):
    """A column of texts or integers as a list of str, with None for nulls."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)
    if not text and not pa.types.is_integer(kind):
        raise InputError(f"{where} must hold texts or integers, not {kind}.")
    return [None if value is None else str(value) for value in column.to_pylist()]


def label_column(wanted, header, path):
    """Name of the column of labels, or None: the wanted one, else `label` where there is one.

    header: names of all columns. Raises InputError without the wanted one, and where `label` is
    spelled otherwise.
    """
    if wanted is not None and wanted not in header:
        raise InputError(
            f"{path} has no column {wanted!r} (columns: {', '.join(map(repr, header))}): name the "
            "column of the labels by 'label', or set labels to 'none'."
        )
    check_spelling(path, header, ["label"] if wanted is None else [])
    check_once(path, header, [wanted or "label"])
    return wanted or ("label" if "label" in header else None)
