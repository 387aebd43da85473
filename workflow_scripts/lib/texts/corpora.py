"""Text corpora: word lists, captions and WordNet as one table of concepts."""

import re
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.texts import trees
from workflow_scripts.lib.texts.captions import frequent_phrases
from workflow_scripts.lib.texts.defaults import WORD_LIST
from workflow_scripts.lib.texts.files import TABLES, read_lines, read_rows, read_synset_mapping
from workflow_scripts.lib.texts.names import BAD_CHARACTERS, MAX_CHARACTERS, normalise

WORDNET_ONLY = ("senses", "drop_files", "proper")
CAPTIONS_ONLY = ("minimum_count", "top")


class Entry(NamedTuple):
    """A row of the concept table. None: unknown.

    concept: normalised name. pos: part of speech. source: the file's name without its ending.
    wnid: id of the WordNet synset, a letter and 8 digits ("n02084071"). lexname: its lexicographer
    file ("noun.animal"; pertainyms are in "adj.pert"). parents: ids of its hypernyms joined by ";",
    "" if it has none. proper: whether this sense of the word is a proper noun (WordNet: an instance
    of its hypernym). count: number of captions that hold it.
    """

    concept: str
    pos: str
    source: str
    wnid: str | None = None
    lexname: str | None = None
    parents: str | None = None
    proper: bool | None = None
    count: int | None = None


def read_corpus(files, blocks=None, exclude=(), exclude_blocks=None):
    """Read word lists, captions and WordNet into one concept table.

    files: paths of
        - .txt files: one concept a line; with format "synset_mapping" a WordNet id, blanks, and
          names of which the first (up to a comma) is the concept, e.g. "n01440764 tench, Tinca
          tinca" as in ImageNet's lists of classes;
        - .csv, .tsv or .parquet tables with a column of concepts and optionally a column pos;
        - folders with WordNet's database files, or in them data.noun or data.adj.
    blocks: one dict per file (or None), whose keys all have a default (`defaults.WORD_LIST`):
        pos: part of speech where the file does not say. Of WordNet: noun or adjective.
        column: the column of concepts. format: "names"; of a .txt file "synset_mapping"; or
            "captions", whose noun phrases are the concepts (`captions.frequent_phrases`).
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
        for entry in _entries(Path(file), block):
            found = True
            rows.setdefault(entry.concept, entry)
        if not found:
            raise InputError(
                f"{file} holds no concepts: add at least one, or let more pass (drop_files, "
                "proper, minimum_count)"
            )
    for file, block in zip(exclude, exclude_blocks or [{}] * len(exclude), strict=True):
        for entry in _entries(Path(file), block):
            rows.pop(entry.concept, None)
    if not rows:
        raise InputError(f"{files[0]}: no concepts are left without those of {exclude[0]}.")
    return corpus_table(rows.values())


def corpus_table(entries):
    """The concept table, a pyarrow Table, of one or more Entries."""
    columns = zip(Entry._fields, zip(*entries, strict=True), strict=True)
    kinds = {"proper": pa.bool_(), "count": pa.int64()}
    return pa.table(
        {name: pa.array(values, kinds.get(name, pa.string())) for name, values in columns}
    )


def _entries(path, block):
    """Iterate over the Entries of one file, duplicates among them."""
    options = WORD_LIST | block
    is_wordnet = path.is_dir() or path.name in ("data.noun", "data.adj")
    needed = dict.fromkeys(WORDNET_ONLY, "a WordNet folder as path")
    if is_wordnet:
        needed = {"format": "a list of names or captions as path, no WordNet folder"}
    if options["format"] != "captions":
        needed |= dict.fromkeys(CAPTIONS_ONLY, "format captions")
    for key, need in needed.items():
        if options[key] != WORD_LIST[key]:
            raise InputError(f"{path}: {key} needs {need}; leave {key} out.")
    if is_wordnet:
        yield from _read_wordnet(path, options)
    elif options["format"] == "captions":
        yield from _read_captions(path, options)
    else:
        yield from _read_list(path, options)


def _read_list(path, options):
    for place, name, pos, wnid in _read_names(path, options):
        concept = _checked(name or "", f"{path}, {place}")
        if concept:
            yield Entry(concept, (pos or "").strip() or options["pos"], path.stem, wnid)


def _read_captions(path, options):
    captions = (text for _, text, _, _ in _read_names(path, options))
    for phrase, count in frequent_phrases(captions, options["minimum_count"], options["top"]):
        yield Entry(phrase, options["pos"], path.stem, count=count)


def _checked(name, place):
    """The normalised name. Raises InputError if no text encoder would read it as it is meant."""
    if bad := BAD_CHARACTERS.search(name):
        raise InputError(
            f"{place}: character U+{ord(bad[0]):04X} is no text, often the trace of a wrong "
            "conversion; correct the name."
        )
    concept = normalise(name)
    if len(concept) > MAX_CHARACTERS:
        raise InputError(
            f"{place}: a name of {len(concept)} characters, of which a text encoder reads only the "
            f"first 77 tokens; shorten it to at most {MAX_CHARACTERS} characters."
        )
    return concept


# ---- word lists: iterators over (place in the file, name, pos or None, wnid or None) as written --


def _read_names(path, options):
    if not path.is_file():
        raise InputError(f"Word list {path} does not exist: correct the path in the config.")
    if options["format"] == "synset_mapping":
        if path.suffix != ".txt":
            raise InputError(f"{path}: format synset_mapping is for .txt files; leave it out.")
        return ((place, name, None, wnid) for place, wnid, name in read_synset_mapping(path))
    if path.suffix == ".txt":
        return ((place, line, None, None) for place, line in read_lines(path))
    if path.suffix in TABLES:
        rows = read_rows(path, {"column": options["column"]}, ["pos"])
        return ((place, row["column"], row["pos"], None) for place, row in rows)
    raise InputError(
        f"Word list {path} must end in .txt, .csv, .tsv or .parquet, or be a WordNet folder."
    )


# ---- WordNet ------------------------------------------------------------------------------------


def _read_wordnet(path, options):
    pos = options["pos"]
    if pos not in trees.PARTS:
        raise InputError(f"{path}: pos of WordNet must be one of {list(trees.PARTS)}, not {pos!r}.")
    for name in options["drop_files"]:
        if name not in trees.FILES.values():
            raise InputError(
                f"{path}: drop_files: WordNet has no lexicographer file {name!r} but "
                f"{', '.join(trees.FILES.values())}."
            )
    folder = path if path.is_dir() else path.parent
    if path not in (folder, folder / f"data.{trees.PARTS[pos][0]}"):
        raise InputError(f"{path} does not hold the pos {pos!r}: give the folder as path.")
    tree = trees.read_wordnet(folder, pos)

    def passes(node, name):
        return (
            (options["senses"] == "all_lemmas" or _without_marker(tree.title(node)) == name)
            and tree.file(node) not in options["drop_files"]
            and (options["proper"] or not tree.is_proper(node))
        )

    for name, nodes in tree.names.items():
        node = next((node for node in nodes if passes(node, name)), None)
        if node:
            known = tree.file(node), ";".join(tree.parents[node]), tree.is_proper(node)
            yield Entry(name, pos, folder.name, node, *known)


def _without_marker(word):
    """An adjective without the marker of its position in a phrase, e.g. "(p)" (wninput(5WN))."""
    return re.sub(r"\((p|a|ip)\)$", "", word)
