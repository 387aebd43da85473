"""Images in Parquet files, as Hugging Face datasets writes them."""

import json
import threading
from collections import OrderedDict
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from workflow_scripts.lib.columns import check_once
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images.containers import (
    Container,
    label_column,
    normal,
    texts,
    unsafe,
)
from workflow_scripts.lib.images.decode import BadImage
from workflow_scripts.lib.images.entries import Locator
from workflow_scripts.lib.images.manifest import subfolder

MAX_ROW_GROUP = 2 << 30  # bytes of images that are held in memory together
MAX_ROWS = 1 << 24  # of a row group: an image takes more than 128 bytes
PART = 128  # rows that are decoded together


class ParquetContainer(Container):
    """Parquet files with the bytes of images, as Hugging Face datasets has them: one file, or the
    `.parquet` files below a folder.

    image: name of the image column, a struct with `bytes` and optionally `path`, or a binary
        column. None takes the one that the datasets metadata call Image, else the one named
        "image", else the only one of these types.
    label: name of the label column, of texts or integers. None takes the one named "label", if
        there is one. Integers become the class names of the datasets metadata, if there are any;
        then -1 is no label. A null or an empty text is no label.
    ids: "path" (default) takes the struct's `path`, where it is not null; "row" and rows without
        one get the file's name and the number of the row: "train-00000/00000012".

    Rows without bytes have a reason or raise BadImage when read. A row can only be reached by
    reading its row group, of which two stay in memory: read in the order of `entries`.
    """

    label_modes = ("column", "subfolder", "none")
    lists_images = True
    archived = True
    duplicate_hint = ": set ids to 'row'"
    sequential = True

    def __init__(self, path, labels, image=None, label=None, ids="path", files=None):
        super().__init__(path, labels, files)
        if ids not in ("path", "row"):
            raise InputError(f"ids: {ids!r} must be 'path' or 'row'.")
        self._image, self._label, self._ids = image, label, ids
        self._groups = OrderedDict()  # (path, first row) -> images, the latest at the end
        self._lock = threading.Lock()

    def _entries(self):
        for file in self._files((".parquet",)):
            yield from self._file_entries(file)

    def _file_entries(self, file):
        path = self.root / file
        with _open_parquet(path) as source:
            schema = source.schema_arrow
            image, fields = self._image_column(schema, path)
            label = self._label_column(schema, path)
            columns = [f"{image}.path"] if "path" in fields else []
            columns += [label] if label else []
            names = _class_names(schema, label)
            row = 0
            for group in range(source.num_row_groups):
                rows = _number_of_rows(source, group, path)
                paths = labels = [None] * rows
                table = _read_group(source, group, columns, path) if columns else None
                if "path" in fields:
                    paths = pc.struct_field(table[image], "path")
                    paths = texts(paths, f"{path}: `path` of column {image!r}")
                if label:
                    labels = texts(table[label], f"{path}: column {label!r}")
                for name, text in zip(paths, labels, strict=True):
                    yield self._entry(file, row, name, text, names)
                    row += 1

    def _entry(self, file, row, name, text, names):
        if self._ids == "row" or not name:
            name = f"{PurePosixPath(file).with_suffix('')}/{row:08d}"
        name = normal(name)
        label, reason = text or None, unsafe(name)
        reason = reason and f"{reason}, or set ids to 'row'"
        if names and label is not None:
            number = int(label)
            label = str(names[number]) if 0 <= number < len(names) else None
            if label is None and number != -1:
                reason = f"label {number} is none of the {len(names)} classes"
        if self.labels == "subfolder":
            label = subfolder(name)
        return name, Locator(file, row, None, label, reason)

    def _image_column(self, schema, path):
        """Name of the image column, and what `_image_fields` says of it."""
        images = {field.name: fields for field in schema if (fields := _image_fields(field.type))}
        check_once(path, schema.names, [*images])
        features = _features(schema)
        marked = [name for name in images if features.get(name, {}).get("_type") == "Image"]
        chosen = marked if len(marked) == 1 else [name for name in images if name == "image"]
        if self._image is not None:
            chosen = [name for name in images if name == self._image]
        elif not chosen:
            chosen = list(images)
        if len(chosen) != 1:
            columns = ", ".join(f"{field.name} ({field.type})" for field in schema)
            raise InputError(
                f"{path}: which column holds the images? Set 'image' to a binary column or a "
                f"struct with 'bytes' (columns: {columns})."
            )
        return chosen[0], images[chosen[0]]

    def _label_column(self, schema, path):
        if self.labels != "column":
            return None
        return label_column(self._label, schema.names, path)

    def _read(self, locator):
        path = self.root / locator["file"]
        with self._lock:
            content = self._row(path, locator["offset"])
        if content is None:
            raise BadImage("no image in this row (null)")
        return content

    def _row(self, path, row):
        for (file, start), values in self._groups.items():
            if file == path and start <= row < start + len(values):
                return values[row - start].as_py()
        with _open_parquet(path) as source:
            start = group = 0
            while group < source.num_row_groups:
                rows = source.metadata.row_group(group).num_rows
                if row < start + rows:
                    break
                start, group = start + rows, group + 1
            else:
                raise InputError(f"{path} is shorter than when it was listed: list it again.")
            values = self._group(source, group, path)
        self._groups[path, start] = values
        if len(self._groups) > 2:
            self._groups.popitem(last=False)
        return values[row - start].as_py()

    def _group(self, source, group, path):
        image, fields = self._image_column(source.schema_arrow, path)
        struct = "bytes" in fields
        column = f"{image}.bytes" if struct else image
        values = _read_group(source, group, [column], path)[image]
        return pc.struct_field(values, "bytes") if struct else values


CONTAINER = ParquetContainer


def _open_parquet(path):
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path} is not a readable Parquet file ({error})") from error


def _number_of_rows(source, group, path):
    """The rows of a row group, as its header tells."""
    rows = source.metadata.row_group(group).num_rows
    if rows > MAX_ROWS:
        raise _too_large(path, f"{rows:,} rows")
    return rows


def _read_group(source, group, columns, path):
    """Columns of a row group, a pyarrow Table of at most MAX_ROW_GROUP bytes.

    It is read in parts: a value that is repeated takes almost nothing in the file.
    """
    metadata = source.metadata.row_group(group)
    chunks = [metadata.column(i) for i in range(metadata.num_columns)]
    size = sum(c.total_uncompressed_size for c in chunks if c.path_in_schema in columns)
    parts, held, rows = [], 0, _number_of_rows(source, group, path)
    try:
        if size <= MAX_ROW_GROUP:
            for part in source.iter_batches(PART, row_groups=[group], columns=columns):
                parts.append(part)
                held += part.nbytes
                if held > MAX_ROW_GROUP:
                    break
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} is damaged ({error}): copy it again.") from error
    if max(size, held) > MAX_ROW_GROUP:
        raise _too_large(path, f"{max(size, held) / 2**30:.1f} GiB of images")
    if sum(map(len, parts)) != rows:
        raise InputError(f"{path} is damaged (rows are missing): copy it again.")
    return pa.Table.from_batches(parts)


def _too_large(path, what):
    return InputError(
        f"{path}: a row group holds {what}: write the file with smaller row groups "
        "(row_group_size=1000)."
    )


def _image_fields(kind):
    """Names of the fields of a type that holds images; [None] if it is binary; [] for others."""
    if pa.types.is_struct(kind):
        bytes_ = [field for field in kind if field.name == "bytes"]
        return [field.name for field in kind] if bytes_ and _is_binary(bytes_[0].type) else []
    return [None] if _is_binary(kind) else []


def _is_binary(kind):
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _features(schema):
    """Column name -> description (a dict) by Hugging Face datasets; {} if it wrote none."""
    try:
        metadata = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = metadata["info"]["features"].items()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    return {name: feature for name, feature in features if isinstance(feature, dict)}


def _class_names(schema, label):
    """Names of the classes that an integer label column counts from 0, or None."""
    names = _features(schema).get(label, {}).get("names")
    known = isinstance(names, list) and label in schema.names
    return names if known and pa.types.is_integer(schema.field(label).type) else None
