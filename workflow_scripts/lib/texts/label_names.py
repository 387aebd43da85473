"""Names of class labels that are WordNet ids or numbers, to compare them with concepts.

Manifests, indexes, clustering metrics and trees keep the labels as they are. Two classes of one
name (ImageNet's two cranes) are one name.
"""

import functools
from pathlib import Path

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.texts.files import TABLES, read_rows, read_synset_mapping
from workflow_scripts.lib.texts.names import normalise
from workflow_scripts.lib.texts.trees import first_words

COLUMNS = ("label", "name")  # of a table, where the config names none


def label_names_of(path, label=COLUMNS[0], name=COLUMNS[1]):
    """Label -> its name, both normalised like a corpus (`names.normalise`).

    path: one of
        - a .csv, .tsv or .parquet table with these columns label and name;
        - a .txt file of lines as in ImageNet's LOC_synset_mapping.txt, "n01440764 tench, Tinca
          tinca": the first name up to a comma counts;
        - WordNet's data.noun: ids as in ImageNet, n and 8 digits, and every synset's first word.
    Raises InputError naming the file, and line or row, for a label without name or with two names,
    and for columns of a file that is no table.
    """
    path = Path(path)
    if (label, name) != COLUMNS and (path.name == "data.noun" or path.suffix == ".txt"):
        raise InputError(
            f"{path} is no table with the columns {label!r} and {name!r}: leave label and name out "
            "(image_sets.<name>.label_names), or give a .csv, .tsv or .parquet table"
        )
    if path.name == "data.noun":
        return first_words(path)
    names = {}
    for place, *texts in _pairs(path, label, name):
        key, value = (normalise(text or "") for text in texts)
        if not key or not value:
            raise InputError(f"{path}, {place}: a label and its name are needed; complete the row")
        if names.setdefault(key, value) != value:
            raise InputError(
                f"{path}, {place}: the label {key!r} has two names, {names[key]!r} and {value!r}; "
                "keep one"
            )
    if not names:
        raise InputError(f"{path} names no labels: add a row per label")
    return names


def _pairs(path, label, name):
    """Iterate over (place in the file, label, name) as written."""
    if path.suffix == ".txt":
        return read_synset_mapping(path)
    if path.suffix in TABLES:
        rows = read_rows(path, {"label": label, "name": name})
        return ((place, row["label"], row["name"]) for place, row in rows)
    raise InputError(
        f"label_names: {path} must end in .txt, .csv, .tsv or .parquet, or be a WordNet folder"
    )


def naming(paths, blocks):
    """A list of functions, one per image set, from a label to the name to compare with concepts.

    blocks: per image set None, where labels are names, or a dict of label, name (see
        `label_names_of`) and coarse: whether labels that the table lacks may be nodes of a tree,
        which stay as they are.
    paths: the tables of the image sets that have one, in the same order.
    The functions raise InputError for a label that the table lacks.
    """
    read, paths = functools.cache(label_names_of), iter(paths)
    return [normalise if block is None else _naming(read, next(paths), **block) for block in blocks]


def _naming(read, path, label, name, coarse):
    names = read(path, label, name)

    def name_of(text):
        key = normalise(text)
        if key not in names and not coarse:
            raise InputError(
                f"{path} has no name for the label {text!r}: correct the label, or complete the "
                "table (image_sets.<name>.label_names)"
            )
        return names.get(key, key)

    return name_of
