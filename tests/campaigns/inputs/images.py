"""Image files, and folders and lists of them."""

import io

import numpy as np
from inputs.outcomes import damaged, ending, limited_time
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


def list_cases():
    """Name -> check."""
    return {f"list with {name}": list_case(*made) for name, made in LISTS.items()}


def damaged_images(number, rng):
    """Name -> check, of image files of every format."""
    contents = {kind: picture(0, kind, mode) for kind, mode in FORMATS.items()}
    return {
        f"{kind} {i}": image_file(damaged(content, rng))
        for kind, content in contents.items()
        for i in range(number)
    }
