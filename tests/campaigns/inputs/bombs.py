"""Small files that become gigabytes, or say that they do."""

import gzip
import struct
import zlib

import pyarrow as pa
from inputs.containers import header, table_file
from inputs.images import image_file, listed, picture
from inputs.outcomes import ending, isolated, refused


def bombs():
    """Name -> check."""

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
