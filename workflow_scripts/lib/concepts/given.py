"""Names that the user gives in a file, as concepts of a corpus."""

import logging
from pathlib import Path

import numpy as np

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.texts.corpora import read_corpus


def given_rows(path, block, concepts, corpora):
    """The concepts that a file names.

    path: of the file. block: a config block with the keys file (how it is read: column, format)
        and missing ("error" or "skip"). concepts: list of V names; of equal names the first counts.
    corpora: names of the corpora, for the message.
    Names are compared as corpora spell them (`names.normalise`). Returns (rows of `concepts` int64
    [n] in the file's order, number of names that `concepts` lacks).
    Raises InputError if names are lacking, unless they may be skipped and some are left.
    """
    if Path(path).is_dir():
        raise InputError(f"{path} is a folder; give a file of names")
    names = read_corpus([path], [{key: block["file"][key] for key in ("column", "format")}])
    row_of = {}
    for row, concept in enumerate(concepts):
        row_of.setdefault(concept, row)
    names = names["concept"].to_pylist()
    missing = [name for name in names if name not in row_of]
    if missing and (block["missing"] == "error" or len(missing) == len(names)):
        raise InputError(
            f"{path}: {len(missing)} of {len(names)} names are not in {' or '.join(corpora)}, e.g. "
            f"{missing[:3]}; add the file to the corpus (corpora.{corpora[0]}.files), or leave "
            "such names out with missing: skip"
        )
    logging.info("%s: %d names, %d not in the corpus", path, len(names), len(missing))
    return np.array([row_of[name] for name in names if name in row_of], np.int64), len(missing)
