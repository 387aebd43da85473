"""Image files that a table or a list names."""

from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from workflow_scripts.lib.artifacts import read_table
from workflow_scripts.lib.columns import check_once
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images.containers import label_column, texts, unsafe
from workflow_scripts.lib.images.decode import EXTENSIONS, UNREAD, BadImage
from workflow_scripts.lib.images.entries import Locator
from workflow_scripts.lib.images.folder import FolderContainer
from workflow_scripts.lib.images.folders import check_regular
from workflow_scripts.lib.images.manifest import subfolder


class ListContainer(FolderContainer):
    """Image files named by a table (.csv, .tsv, .parquet) with the columns `path` and, optionally,
    `label`, or by a .txt list as OpenOOD has them: "path label" a line (see `_read_list`).

    root: the folder that paths are relative to, and images must lie below; None takes the folder
        of the table. An absolute path below `root` gets the id of its relative form.
    label: name of the column of labels (see `label_column`).
    A missing file has a reason; a missing `path` column raises InputError. Labels are texts or
    integers; an empty one is no label.
    """

    label_modes = ("column", "subfolder", "none")
    lists_images = True
    duplicate_hint = ": list it once"

    def __init__(self, path, labels, root=None, label=None):
        super().__init__(path, labels)
        self._label = label
        self.root = Path(root) if root is not None else path.parent

    def files(self):
        """Paths of the files that the list names and that may be used, relative to `root`."""
        names = texts(self._table()["path"], f"{self.path}: column 'path'")
        return [name for name in map(self._relative, filter(None, names)) if not unsafe(name)]

    def _entries(self):
        if not self.root.is_dir():
            raise InputError(f"root {self.root} of {self.path} does not exist: correct it.")
        table = self._table()
        paths = texts(table["path"], f"{self.path}: column 'path'")
        labels = [None] * len(paths)
        if self.labels == "column" and "label" in table.column_names:
            labels = texts(table["label"], f"{self.path}: column 'label'")
        for row, (path, label) in enumerate(zip(paths, labels, strict=True)):
            if not path:
                yield f"row {row}", Locator(self.path.name, row, reason="no path in the list")
                continue
            name = self._relative(path)
            label = subfolder(name) if self.labels == "subfolder" else label or None
            yield name, Locator(name, label=label, reason=self._reason(name))

    def _table(self):
        """The columns `path` and, if there is one, `label`."""
        from pyarrow import csv

        check_regular(self.path)
        if self.path.suffix.lower() == ".txt":
            return _read_list(self.path)
        kind = self.path.suffix.lower()
        parsing = csv.ParseOptions(delimiter="\t" if kind == ".tsv" else ",")
        try:
            if kind == ".parquet":
                names = pq.read_schema(self.path).names
            else:
                with csv.open_csv(self.path, parse_options=parsing) as reader:
                    names = reader.schema.names
            check_once(self.path, names, ["path"])
            if "path" not in names:
                raise InputError(
                    f"{self.path} has no column 'path' (columns: {', '.join(map(repr, names))})."
                )
            label = label_column(self._label, names, self.path) if self.labels == "column" else None
            columns = ["path"] + [label] * (label is not None)
            if kind == ".parquet":
                return _named(read_table(self.path, columns), label)
            return _named(_read_csv(self.path, names, columns, parsing), label)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{self.path} is not a readable table ({error})") from error

    def _relative(self, path):
        path = PurePosixPath(path)
        if path.is_absolute():
            for folder in (self.root.absolute(), self.root.resolve()):
                if path.is_relative_to(folder):
                    path = path.relative_to(folder)
                    break
        return str(path)

    def _reason(self, name):
        """Why a file cannot be used, or None."""
        if reason := unsafe(name):
            return reason
        try:
            self._status(name)
        except BadImage as error:
            return str(error)
        return None


CONTAINER = ListContainer


def _read_list(path):
    """A .txt list as a table of `path` and `label`.

    A line is a path and, after blanks, a label without blanks; -1 is no label. A line that ends
    like the name of an image file is a path alone, so a label may not (our choice: a path may then
    hold blanks, with a label or without). Empty lines are left out.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path} is not a readable list ({error})") from error
    paths, labels = [], []
    for line in filter(None, map(str.strip, lines)):
        fields = line.rsplit(maxsplit=1)
        alone = len(fields) == 1 or PurePosixPath(line).suffix.lower() in EXTENSIONS | UNREAD
        paths.append(line if alone else fields[0])
        labels.append(None if alone or fields[1] == "-1" else fields[1])
    columns = {"path": pa.array(paths, pa.string()), "label": pa.array(labels, pa.string())}
    return pa.table(columns)


def _read_csv(path, header, columns, parsing):
    """Columns of a .csv or .tsv table as texts. Raises InputError for a row of several lines.

    A quote that is not closed would make one row of all lines up to the next quote.
    """
    from pyarrow import csv

    # Labels stay as they are written: 007 is no number and NA no missing value.
    options = csv.ConvertOptions(
        column_types=dict.fromkeys(header, pa.string()), null_values=[""], strings_can_be_null=True
    )
    parts, rows = [], 0
    with csv.open_csv(path, convert_options=options, parse_options=parsing) as reader:
        for batch in reader:
            for column in batch.columns:
                breaks = pc.index(pc.match_substring_regex(column, r"[\r\n]"), True).as_py()
                if breaks >= 0:
                    raise InputError(
                        f"{path}: row {rows + breaks + 1} goes over several lines: close its "
                        "quote, or put every row on one line."
                    )
            parts.append(batch.select(columns))
            rows += len(batch)
        return pa.Table.from_batches(parts, pa.schema([(name, pa.string()) for name in columns]))


def _named(table, label):
    """The table with its column of labels, if there is one, called `label`."""
    return table.rename_columns(["path"] + ["label"] * (label is not None))
