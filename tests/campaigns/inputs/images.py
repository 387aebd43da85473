"""Images, and folders, lists, archives and tables of them."""

import gzip
import io
import json
import struct
import tarfile
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from inputs.outcomes import damaged, ending, isolated, limited_time, refused
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
    list_images(path, *outputs, cfg, None, root)
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


def header(size, kind=tarfile.REGTYPE, name="b.png"):
    """A tar header of any size, as GNU tar writes those of more than 8 GiB or less than none."""
    block = bytearray(tarfile.TarInfo(name).tobuf(tarfile.GNU_FORMAT))
    block[124:136] = (size % 256**12 | 0x80 << 88).to_bytes(12, "big")
    block[156:157], block[148:156] = kind, b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def bombs():
    """Name -> check, of small files that become gigabytes, or say that they do."""

    def png_text(chunk):
        content = b"a\0\0" + zlib.compress(bytes(200 << 20), 9)
        start, kind = picture(), chunk + content
        made = struct.pack(">I", len(content)) + kind + struct.pack(">I", zlib.crc32(kind))
        return image_file(start[:33] + made + start[33:])

    def pixels(width, height, rows):
        """A black image; of its rows, so many are there."""
        packed = zlib.compressobj(9)
        data = b"".join(packed.compress(bytes(1 + width)) for _ in range(rows)) + packed.flush()
        content = picture()[:8]
        size = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
        for chunk in (b"IHDR" + size, b"IDAT" + data, b"IEND"):
            content += struct.pack(">I", len(chunk) - 4) + chunk
            content += struct.pack(">I", zlib.crc32(chunk))
        return image_file(content)

    def repeated(column):
        def check(folder):
            big = pa.array([picture() + bytes(900_000)] if column == "image" else ["x" * 900_000])
            values = pa.DictionaryArray.from_arrays(pa.array([0] * 4000, pa.int32()), big)
            columns = {"image": [picture()] * 4000} | {column: values}
            path = table_file(folder / "x.parquet", columns, store_schema=False)
            assert path.stat().st_size < 1 << 20
            assert "x.parquet" in refused(lambda: listed("parquet", path, folder), "row group")

        return check

    def hole(kind, name, labels=None):
        """A member of 3 GiB, which is a hole in the file."""

        def check(folder):
            path, size = folder / "x.tar", 3 << 30
            image = picture()
            with path.open("wb") as file:
                file.write(header(len(image), name="a.png") + image + bytes(-len(image) % 512))
                file.write(header(size, kind, name))
                file.seek(size, 1)
                file.write(bytes(1024))
            found = []
            if message := ending(lambda: found.extend(listed("tar", path, folder, labels))):
                assert "x.tar" in message, message
            else:
                assert (len(found[0]), len(found[1])) == (1, 1), found

        return check

    def compressed(folder):
        path = folder / "x.tar.gz"
        with gzip.open(path, "wb", 1) as file:
            file.write(header(1100 << 20))
            for _ in range(1100):
                file.write(bytes(1 << 20))
            file.write(bytes(1024))
        refused(lambda: listed("tar", path, folder), "too many bytes")

    return {
        "PNG with 200 MB of text": isolated(png_text(b"zTXt"), 256 << 20),
        "PNG with a profile of 200 MB": isolated(png_text(b"iCCP"), 256 << 20),
        "PNG that says 60,000 x 60,000 pixels": isolated(pixels(60_000, 60_000, 9), 256 << 20),
        "PNG of 13,000 x 13,000 pixels": isolated(pixels(13_000, 13_000, 13_000), 2 << 30),
        "PNG of 100,000,000 x 1 pixels": isolated(pixels(100_000_000, 1, 1), 2 << 30),
        "Parquet that has one image 4,000 times": isolated(repeated("image"), 4 << 30),
        "Parquet that has one label 4,000 times": isolated(repeated("label"), 4 << 30),
        "tar with an image of 3 GiB": isolated(hole(b"0", "b.png")),
        "tar with a label of 3 GiB": isolated(hole(b"0", "a.cls", "cls")),
        "tar with a name of 3 GiB": isolated(hole(b"L", "b.png")),
        "tar with a header of 3 GiB": isolated(hole(b"x", "b.png")),
        "tar.gz with an image of 1.1 GiB": isolated(compressed),
    }


def huge_rows(folder):
    """A row group of 10 GB by its header: the column's size in the footer is changed."""
    path = table_file(folder / "x.parquet", {"image": [picture()] * 3})
    original = pq.ParquetFile

    class Lying(original):
        @property
        def metadata(self):
            return Footer(super().metadata)

    class Footer:
        def __init__(self, metadata):
            self._metadata = metadata

        def __getattr__(self, name):
            found = getattr(self._metadata, name)
            if name in ("row_group", "column"):
                return lambda number: Footer(found(number))
            return 10 << 30 if name == "total_uncompressed_size" else found

    pq.ParquetFile = Lying
    try:
        refused(lambda: listed("parquet", path, folder), "x.parquet", "10.0 GiB")
    finally:
        pq.ParquetFile = original


LISTS = {
    "an open quote": (b'path,label\na/0.png,x\na/1.png,"y\na/2.png,z\n', 3),
    "a quote before a path": (b'path\na/0.png\n"a/1.png\na/2.png\n', 3),
    "a quote that another closes": (b'path,label\na/0.png,"x\na/1.png,y"\na/2.png,z\n', 3),
    "a column twice": (b"path,label,label\na/0.png,x,y\n", None),
    "the paths twice": (b"path,path\na/0.png,a/1.png\n", None),
    "a short row": (b"path,label\na/0.png\na/1.png,y\n", None),
    "a long row": (b"path,label\na/0.png,a,b\n", None),
    "UTF-16": ("path,label\na/0.png,x\n".encode("utf-16"), None),
    "Latin-1": ("path,label\na/0.png,é\n".encode("latin-1"), None),
    "a NUL": (b"path\na/0.png\na/1\0.png\n", 2),
    "no byte": (b"", None),
    "only a header": (b"path,label\n", None),
    "semicolons": (b"path;label\na/0.png;x\n", None),
    "absolute paths": (b"path\n/etc/passwd\n/dev/zero\na/0.png\n", 3),
    "paths that leave": (b"path\n../../etc/passwd\na/../a/1.png\na/0.png\n", 3),
    "a web address": (b"path\nhttps://x.org/a.png\na/0.png\n", 2),
    "a folder": (b"path\na\na/0.png\n", 2),
    "a name too long": (b"path\n" + b"x" * 5000 + b"\na/0.png\n", 2),
    "JSON": (b'[{"path": "a/0.png"}]', None),
}


def list_case(content, entries):
    """A list is refused by its name, or has so many entries (None: it is refused)."""

    def check(folder):
        (folder / "a").mkdir()
        for seed in range(3):
            (folder / f"a/{seed}.png").write_bytes(picture(seed))
        (folder / "l.csv").write_bytes(content)
        found = []
        message = ending(lambda: found.extend(listed("list", folder / "l.csv", folder)))
        if message is not None:
            assert "l.csv" in message, message
        else:
            assert entries == len(found[0]) + len(found[1]), found

    return check


def columns_case(columns, metadata=None):
    """A Parquet file with odd columns: refused by its name, or all rows are counted."""

    def check(folder):
        path, found = table_file(folder / "x.parquet", columns, metadata), []
        message = ending(lambda: found.extend(listed("parquet", path, folder)))
        if message is not None:
            assert "x.parquet" in message, message
        else:
            assert len(found[0]) + len(found[1]) == len(next(iter(columns.values())))

    return check


def hand_made():
    """Name -> check."""
    p, number = picture(), 1 << 70
    start = header(len(p), name="a.png") + p + bytes(-len(p) % 512)
    cases = {f"list with {name}": list_case(*made) for name, made in LISTS.items()}
    for size in (-512, -1024, 1 << 40, 1 << 62, number):
        for kind in (b"0", b"L", b"K", b"x", b"g"):
            content = start + header(size, kind) + bytes(1024)
            name = f"tar header {kind.decode()} of {size} bytes"
            cases[name] = counted("tar", "x.tar", content, 1)
    for key, value in (
        ("size", "x"), ("size", "-1024"), ("size", str(number)), ("path", ""), ("path", "/x.png"),
        ("path", "../x.png"), ("path", "\0"), ("GNU.sparse.map", "a,b"), ("GNU.sparse.size", "x"),
        ("GNU.sparse.realsize", "x"), ("hdrcharset", "BINARY"), ("mtime", "nan"),
    ):  # fmt: skip
        record = f" {key}={value}\n".encode()
        record = b"%d" % (len(record) + 2) + record
        extended = header(len(record), b"x") + record + bytes(-len(record) % 512)
        content = start + extended + header(len(p)) + p + bytes(-len(p) % 512 + 1024)
        cases[f"tar pax {key}={value!r}"] = counted("tar", "x.tar", content, 1)
    deep, half = (
        b"[" * 100_000,
        json.dumps({"info": {"features": {"label": {"names": ["\ud800"]}}}}),
    )
    values = {
        "numbers": {"image": [{"bytes": p, "path": 3}]},
        "bytes": {"image": [{"bytes": p, "path": b"x"}]},
        "lists": {"image": [{"bytes": p, "path": ["x"]}]},
        "nulls": {"image": pa.array([None], pa.binary())},
        "labels that are lists": {"image": [p], "label": [[1]]},
        "true labels": {"image": [p], "label": [True]},
        "names with NUL": {"image": [{"bytes": p, "path": "a\0b"}, {"bytes": p, "path": "c\nd"}]},
        "images that are texts": {"image": ["x"]},
    }
    for name, columns in values.items():
        cases[f"Parquet with {name}"] = columns_case(columns)
    rows = {"image": [p, p], "label": [0, 1]}
    cases["Parquet with deep metadata"] = columns_case(rows, {b"huggingface": deep})
    cases["Parquet with half a character"] = columns_case(rows, {b"huggingface": half.encode()})
    cases["Parquet with 10 GB by its header"] = huge_rows
    return cases


def damaged_images(number, rng):
    """Name -> check, of image files of every format."""
    contents = {kind: picture(0, kind, mode) for kind, mode in FORMATS.items()}
    return {
        f"{kind} {i}": image_file(damaged(content, rng))
        for kind, content in contents.items()
        for i in range(number)
    }


def damaged_containers(number, rng):
    """Name -> check, of archives and tables with six images."""
    members = [(f"{'é' * 60}/{i}.png", picture(i)) for i in range(6)]
    with tempfile.TemporaryDirectory() as folder:
        path = make_tar(Path(folder, "x.tar"), members, format=tarfile.PAX_FORMAT)
        tar = path.read_bytes()
        rows = {"image": [{"bytes": c, "path": n} for n, c in members], "label": list("abcabc")}
        parquet = table_file(Path(folder, "x.parquet"), rows).read_bytes()
    kinds = {
        "tar": ("tar", tar),
        "tar.gz": ("tar", gzip.compress(tar)),
        "parquet": ("parquet", parquet),
    }
    return {
        f"{ending_} {i}": counted(kind, f"x.{ending_}", damaged(content, rng), 6)
        for ending_, (kind, content) in kinds.items()
        for i in range(number)
    }
