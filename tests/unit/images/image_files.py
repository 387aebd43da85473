"""Image files, archives and listings for the tests of this folder."""

import io
import struct
import tarfile
import zlib

import numpy as np
from PIL import Image

from workflow_scripts.lib.images.decode import BadImage
from workflow_scripts.lib.images.listing import scan

IDS = ["cat/1.png", "cat/deep/2 é.v2.jpg", "dog/3.JPEG", "top.webp"]
LONG = "long/" + "x" * 120 + "/" + "y" * 120 + ".png"  # needs a second header in a tar


def picture(seed, kind="PNG"):
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind)
    return content.getvalue()


def png_header(width, height):
    """A PNG that declares a size and holds no pixels: decoding it would fail in another way."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = (header, b"IDAT" + zlib.compress(b""), b"IEND")
    body = b"".join(
        struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def make_folder(folder):
    """A folder with the images IDS and LONG."""
    for seed, name in enumerate([*IDS, LONG]):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        kind = "JPEG" if "j" in name.lower().rpartition(".")[2] else "PNG"
        (folder / name).write_bytes(picture(seed, kind))
    return folder


def make_tar(path, members, mode="w", **options):
    """members: pairs of name (or TarInfo) and bytes."""
    with tarfile.open(path, mode, **options) as archive:
        for member, content in members:
            if isinstance(member, str):
                member = tarfile.TarInfo(member)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def outcome(container):
    """id -> (label, content), and id -> reason."""
    good, bad = {}, {}
    for image_id, locator in container.entries():
        try:
            content = container.read(locator)
            assert image_id not in good
            good[image_id] = (locator["label"], content)
        except BadImage as reason:
            bad.setdefault(image_id, str(reason))
    return good, bad


def list_rows(folder, labels=None, record=None):
    """Manifest rows of a folder by image id, and quarantine rows."""
    cfg = {"kind": "folder", "labels": labels, "options": {}, "shards": 1}
    listing = scan(folder, cfg, record)
    rows = [row | {"path": row["image_id"]} for row in listing.table.to_pylist()]
    return {row["image_id"]: row for row in rows}, listing.rejected.to_pylist()
