"""Defaults of the keys of a word list, for the config's models and for the reader.

They stand apart from the models, whose wording must not re-run a job.
"""

WORD_LIST = {
    "pos": "noun",
    "column": "concept",
    "format": "names",
    "senses": "first",
    "drop_files": [],
    "proper": True,
    "minimum_count": 1,
    "top": None,
}
