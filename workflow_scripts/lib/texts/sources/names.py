"""Word lists: a text file with a concept a line, or a table with a column of concepts."""

from workflow_scripts.lib.texts.entries import Entry
from workflow_scripts.lib.texts.files import read_texts
from workflow_scripts.lib.texts.names import checked_name


def read(path, options):
    """Iterate over the Entries of a .txt, .csv, .tsv or .parquet file; see `corpora.read_corpus`.

    A table may have a column pos. Cells and lines without a name are left out.
    Raises InputError naming the file, and the line or row where there is one.
    """
    for place, text, pos in read_texts(path, options["column"]):
        concept = checked_name(text or "", f"{path}, {place}")
        if concept:
            yield Entry(concept, (pos or "").strip() or options["pos"], path.stem)
