"""Text corpora: word lists, captions and WordNet as one table of concepts."""

from importlib import import_module
from pathlib import Path

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.texts.entries import corpus_table
from workflow_scripts.lib.texts.word_lists import kind_of, options_of


def read_corpus(files, blocks=None, exclude=(), exclude_blocks=None):
    """Read word lists, captions and WordNet into one concept table.

    files: paths of
        - .txt files: one concept a line; with format "synset_mapping" a WordNet id, blanks, and
          names of which the first (up to a comma) is the concept, e.g. "n01440764 tench, Tinca
          tinca" as in ImageNet's lists of classes;
        - .csv, .tsv or .parquet tables with a column of concepts and optionally a column pos;
        - folders with WordNet's database files, or in them data.noun or data.adj.
    blocks: one dict per file (or None), whose keys all have a default (word_lists.DEFAULTS):
        pos: part of speech where the file does not say. Of WordNet: noun or adjective.
        column: the column of concepts. format: "names"; of a .txt file "synset_mapping"; or
            "captions", whose noun phrases are the concepts (`sources.captions`).
        minimum_count, top: of captions, least number of captions that hold a phrase, and number of
            phrases kept, the most frequent; None keeps all.
        senses: of WordNet, "first" for the first word of every synset, "all_lemmas" for every word.
        drop_files: lexicographer files of WordNet to leave out, e.g. ["noun.person"].
        proper: whether to keep WordNet's proper nouns.
    exclude, exclude_blocks: as files and blocks; their names are left out.

    Returns a pyarrow Table with the columns of Entry: strings, but for the bool proper and the
    int64 count; in the order of files and lines, WordNet's words in the order of its index
    (alphabetical), phrases by falling count, those of one count by name. Concepts are
    distinct, the first of duplicates stays. A word of several WordNet synsets gets the first one
    in its index entry, which is its most frequent sense, of those that senses, drop_files and
    proper let pass: it is left out only if none of them does. With proper nouns, that sense of a
    common word may be one (crane: Stephen Crane).
    Raises InputError naming the file, and the line where there is one.
    """
    rows = {}
    for file, block in zip(files, blocks or [{}] * len(files), strict=True):
        found = False
        for entry in _entries(file, block):
            found = True
            rows.setdefault(entry.concept, entry)
        if not found:
            raise InputError(
                f"{file} holds no concepts: add at least one, or let more pass (drop_files, "
                "proper, minimum_count)"
            )
    for file, block in zip(exclude, exclude_blocks or [{}] * len(exclude), strict=True):
        for entry in _entries(file, block):
            rows.pop(entry.concept, None)
    if not rows:
        raise InputError(f"{files[0]}: no concepts are left without those of {exclude[0]}.")
    return corpus_table(rows.values())


def _entries(path, block):
    """Iterate over the Entries of one file, duplicates among them."""
    source = import_module(f"workflow_scripts.lib.texts.sources.{kind_of(path, block)}")
    return source.read(Path(path), options_of(path, block))
