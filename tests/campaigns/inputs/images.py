"""Images, and folders, lists, archives and tables of them."""

import io
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from inputs.outcomes import ending, isolated, limited_time
from PIL import Image

from workflow_scripts.lib.artifacts import read_table
from workflow_scripts.lib.images.decode import BadImage, measure, open_rgb
from workflow_scripts.list_images import list_images

FORMATS = {
    "PNG": "RGB", "JPEG": "CMYK", "WEBP": "RGBA", "GIF": "P", "BMP": "RGB", "TIFF": "I;16",
    "PPM": "RGB", "JPEG2000": "RGB", "AVIF": "RGB",
}  # fmt: skip
TABLES = ("manifest", "locators", "quarantine")


def picture(seed=0, kind="PNG", mode="RGB", size=(12, 9)):
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    if mode == "I;16":
        image = Image.fromarray(pixels[..., 0].astype(np.uint16) << 4)
    content = io.BytesIO()
    (image if mode == "I;16" else image.convert(mode)).save(content, kind)
    return content.getvalue()


def listed(kind, path, folder, labels=None, shards=1, root=None, **options):
    """List a set as its job does: rows of the manifest and of the quarantine."""
    out = folder / "out/set"
    outputs = [out / f"{name}.parquet" for name in TABLES]
    cfg = {"kind": kind, "labels": labels, "options": options, "shards": shards}
    cfg |= {"state": None, "maximum_quarantine": 1}
    list_images(path, *outputs, cfg, root)
    return read_table(outputs[0]).to_pylist(), read_table(outputs[2]).to_pylist()


def image_file(content):
    """An image is decoded to RGB, or there is a reason why not."""

    def check(folder):
        path = folder / "x"
        path.write_bytes(content)
        for source in (path, content):
            with limited_time():
                try:
                    measure(source)
                    image = open_rgb(source)
                except BadImage as reason:
                    assert str(reason), "no reason"
                else:
                    assert image.mode == "RGB" and min(image.size) > 0, (image.mode, image.size)

    return check


def make_tar(path, members, mode="w", **options):
    with tarfile.open(path, mode, **options) as archive:
        for member, content in members:
            member = tarfile.TarInfo(member) if isinstance(member, str) else member
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def counted(kind, name, content, entries, **options):
    """A container that may be damaged: it is refused by its name, or has all of its entries."""

    def check(folder):
        path = folder / name
        path.write_bytes(content)
        found = []
        message = ending(lambda: found.extend(listed(kind, path, folder, **options)))
        if message is not None:
            assert name in message, message
            return
        rows, rejected = found
        assert len(rows) + len(rejected) >= entries, f"{len(rows)} + {len(rejected)} of {entries}"

    return isolated(check)


def table_file(path, columns, metadata=None, **options):
    """A Parquet file of these columns."""
    table = pa.table(columns)
    pq.write_table(table.replace_schema_metadata(metadata or {}), path, **options)
    return path
