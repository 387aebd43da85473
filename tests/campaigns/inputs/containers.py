"""Archives and tables of images."""

import gzip
import io
import json
import tarfile
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from inputs.images import listed, picture
from inputs.outcomes import damaged, ending, isolated, refused


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


def container_cases():
    """Name -> check."""
    p, number = picture(), 1 << 70
    start = header(len(p), name="a.png") + p + bytes(-len(p) % 512)
    cases = {}
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
