"""Word lists: what their config blocks may set, and which module reads them. Light, for the rules.

The module of kind K is `lib.texts.sources.K`, with a function read(path, options) that iterates
over the Entries of a file. It is loaded by name, so that a change of one kind, say captions, does
not have corpora read again that have none.
"""

from pathlib import Path

from workflow_scripts.lib.errors import InputError

# What a block may set, and what is taken where it does not.
DEFAULTS = {
    "pos": "noun",
    "column": "concept",
    "format": "names",
    "senses": "first",
    "drop_files": [],
    "proper": True,
    "minimum_count": 1,
    "top": None,
}
WORDNET_ONLY = ("senses", "drop_files", "proper")
CAPTIONS_ONLY = ("minimum_count", "top")


def kind_of(path, block):
    """The kind of a word list: wordnet, or its format: names, synset_mapping or captions.

    path: a file; of WordNet the folder of its database, or data.noun or data.adj in it.
    block: the config block of the list.
    """
    path = Path(path)
    if path.is_dir() or path.name in ("data.noun", "data.adj"):
        return "wordnet"
    return block.get("format", DEFAULTS["format"])


def options_of(path, block):
    """The block with its defaults. Raises InputError for a key that does not fit the file."""
    options, kind = DEFAULTS | block, kind_of(path, block)
    needed = dict.fromkeys(WORDNET_ONLY, "a WordNet folder as path")
    if kind == "wordnet":
        needed = {"format": "a list of names or captions as path, no WordNet folder"}
    if options["format"] != "captions":
        needed |= dict.fromkeys(CAPTIONS_ONLY, "format captions")
    for key, need in needed.items():
        if options[key] != DEFAULTS[key]:
            raise InputError(f"{path}: {key} needs {need}; leave {key} out.")
    return options
