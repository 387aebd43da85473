"""Lists of WordNet ids and names, as ImageNet's lists of classes."""

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.texts.entries import Entry
from workflow_scripts.lib.texts.files import read_synset_mapping
from workflow_scripts.lib.texts.names import checked_name


def read(path, options):
    """Iterate over the Entries of a .txt file, one per line; see `corpora.read_corpus`.

    Raises InputError naming the file, and the line where there is one.
    """
    if path.suffix != ".txt":
        raise InputError(f"{path}: format synset_mapping is for .txt files; leave it out.")
    for place, wnid, name in read_synset_mapping(path):
        concept = checked_name(name, f"{path}, {place}")
        if concept:
            yield Entry(concept, options["pos"], path.stem, wnid)
