"""Word lists, captions, trees, names of labels, groups, and embeddings of the user's."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from inputs.outcomes import damaged, ending, isolated
from small_corpora import write_wordnet

from workflow_scripts.build_corpus import build_corpus
from workflow_scripts.import_images import import_images
from workflow_scripts.lib.detection.resampling import grouping
from workflow_scripts.lib.report.published import read_published
from workflow_scripts.lib.texts.label_names import label_names_of
from workflow_scripts.lib.texts.trees import read_table_tree, read_wordnet

CONTENTS = {
    "no byte": b"",
    "blank lines": b"\n\n \n",
    "a NUL": b"concept\na\0b\n",
    "UTF-16": "a\nb\n".encode("utf-16"),
    "UTF-32": "a\nb\n".encode("utf-32"),
    "Latin-1": "concept\né\n".encode("latin-1"),
    "an open quote": b'concept\n"a\nb\nc\n',
    "two fields": b"concept\na,b\n",
    "two columns": b"concept,concept\na,b\n",
    "control characters": b"concept\na\x07\n",
    "nothing visible": "\u200b\n\u00ad\n".encode(),
    "a line of a megabyte": b"x" * (1 << 20),
    "JSON": b'["a"]',
    "ids": b"n01440764\nn01440765\n",
    "a long cell": b'concept\n"' + b"x" * 200_000 + b'"\n',
    "half a character": b"concept\n\xe2\x82\n",
    "a replacement character": "concept\n\ufffd\n".encode(),
    "only a header": b"concept\n",
    "CR": b"concept\ra\r\0",
    "a gzip file": b"\x1f\x8b\x08" + bytes(40),
    "a ZIP file": b"PK\3\4" + bytes(40),
    "HTML": b"<!doctype html>\n<p>404\0",
}


def read_as(reader, name, content):
    """A file is refused by its name, or read."""

    def check(folder):
        path = folder / name
        path.write_bytes(content)
        message = ending(lambda: reader(path, folder))
        assert message is None or name in message, message

    return check


def corpus(path, folder):
    build_corpus([path], [], {"files": [{}], "exclude": []}, folder / "out.parquet")


def captions(path, folder):
    block = {"format": "captions", "column": "concept"}
    build_corpus([path], [], {"files": [block], "exclude": []}, folder / "out.parquet")


READERS = {
    "words": (corpus, (".txt", ".csv", ".tsv")),
    "captions": (captions, (".txt", ".csv")),
    "a tree": (lambda path, _: read_table_tree(path), (".csv",)),
    "names of labels": (lambda path, _: label_names_of(path), (".csv", ".txt")),
    "groups": (
        lambda path, _: grouping([path], [{"folder": False, "image_id": "concept", "group": "g"}]),
        (".csv",),
    ),
    "published values": (lambda path, _: read_published(path), (".csv",)),
}


def text_cases():
    """Name -> check."""
    return {
        f"{what} with {content} as {ending_}": read_as(reader, f"w{ending_}", CONTENTS[content])
        for what, (reader, endings) in READERS.items()
        for content in CONTENTS
        for ending_ in endings
    }


def wordnet(rng):
    """A database of which one file is damaged is refused by its folder, or can be used."""
    file = ("data.noun", "index.noun")[rng.integers(2)]

    def check(folder):
        place = write_wordnet(folder / "wordnet")
        (place / file).write_bytes(damaged((place / file).read_bytes(), rng))

        def use():
            tree = read_wordnet(place)
            for node in tree.parents:
                tree.lineage(node)
                tree.path_similarity([node], list(tree.parents)[:1])
            corpus(place, folder)

        message = ending(use)
        assert message is None or "wordnet" in message, message

    return check


def embeddings(rng):
    """An array or index that is damaged is refused by its name, or imported with all its rows."""
    broken = ("e.npy", "i.parquet")[rng.integers(2)]

    def check(folder):
        np.save(folder / "e.npy", rng.normal(size=(6, 4)).astype(np.float32))
        ids = pa.table({"image_id": list("abcdef"), "label": list("xyzxyz")})
        pq.write_table(ids, folder / "i.parquet")
        (folder / broken).write_bytes(damaged((folder / broken).read_bytes(), rng))
        out = [folder / name for name in ("o.npy", "o.parquet", "q.parquet")]
        cfg = {"encoder": "x", "id_column": "image_id", "label_column": None}
        given = [folder / "e.npy"], [folder / "i.parquet"]
        message = ending(lambda: import_images(*given, cfg, *out))
        assert message is None or "e.npy" in message or "i.parquet" in message, message
        assert message or len(np.load(out[0])) == pq.read_metadata(out[1]).num_rows

    return isolated(check)
