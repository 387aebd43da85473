"""Word lists: a text file with a concept a line, or a table with a column of concepts."""

import itertools
import re

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.texts.entries import Entry
from workflow_scripts.lib.texts.files import read_texts
from workflow_scripts.lib.texts.names import checked_name

LOOKED_AT = 20  # texts at the start of a list that tell what it is
# What all of these can be that are no names -> how it is called, and the way out.
NO_NAMES = {
    r"[nvars]\d{8}\s+\S.*": ("WordNet ids and names", "set format: synset_mapping"),
    r"[nvars]\d{8}|/[mg]/\w+": ("ids without names", "take a list of names, or another column"),
    r"\d+\s*[:.)\t,;]\s*[^\s\d].*|\d+\s*[:.)\t,;]?": (
        "numbers",
        "leave them out, or make it a .csv or .tsv table and name its column by `column`",
    ),
}
NO_LINES = {
    r"[^,]+(,[^,\s][^,]*)+": ("a table", "call it .csv, and name its column by `column`"),
    r"[^\t]+(\t[^\t]*)+": ("a table", "call it .tsv, and name its column by `column`"),
}
NO_START = {
    r"[\[{].*": ("JSON or Python", "write a name a line"),
    r"#\s.*": ("a comment", "leave it out"),
}


def read(path, options):
    """Iterate over the Entries of a .txt, .csv, .tsv or .parquet file; see `corpora.read_corpus`.

    A table may have a column pos. Cells and lines without a name are left out.
    Raises InputError naming the file, and the line or row where there is one, and for a list whose
    first texts are all something else than names, as ids.
    """
    texts = read_texts(path, options["column"])
    first = list(itertools.islice(texts, LOOKED_AT))
    _check_names(path, [(place, text.strip()) for place, text, _ in first if (text or "").strip()])
    for place, text, pos in itertools.chain(first, texts):
        concept = checked_name(text or "", f"{path}, {place}")
        if concept:
            yield Entry(concept, (pos or "").strip() or options["pos"], path.stem)


def _check_names(path, first):
    """Raise InputError if the first texts of a list, pairs of place and text, are no names."""
    if not first:
        return
    lines = path.suffix.lower() == ".txt"
    kinds = NO_NAMES | (NO_LINES if lines else {})
    checks = [(first, kinds)] + [(first[:1], NO_START)] * lines
    for texts, kinds in checks:
        for pattern, (what, remedy) in kinds.items():
            if all(re.fullmatch(pattern, text) for _, text in texts):
                place, text = texts[0]
                raise InputError(f"{path}, {place}: {text[:60]!r} is {what}, no name: {remedy}.")
