"""Text corpora: reading word lists into one concept table, normalising names, applying prompts."""

import codecs
import csv
import io
import unicodedata
from pathlib import Path

import pyarrow as pa

from workflow_scripts.lib.artifacts import read_table
from workflow_scripts.lib.errors import InputError

DELIMITERS = {".csv": ",", ".tsv": "\t"}


def normalise(name):
    """A concept's or label's canonical name: NFC, lower case, single spaces, no underscores.

    Labels are matched to concepts by this form.
    """
    return " ".join(unicodedata.normalize("NFC", name.lower()).replace("_", " ").split())


def read_corpus(files, pos="noun"):
    """Read word lists into one concept table.

    files: paths of .txt files (one concept a line) or of .csv, .tsv or .parquet tables with the
        column concept and optionally pos. pos: part of speech where a file gives none, for all
        files or a list of one per file.

    Returns a pyarrow Table of strings: concept (normalised, distinct: the first of duplicates
    stays), pos, source (the file's name without its ending); in the order of files and lines.
    Raises InputError naming the file, and the line where there is one.
    """
    table = {}
    for file, default in zip(
        files, [pos] * len(files) if isinstance(pos, str) else pos, strict=True
    ):
        path = Path(file)
        found = False
        for name, part in _read_names(path):
            concept = normalise(name or "")
            if concept:
                found = True
                table.setdefault(concept, ((part or "").strip() or default, path.stem))
        if not found:
            raise InputError(f"{path} holds no concepts: add at least one.")
    return concept_table(list(table), *zip(*table.values(), strict=True))


def concept_table(concepts, pos, sources):
    """A pyarrow Table of string columns concept, pos, source."""
    columns = {"concept": concepts, "pos": pos, "source": sources}
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


def _read_names(path):
    """Iterate over (concept, pos or None) of a word list as written."""
    if not path.is_file():
        raise InputError(f"Word list {path} does not exist: correct the path in the config.")
    if path.suffix == ".txt":
        return ((line, None) for line in io.StringIO(_read_utf8(path), newline=None))
    if path.suffix in DELIMITERS:
        return _read_delimited(path)
    if path.suffix == ".parquet":
        return _read_parquet(path)
    raise InputError(f"Word list {path} must end in .txt, .csv, .tsv or .parquet.")


def _read_utf8(path):
    content = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}, line {line}: not UTF-8; save the file as UTF-8.") from error


def _read_delimited(path):
    text = io.StringIO(_read_utf8(path), newline="")
    reader = csv.DictReader(text, delimiter=DELIMITERS[path.suffix], strict=True)
    try:
        if "concept" not in (reader.fieldnames or ()):
            raise InputError(f"{path}, line 1: no column 'concept' in the header; add it.")
        for row in reader:
            yield row["concept"], row.get("pos")
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num + 1}: {error}") from error


def _read_parquet(path):
    table = read_table(path)
    if "concept" not in table.column_names:
        raise InputError(f"{path} has no column 'concept' but {table.column_names}; add it.")
    try:
        names = table["concept"].cast(pa.string()).to_pylist()
        if "pos" not in table.column_names:
            return [(name, None) for name in names]
        return list(zip(names, table["pos"].cast(pa.string()).to_pylist(), strict=True))
    except pa.ArrowException as error:
        raise InputError(f"{path}: columns concept and pos must be text ({error})") from error


def apply_prompts(concepts, pos, prompts):
    """Every concept in every template of its part of speech.

    concepts, pos: sequences of V strings. prompts: dict from a part of speech to a list of
        templates with one '{}' each; "default" serves parts of speech that are not named.

    Returns a list of V lists of prompts.
    Raises InputError for a bad template or a part of speech without templates.
    """
    for name, templates in prompts.items():
        for template in templates:
            if template.count("{}") != 1:
                raise InputError(f"prompts.{name}: {template!r} must hold exactly one '{{}}'.")

    def templates_for(part):
        templates = prompts.get(part) or prompts.get("default")
        if not templates:
            raise InputError(f"prompts: no templates for {part!r}; add them or a 'default' list.")
        return templates

    return [
        [template.replace("{}", concept) for template in templates_for(part)]
        for concept, part in zip(concepts, pos, strict=True)
    ]
