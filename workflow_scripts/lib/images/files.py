"""Image files: listing a folder, stable ids, shards, content hashes and decoding.

An image's id is its POSIX path relative to its set's folder. A file that cannot be used raises
BadImage with the reason, which the rule scripts record in a quarantine table.
"""

import contextlib
import hashlib
import io
import os
import stat
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image, ImageOps

from workflow_scripts.lib.artifacts import read_table, write_table
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images.folders import walk

# Raster formats only: others that Pillow knows start external programs (EPS) or are not photos.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
MAX_PIXELS = 178_956_970  # where Pillow refuses by default: 512 MiB of RGB
MANIFEST = pa.schema(
    [
        ("image_id", pa.string()),
        ("path", pa.string()),
        ("label", pa.string()),
        ("bytes", pa.int64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("sha256", pa.string()),
    ]
)
QUARANTINE = pa.schema([(name, pa.string()) for name in ("image_id", "path", "stage", "reason")])
HASHES = pa.schema(
    [
        ("path", pa.string()),
        ("bytes", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("sha256", pa.string()),
    ]
)

Image.init()  # loads all format plugins now: doing so lazily is not thread-safe


class BadImage(ValueError):
    """A file that cannot be used as an image; the message is the reason for the quarantine."""


def list_folder(folder):
    """All files below `folder`, as sorted relative POSIX paths (str).

    Symbolic links are followed, links to a parent folder are not. Hidden files and folders are
    skipped; every other file is listed, an image or not, so that none vanishes silently.
    Raises InputError if the folder is missing or holds no files.
    """
    if not Path(folder).is_dir():
        raise InputError(f"Image folder {folder} does not exist: correct the path in the config.")
    paths = sorted(path for path, _ in walk(folder))
    if not paths:
        raise InputError(f"Image folder {folder} holds no files: put images below it.")
    return paths


def printable(path):
    """A path as valid Unicode: bytes of a file name that are not UTF-8 become U+FFFD."""
    return os.fsencode(path).decode("utf-8", errors="replace")


def shard_of(image_id, shards):
    """The shard (0..shards-1) of an image: CRC-32 of its id, so a new image changes one shard."""
    return zlib.crc32(os.fsencode(image_id)) % shards


def subfolder(image_id):
    """The first folder of an image's id; None if it has none."""
    folder, slash, _ = image_id.partition("/")
    return folder if slash else None


def describe(folder, path, labels="subfolder", known=None):
    """One image's manifest row, from its header and content; pixels are not decoded.

    labels: "subfolder" takes the first sub-folder's name as the label (None in a flat folder),
        "none" leaves all labels None.
    known: what `read_hashes` returned; a file of the same path, size and time is not read again.

    Returns a dict: image_id, path, label, bytes, mtime_ns (not part of the manifest), width and
    height (pixels as stored, before any EXIF rotation), sha256. Raises BadImage.
    """
    if printable(path) != path:
        raise BadImage("file name is not UTF-8: rename the file")
    file = f"{os.fspath(folder)}/{path}"  # a Path would double the time of a known file
    try:
        status = os.stat(file)  # noqa: PTH116
    except OSError as error:
        raise BadImage(f"cannot be opened: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise BadImage("not a regular file")
    key = (path, status.st_size, status.st_mtime_ns)
    width, height, sha256 = (known or {}).get(key) or header_and_hash(file)
    return {
        "image_id": path,
        "path": path,
        "label": subfolder(path) if labels == "subfolder" else None,
        "bytes": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "width": width,
        "height": height,
        "sha256": sha256,
    }


def header_and_hash(source):
    """Width and height as stored (pixels) and SHA-256 of an image: a path or the bytes of a file.

    Raises BadImage if it is no image; pixels are not decoded.
    """
    try:
        with _binary(source) as content:
            with _open(content) as image:
                width, height = image.size
            content.seek(0)
            return width, height, hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise BadImage(f"cannot be read: {error.strerror}") from error


def _open(content):
    """Open an image's header from a binary file. Raises BadImage."""
    if not content.read(1):
        raise BadImage("empty file (zero bytes)")
    content.seek(0)
    try:
        return Image.open(content, formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise BadImage(f"too many pixels: {error}") from error
    except Image.UnidentifiedImageError as error:
        raise BadImage(f"not an image (supported: {', '.join(FORMATS)})") from error
    except Exception as error:  # format plugins raise many kinds of errors on damaged headers
        raise BadImage(f"damaged header: {type(error).__name__}: {error}") from error


def read_hashes(path):
    """Known hashes, (path, bytes, mtime_ns) -> (width, height, sha256); {} if there are none."""
    if not Path(path).exists():
        return {}
    try:
        columns = read_table(path).cast(HASHES).to_pydict()
    except (InputError, ValueError):  # a broken cache costs time, not correctness
        return {}
    keys = zip(columns["path"], columns["bytes"], columns["mtime_ns"], strict=True)
    values = zip(columns["width"], columns["height"], columns["sha256"], strict=True)
    return dict(zip(keys, values, strict=True))


def write_hashes(path, rows):
    """Write rows as `describe` gives them, as a table that `read_hashes` reads."""
    write_table(path, pa.Table.from_pylist(rows, schema=HASHES))


def open_rgb(source, max_pixels=MAX_PIXELS):
    """Decode an image fully and return it as an upright RGB `PIL.Image`.

    source: a path, or the bytes of an image file.
    max_pixels: images of more pixels are refused by their header, before any pixel is decoded.
        Above 178,956,970 Pillow's own limit refuses them too.

    EXIF orientation is applied. Palette images are converted before any resize. Alpha is dropped,
    not blended, as open_clip does in its own preprocessing. 16-bit grey keeps its high byte, as
    Pillow does for 16-bit colour. Of an animation, the first frame is taken.
    Raises BadImage if any part of the file is missing, damaged or too large.
    """
    try:
        with _binary(source) as content, _open(content) as image:
            _check_pixels(image.width * image.height, max_pixels)
            image.load()
            _turn_upright(image)
            return image if image.mode == "RGB" else _to_rgb(image)
    except BadImage:
        raise
    except Image.DecompressionBombError as error:
        raise BadImage(f"too many pixels: {error}") from error
    except OSError as error:
        reason = error.strerror or error
        raise BadImage(f"cannot be decoded: {type(error).__name__}: {reason}") from error
    except Exception as error:  # decoders raise many kinds of errors on damaged content
        raise BadImage(f"cannot be decoded: {type(error).__name__}: {error}") from error


def _binary(source):
    if isinstance(source, (bytes, bytearray, memoryview)):
        return io.BytesIO(source)
    return Path(source).open("rb")


def _check_pixels(pixels, limit):
    if pixels > limit:
        raise BadImage(f"too many pixels: {pixels} exceed the limit of {limit}")


def _turn_upright(image):
    with contextlib.suppress(Exception):  # a damaged EXIF block says nothing about the pixels
        ImageOps.exif_transpose(image, in_place=True)


def _to_rgb(image):
    if image.mode == "F":
        raise BadImage("floating-point pixels: convert the image to 8 or 16 bits")
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise BadImage("32-bit pixels: convert the image to 8 or 16 bits")
        image = Image.fromarray((values >> 8).astype(np.uint8))
    elif image.mode == "P":
        image = image.convert("RGBA")  # resolves transparency given as bytes
    return image.convert("RGB")
