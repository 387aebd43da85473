"""The tables of a listed image set, and what an image's id tells: its shard and its folder.

An image's id is its POSIX path relative to its set's folder. What cannot be used is recorded in a
quarantine table, with the reason.
"""

import os
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from workflow_scripts.lib.artifacts import unreadable, write_table
from workflow_scripts.lib.images.rows import ROW_GROUP

# What a listing knows of an image; file_bytes to ctime_ns: of the file that holds it.
LISTED = pa.schema(
    [
        ("image_id", pa.string()),
        ("label", pa.string()),
        ("file", pa.string()),
        ("offset", pa.int64()),
        ("member", pa.string()),
        ("file_bytes", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("ctime_ns", pa.int64()),
        ("bytes", pa.int64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("sha256", pa.string()),
        ("shard", pa.int32()),
    ]
)
SAME = {"path": "image_id", "size": "bytes"}  # columns that other tables call otherwise
# Sorted by shard, then image_id; equal images have equal manifests, wherever they are stored.
MANIFEST = pa.schema(
    [
        ("image_id", pa.string()),
        ("path", pa.string()),
        ("label", pa.string()),
        ("bytes", pa.int64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("sha256", pa.string()),
        ("shard", pa.int32()),
    ]
)
# Where the images of archives and tables are; sorted as the manifest. `member` is what the archive
# calls an image, null where it is the image's id.
LOCATORS = pa.schema(
    [
        ("image_id", pa.string()),
        ("file", pa.string()),
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("shard", pa.int32()),
        ("member", pa.string()),
    ]
)
# `file` is the archive or table that holds the image, null if it is a file of its own. `lost` says
# that it was meant to be an image (losses.py).
QUARANTINE = pa.schema(
    [(name, pa.string()) for name in ("image_id", "path", "file", "stage", "reason")]
    + [("lost", pa.bool_())]
)


def printable(path):
    """A path as valid Unicode: bytes of a file name that are not UTF-8 become U+FFFD."""
    if path.isascii():
        return path
    return os.fsencode(path).decode("utf-8", errors="replace")


def is_text(value):
    """Whether a str can be stored: JSON can hold halves of characters (lone surrogates)."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def shard_of(image_id, shards):
    """The shard (0..shards-1) of an image: CRC-32 of its id, so a new image changes one shard."""
    return zlib.crc32(os.fsencode(image_id)) % shards


def set_name(manifest):
    """The image set whose manifest this is: results/images/{image_set}/manifest.parquet."""
    return Path(manifest).parent.name


def subfolder(image_id):
    """The first folder of an image's id; None if it has none."""
    folder, slash, _ = image_id.partition("/")
    return folder if slash else None


def write_rows(path, listed, schema, meta=None):
    """Write a Table of LISTED, sorted by shard, as a table that `read_shard` reads; see
    `write_table`. A reader of one shard reads little more, as rows are stored in small groups."""
    write_table(path, columns_of(listed, schema), meta, row_group_size=ROW_GROUP)


def columns_of(listed, schema):
    """The columns of a schema, of a Table of LISTED."""
    columns = [listed[SAME.get(name, name)] for name in schema.names]
    return pa.table(columns, schema=schema)


def read_shard(path, shard, columns=None):
    """The rows of one shard (int) of a manifest or of locators, as a pyarrow Table.

    Row groups without this shard are not read. Raises InputError if the file cannot be read.
    """
    try:
        chosen = [("shard", "=", shard)]
        return pq.read_table(path, columns=columns, filters=chosen, partitioning=None)
    except (pa.ArrowInvalid, OSError) as error:
        raise unreadable(path, "Parquet file", error) from error
