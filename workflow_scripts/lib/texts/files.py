"""Reading UTF-8 text and tables of text (.csv, .tsv, .parquet) piece by piece, mistakes with place.

Nothing is held in memory as a whole, so that files of millions of captions can be read.
"""

import codecs
import csv
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from workflow_scripts.lib.columns import check_once, check_spelling
from workflow_scripts.lib.errors import InputError

DELIMITERS = {".csv": ",", ".tsv": "\t"}
TABLES = (*DELIMITERS, ".parquet")
MAX_LINE = 1 << 24  # characters that are read together
ROWS = 256  # of a Parquet file that are read together


def read_lines(path):
    """Iterate over (place in the file, line) of a text file; the line may end in a line end.

    Raises InputError naming file and line if it is not UTF-8.
    """
    for number, line in enumerate(_text(Path(path), None), 1):
        yield f"line {number}", line


def read_rows(path, columns, optional=(), several_lines=False):
    """Iterate over (place in the file, values) of a .csv, .tsv or .parquet table.

    columns: config key -> name of the column that it names. optional: further columns, where there
    are some. values: dict from these keys and names to text; a missing cell is None or "".
    several_lines: whether a text may go over several lines, as captions do.
    Raises InputError naming the file, and the line where there is one.
    """
    path = Path(path)
    if path.suffix.lower() not in TABLES:
        raise InputError(f"{path} must end in .csv, .tsv or .parquet, or be a WordNet folder.")
    read = _read_parquet if path.suffix.lower() == ".parquet" else _read_delimited
    rows = read(path, columns, optional)
    return rows if several_lines else _of_one_line(path, rows)


def _of_one_line(path, rows):
    """The rows. Raises InputError for a text of several lines: a quote that is not closed makes one
    of all lines up to the next quote."""
    for place, values in rows:
        if any(re.search(r"[\r\n]", text.strip()) for text in values.values() if text):
            raise InputError(
                f"{path}, {place}: a text goes over several lines: close its quote, or put every "
                "row on one line."
            )
        yield place, values


def read_texts(path, column, several_lines=False):
    """Iterate over (place in the file, text, pos) of a text file or a table; pos can be None.

    path: a .txt file with a text a line, or a .csv, .tsv or .parquet table whose column `column`
    holds the texts, and maybe the column pos their parts of speech. A missing text is None or "".
    several_lines: see `read_rows`.
    Raises InputError naming the file, and the line where there is one.
    """
    path = Path(path)
    if path.suffix.lower() == ".txt":
        return ((place, line, None) for place, line in read_lines(path))
    if path.suffix.lower() in TABLES:
        rows = read_rows(path, {"column": column}, ["pos"], several_lines)
        return ((place, row["column"], row["pos"]) for place, row in rows)
    raise InputError(
        f"Word list {path} must end in .txt, .csv, .tsv or .parquet, or be a WordNet folder."
    )


def read_synset_mapping(path):
    """Iterate over (place, WordNet id, first name) of lines as in ImageNet's lists of classes:
    "n01440764 tench, Tinca tinca". Blank lines are left out."""
    for place, line in read_lines(path):
        if not line.strip():
            continue
        match = re.match(r"\s*([nvars][0-9]{8})\s+([^,\s][^,]*)", line)
        if not match:
            raise InputError(
                f"{path}, {place}: format synset_mapping needs a WordNet id and names, as in "
                "'n01440764 tench, Tinca tinca'; complete the line or leave the format out."
            )
        yield place, match[1], match[2]


def _text(path, newline):
    """The lines of a UTF-8 file; newline as in `open`."""
    _check_exists(path)
    marks = codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE
    with path.open("rb") as file:
        if file.read(4).startswith(marks):  # UTF-32 LE starts as UTF-16 LE does
            raise InputError(f"{path}, line 1: not UTF-8 but UTF-16 or UTF-32; save it as UTF-8.")
    with path.open(encoding="utf-8-sig", newline=newline) as file:
        try:
            lines = iter(lambda: file.readline(MAX_LINE), "")
            for number, line in enumerate(lines, 1):
                if len(line) == MAX_LINE:
                    raise InputError(
                        f"{path}, line {number}: a line of more than {MAX_LINE:,} characters, so "
                        "no list or table of texts; give another file."
                    )
                if "\0" in line:
                    raise InputError(
                        f"{path}, line {number}: a NUL byte, so no UTF-8 text; save it as UTF-8."
                    )
                yield line
        except UnicodeDecodeError as error:
            raise InputError(
                f"{path}, line {_undecodable_line(path)}: not UTF-8; save the file as UTF-8."
            ) from error


def _check_exists(path):
    if not path.is_file():
        raise InputError(f"{path} does not exist: correct the path in the config.")


def _undecodable_line(path):
    """Number of the first line that is not UTF-8; lines end in LF, CRLF or CR."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        lines = iter(lambda: file.readline(MAX_LINE), "")
        undecodable = (n for n, line in enumerate(lines, 1) if re.search("[\udc80-\udcff]", line))
        return next(undecodable)


def _read_delimited(path, columns, optional):
    reader = csv.DictReader(_text(path, ""), delimiter=DELIMITERS[path.suffix.lower()], strict=True)
    try:
        header = list(reader.fieldnames or ())
        _check_columns(f"{path}, line 1", header, columns)
        check_spelling(f"{path}, line 1", header, optional)
        check_once(f"{path}, line 1", header, [*columns.values(), *optional])
        names = columns | {name: name for name in optional}
        for row in reader:
            place = f"line {reader.line_num}"
            if any(row.get(None, ())):
                raise InputError(
                    f"{path}, {place}: more fields than the header has; "
                    "put names with a separator in quotes."
                )
            yield place, {key: row.get(name) for key, name in names.items()}
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num + 1}: {error}") from error


def _read_parquet(path, columns, optional):
    _check_exists(path)
    try:
        with pq.ParquetFile(path) as file:
            header = file.schema_arrow.names
            _check_columns(path, header, columns)
            check_spelling(path, header, optional)
            check_once(path, header, [*columns.values(), *optional])
            names = columns | {name: name for name in optional if name in header}
            number = 0
            for batch in file.iter_batches(ROWS, columns=list(dict.fromkeys(names.values()))):
                texts = [_text_column(batch, name, path) for name in names.values()]
                for row in zip(*texts, strict=True):
                    values = dict.fromkeys(optional) | dict(zip(names, row, strict=True))
                    yield f"row {number} (from 0)", values
                    number += 1
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} is not a readable Parquet file ({error})") from error


def _check_columns(place, header, columns):
    for key, name in columns.items():
        if name not in header:
            raise InputError(
                f"{place}: no column {name!r} but {header}; add it, or name the right one ({key})."
            )


def _text_column(batch, name, path):
    try:
        return batch[name].cast(pa.string()).to_pylist()
    except pa.ArrowException as error:
        raise InputError(f"{path}: column {name!r} must be text ({error})") from error
