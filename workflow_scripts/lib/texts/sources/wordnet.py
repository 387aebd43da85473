"""The words of WordNet's database, each with the first of its senses that passes the filters."""

import re

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.texts import trees
from workflow_scripts.lib.texts.entries import Entry


def read(path, options):
    """Iterate over the Entries of one part of speech, in WordNet's order (alphabetical).

    path: the folder of the database files, or in it the data file of this part of speech.
    options: pos, senses, drop_files, proper; see `corpora.read_corpus`. Raises InputError.
    """
    pos = options["pos"]
    _check(path, options)
    folder = path if path.is_dir() else path.parent
    if path not in (folder, folder / f"data.{trees.PARTS[pos][0]}"):
        raise InputError(f"{path} does not hold the pos {pos!r}: give the folder as path.")
    tree = trees.read_wordnet(folder, pos)
    for name, nodes in tree.names.items():
        node = next((node for node in nodes if _passes(tree, node, name, options)), None)
        if node:
            known = tree.file(node), ";".join(tree.parents[node]), tree.is_proper(node)
            yield Entry(name, pos, folder.name, node, *known)


def _check(path, options):
    pos = options["pos"]
    if pos not in trees.PARTS:
        raise InputError(f"{path}: pos of WordNet must be one of {list(trees.PARTS)}, not {pos!r}.")
    for name in options["drop_files"]:
        if name not in trees.FILES.values():
            raise InputError(
                f"{path}: drop_files: WordNet has no lexicographer file {name!r} but "
                f"{', '.join(trees.FILES.values())}."
            )


def _passes(tree, node, name, options):
    """Whether the options keep this sense of a name."""
    return (
        (options["senses"] == "all_lemmas" or _without_marker(tree.title(node)) == name)
        and tree.file(node) not in options["drop_files"]
        and (options["proper"] or not tree.is_proper(node))
    )


def _without_marker(word):
    """An adjective without the marker of its position in a phrase, e.g. "(p)" (wninput(5WN))."""
    return re.sub(r"\((p|a|ip)\)$", "", word)
