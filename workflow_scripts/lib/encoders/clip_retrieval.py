"""Folders of embeddings that clip-retrieval wrote. Light, for the rules."""

import re
from pathlib import Path

from workflow_scripts.lib.errors import InputError


def clip_retrieval_files(folder, kind):
    """The embeddings in a folder that clip-retrieval wrote, in the order of their numbers.

    kind: "img_emb" or "text_emb". Returns the paths of {kind}/{kind}_N.npy, and of
    metadata/metadata_N.parquet, which describes the same rows, as two lists. Raises InputError if
    there are none, or one without the other.
    """
    parts = {}
    for name, ending in ((kind, "npy"), ("metadata", "parquet")):
        pattern = re.compile(rf"{name}_(\d+)\.{ending}")
        files = sorted(Path(folder, name).glob(f"{name}_*.{ending}"))
        parts[name] = {m[1]: str(file) for file in files if (m := pattern.fullmatch(file.name))}
    arrays, tables = parts[kind], parts["metadata"]
    if not arrays:
        raise InputError(f"{folder} has no {kind}/{kind}_N.npy: name a folder of clip-retrieval.")
    for number in sorted(arrays.keys() ^ tables.keys(), key=int)[:1]:
        missing = f"{kind}/{kind}_{number}.npy"
        if number in arrays:
            missing = f"metadata/metadata_{number}.parquet"
        raise InputError(f"{folder} has no {missing}: every number needs both files.")
    order = sorted(arrays, key=int)
    return [arrays[number] for number in order], [tables[number] for number in order]
