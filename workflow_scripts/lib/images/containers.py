"""Where the images of a set are: a folder, a list of files, tar shards, Parquet files.

    container = open_container("tar", "photos/shards")
    for image_id, locator in container.entries():
        content = container.read(locator)

An entry that cannot be used is listed all the same, with a reason in its locator, and reading it
raises BadImage; so every member ends as an image, in the quarantine, or as the label of an image.
A container that is damaged as a whole raises InputError. Nothing is unpacked to disk.

An image's id is its POSIX path in the container, so the members of a tar have the ids, bytes and
hashes of the same files in a folder.
"""

import gzip
import json
import logging
import os
import stat
import tarfile
import threading
import zlib
from collections import OrderedDict, deque
from functools import cached_property, partial
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from workflow_scripts.lib.artifacts import read_meta, read_table, write_table
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images import files as images
from workflow_scripts.lib.images.files import FORMATS, BadImage, printable, subfolder
from workflow_scripts.lib.images.folders import walk

EXTENSIONS = {ext for ext, name in Image.registered_extensions().items() if name in FORMATS}
LABEL_EXTENSIONS = (".cls", ".json", ".txt")  # in this order of precedence
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")
MAX_LABEL_BYTES = 1 << 20  # of a label member; a class name is shorter
MAX_ROW_GROUP = 2 << 30  # bytes of images that are held in memory together
OPEN_STREAMS = 16  # gzip files kept open, each at its own position
MAX_HELD = 1 << 30  # bytes of images that wait in memory for their turn
LOCATED_KINDS = ("tar", "parquet")  # an image's id is no path of a file there: it needs a locator
LOCATORS = pa.schema(
    [("image_id", pa.string()), ("file", pa.string()), ("offset", pa.int64()), ("size", pa.int64())]
)
GZIP_ERRORS = (gzip.BadGzipFile, EOFError, zlib.error)


def open_container(kind, path, labels=None, **options):
    """A container of images.

    kind: "folder", "list", "tar" or "parquet". path: the folder, the table, or for "tar" and
        "parquet" a file or a folder of files.
    labels: where an image's label comes from; None takes the first that the kind has.
        folder: "subfolder" (first folder of the id) or "none". list: "column" (the column `label`,
        if there is one), "subfolder" or "none". tar: "subfolder", "none", "cls" or "shard" (see
        `TarContainer`). parquet: "column", "subfolder" or "none".
    options: see ListContainer and ParquetContainer.

    The result has `entries()`, which yields (image_id, locator) in the order of storage, and
    `read(locator)`, which returns the bytes of the file and may be called from several threads.
    A locator is a dict: file (relative to the container), offset (bytes; of a list None, of
    Parquet the row), size (bytes; of Parquet None, since only `read` reads images), label (str or
    None), reason (str if the entry cannot be used, else None).
    Raises InputError.
    """
    kinds = {
        "folder": FolderContainer,
        "list": ListContainer,
        "tar": TarContainer,
        "parquet": ParquetContainer,
    }
    if kind not in kinds:
        raise InputError(f"container kind {kind!r} must be one of {', '.join(kinds)}.")
    container = kinds[kind]
    labels = labels or container.label_modes[0]
    if labels not in container.label_modes:
        modes = ", ".join(container.label_modes)
        raise InputError(f"labels: {labels!r} must be one of {modes} for a {kind} container.")
    return container(Path(path), labels, **options)


def write_locators(path, rows, meta):
    """Write where images are stored, a table of LOCATORS that `image_readers` reads.

    rows: dicts as `describe` gives them. meta: kind, labels and options of `open_container`.
    """
    write_table(path, pa.Table.from_pylist(rows, schema=LOCATORS), meta)


def image_readers(ids, source, locators=()):
    """Yield per image, in this order, a function that returns what `images.open_rgb` takes.

    ids: image ids. source: the folder, archives or tables that hold the images. locators: files
    by `write_locators`; none for a folder, where an image's id is its path.
    The functions may run in any thread. They raise BadImage; going on may raise InputError.
    """
    if not locators:
        return (partial(Path, source, image_id) for image_id in ids)
    tables = [read_table(path) for path in locators]
    wanted = pa.array(ids, pa.string())
    rows = [
        row
        for table in tables
        for row in table.filter(pc.is_in(table["image_id"], wanted)).to_pylist()
    ]
    by_id = {row["image_id"]: row | {"label": None, "reason": None} for row in rows}
    gone = _locator("", 0, 0, reason="no longer in its container")
    meta = read_meta(locators[0])
    container = open_container(meta["kind"], source, meta["labels"], **meta["options"])
    return readers(container, [by_id.get(image_id, gone) for image_id in ids])


def readers(container, locators):
    """Yield per locator, in this order, a function that returns the bytes; see `image_readers`.

    A container that must be read in the order of storage is read ahead of the given order, up to
    MAX_HELD bytes: one pass over it if the two orders agree, else one pass per MAX_HELD bytes.
    """
    if not container.sequential:
        yield from (partial(container.read, locator) for locator in locators)
        return
    for part in _parts(locators, MAX_HELD):
        waiting, held = deque(range(len(part))), {}
        for i in sorted(waiting, key=lambda i: (part[i]["file"], part[i]["offset"])):
            held[i] = _held(container, part[i])
            while waiting and waiting[0] in held:
                yield held.pop(waiting.popleft())


def _parts(locators, max_size):
    """Cut a list into lists of at most `max_size` bytes, or of one locator."""
    part, size = [], 0
    for locator in locators:
        if part and size + locator["size"] > max_size:
            yield part
            part, size = [], 0
        part.append(locator)
        size += locator["size"]
    if part:
        yield part


def _held(container, locator):
    """Read now; the function that is returned gives the bytes or raises BadImage later."""
    try:
        content = container.read(locator)
    except BadImage as error:
        reason = error

        def fail():
            raise reason

        return fail
    return lambda: content


class _Container:
    sequential = False  # whether images must be read in the order of storage

    def __init__(self, path, labels):
        self.path = path
        self.labels = labels
        self._times = {}  # file -> time of its last change

    def describe(self, image_id, locator, known=None):
        """An image's manifest row, as `images.describe` gives it, with its locator's entries.

        known: see `images.describe`; a member of a file of the same time is not read again.
        Raises BadImage, or InputError for a damaged container.
        """
        file, size = locator["file"], locator["size"]
        if file not in self._times:
            self._times[file] = (self.root / file).stat().st_mtime_ns
        found = (known or {}).get((image_id, size, self._times[file]))
        if locator["reason"] or not found:
            content = self.read(locator)
            found, size = images.header_and_hash(content), len(content)
        return {
            "image_id": image_id,
            "path": image_id,
            "label": locator["label"],
            "bytes": size,
            "mtime_ns": self._times[file],
            **dict(zip(("width", "height", "sha256"), found, strict=True)),
            "file": file,
            "offset": locator["offset"],
            "size": size,
        }

    def entries(self):
        """Yield (image_id, locator) of every entry; a repeated id can be used only once."""
        first = {}
        found = False
        for name, locator in self._entries():
            found = True
            image_id = printable(name)
            if image_id != name:
                locator["reason"] = "name is not UTF-8: rename the file"
            if not locator["reason"] and image_id in first:
                file, offset = first[image_id]
                where = printable(file) + ("" if offset is None else f":{offset}")
                locator["reason"] = f"same image id as the entry at {where}{self.duplicate_hint}"
            elif not locator["reason"]:
                first[image_id] = locator["file"], locator["offset"]
            yield image_id, locator
        if not found:
            raise InputError(f"{self.path} holds no images: correct the path in the config.")

    def read(self, locator):
        """The bytes of an image's file. Raises BadImage, or InputError for a changed container."""
        if locator["reason"]:
            raise BadImage(locator["reason"])
        return self._read(locator)

    def _files(self, suffixes):
        """The container's files, relative to `root`: itself, or those below a folder, sorted."""
        if self.path.is_file():
            return [self.path.name]
        if not self.path.is_dir():
            raise InputError(f"{self.path} does not exist: correct the path in the config.")
        paths = [path for path, _ in walk(self.path)]
        files = sorted(path for path in paths if path.lower().endswith(suffixes))
        if not files:
            raise InputError(f"Folder {self.path} holds no {' or '.join(suffixes)} file.")
        if len(files) < len(paths):
            others = len(paths) - len(files)
            logging.warning("%s: %d files of other kinds are ignored", self.path, others)
        return files

    @property
    def root(self):
        return self.path.parent if self.path.is_file() else self.path


def _locator(file, offset=None, size=None, label=None, reason=None):
    return {"file": file, "offset": offset, "size": size, "label": label, "reason": reason}


def _normal(name):
    """A name without empty and '.' parts: `str(PurePosixPath(name))`, but quick."""
    if "//" not in name and "./" not in name and not name.endswith((".", "/")):
        return name
    return str(PurePosixPath(name))


def _unsafe(name):
    """Why a normal name cannot be an image id, or None."""
    if name.startswith("/"):
        return "absolute name: make it relative to the set's folder"
    if ".." in name.split("/"):
        return "name with '..': make it relative to the set's folder"
    return "no name" if name in ("", ".") else None


class FolderContainer(_Container):
    """All files below a folder, but hidden ones; see `images.list_folder`."""

    label_modes = ("subfolder", "none")

    def entries(self):
        """Yield (path, locator) of every file, sorted. A path may not be UTF-8."""
        for path in images.list_folder(self.path):
            yield path, _locator(path)

    def describe(self, image_id, locator, known=None):
        return images.describe(self.path, image_id, self.labels, known)

    def _read(self, locator):
        return _read_file(self.path / locator["file"])


class ListContainer(_Container):
    """Image files named by a CSV or Parquet table with the columns `path` and, optionally, `label`,
    or by a .txt list as OpenOOD has them: "path label" a line (see `_read_list`).

    root: the folder that paths are relative to, and images must lie below; None takes the folder
        of the table. An absolute path below `root` gets the id of its relative form.
    A missing file has a reason; a missing `path` column raises InputError. Labels are texts or
    integers; an empty one is no label.
    """

    label_modes = ("column", "subfolder", "none")
    duplicate_hint = ": list it once"

    def __init__(self, path, labels, root=None):
        super().__init__(path, labels)
        self.folder = Path(root) if root is not None else path.parent

    def describe(self, image_id, locator, known=None):
        if locator["reason"]:
            raise BadImage(locator["reason"])
        row = images.describe(self.folder, image_id, "none", known)
        return row | {"label": locator["label"]}

    def files(self):
        """Paths of the files that the list names and that may be used, relative to `folder`."""
        names = _texts(self._table()["path"], f"{self.path}: column 'path'")
        return [name for name in map(self._relative, filter(None, names)) if not _unsafe(name)]

    def _entries(self):
        if not self.folder.is_dir():
            raise InputError(f"root {self.folder} of {self.path} does not exist: correct it.")
        table = self._table()
        paths = _texts(table["path"], f"{self.path}: column 'path'")
        labels = [None] * len(paths)
        if self.labels == "column" and "label" in table.column_names:
            labels = _texts(table["label"], f"{self.path}: column 'label'")
        for row, (path, label) in enumerate(zip(paths, labels, strict=True)):
            if not path:
                yield f"row {row}", _locator(self.path.name, row, reason="no path in the list")
                continue
            name = self._relative(path)
            size, reason = self._state(name)
            label = subfolder(name) if self.labels == "subfolder" else label or None
            yield name, _locator(name, None, size, label, reason)

    def _table(self):
        """The columns `path` and, if there is one, `label`."""
        from pyarrow import csv

        if self.path.suffix.lower() == ".txt":
            return _read_list(self.path)
        parquet = self.path.suffix.lower() == ".parquet"
        try:
            names = (pq.read_schema if parquet else _csv_header)(self.path).names
            if "path" not in names:
                raise InputError(f"{self.path} has no column 'path' (columns: {', '.join(names)}).")
            columns = [name for name in ("path", "label") if name in names]
            if parquet:
                return read_table(self.path, columns)
            # Labels stay as they are written: 007 is no number and NA no missing value.
            options = csv.ConvertOptions(
                include_columns=columns,
                column_types=dict.fromkeys(columns, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
            )
            return csv.read_csv(self.path, convert_options=options)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{self.path} is not a readable table ({error})") from error

    def _relative(self, path):
        path = PurePosixPath(path)
        if path.is_absolute():
            for folder in (self.folder.absolute(), self.folder.resolve()):
                if path.is_relative_to(folder):
                    path = path.relative_to(folder)
                    break
        return str(path)

    def _state(self, name):
        """Size of a file, and why it cannot be used, or None."""
        if reason := _unsafe(name):
            return None, reason
        try:
            status = (self.folder / name).stat()
        except (OSError, ValueError) as error:
            return None, f"cannot be opened: {getattr(error, 'strerror', None) or error}"
        if not stat.S_ISREG(status.st_mode):
            return None, "not a regular file"
        return status.st_size, None

    def _read(self, locator):
        return _read_file(self.folder / locator["file"])


def _read_file(path):
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadImage(f"cannot be read: {error.strerror}") from error


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
        alone = len(fields) == 1 or PurePosixPath(line).suffix.lower() in EXTENSIONS
        paths.append(line if alone else fields[0])
        labels.append(None if alone or fields[1] == "-1" else fields[1])
    columns = {"path": pa.array(paths, pa.string()), "label": pa.array(labels, pa.string())}
    return pa.table(columns)


def _csv_header(path):
    from pyarrow import csv

    with csv.open_csv(path) as reader:
        return reader.schema


class _StrictTarInfo(tarfile.TarInfo):
    """Raises ReadError for every damaged header; tarfile takes most of them for the end."""

    @classmethod
    def fromtarfile(cls, archive):
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:
            raise
        except tarfile.EmptyHeaderError as error:
            raise tarfile.ReadError(
                "it has no end mark; if it is complete, `truncate -s +1024` adds one"
            ) from error
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error} at byte {archive.offset}") from error


class TarContainer(_Container):
    """Tar shards, plain or compressed with gzip: one file, or the `.tar`, `.tar.gz` and `.tgz`
    files below a folder, in the layout of webdataset.

    Members that share a path up to the first dot of the file name (the key) belong together. A
    member is an image if its last extension says so; `.cls`, `.json` and `.txt` members describe
    the images of their key. With labels "cls" the label is, in this order, the text of key.cls,
    the entry "label" of key.json, the text of key.txt. Several images may share a key. With labels
    "shard" it is the name of the archive without its suffix, which also comes first in the ids: as
    if every archive had been unpacked into a folder of its name (ImageNet's archives per class).

    Given a reason: members of other kinds and without an image, hidden ones, links, names that are
    absolute or hold '..', and all but the first of one name. Raises InputError for archives that
    are truncated (also if only the mark of the end is missing), damaged, or continue after their
    end.

    A plain archive is indexed once and then read by position. Of a gzip archive the bytes before
    a member must be decompressed to reach it: slower, by one thread at a time, and only bearable
    in the order of `entries`, since going back starts again from the first byte.
    """

    label_modes = ("subfolder", "none", "cls", "shard")
    duplicate_hint = ": rename it"

    def __init__(self, path, labels):
        super().__init__(path, labels)
        self._streams = OrderedDict()  # path -> open gzip file, the last used at the end
        self._lock = threading.Lock()

    @cached_property
    def _archives(self):
        return self._files(TAR_SUFFIXES)

    @cached_property
    def sequential(self):
        return any(_is_gzip_file(self.root / file) for file in self._archives)

    def _entries(self):
        labelled = set()
        for file in self._archives:
            for name, locator in self._shard(file):
                if not locator["reason"]:
                    labelled.add(locator["label"] is not None)
                yield f"{_stem(file)}/{name}" if self.labels == "shard" else name, locator
        if self.labels == "cls" and labelled == {False}:
            raise InputError(
                f"{self.path}: no image has a label: labels 'cls' needs members such as key.cls "
                "beside key.jpg; use 'subfolder' or 'none'."
            )

    def _shard(self, file):
        """Entries of one archive. It is read to its end first: a label may follow its image."""
        entries, images, sidecars, labels = [], set(), [], {}
        for member, content in self._members(file):
            name = _normal(member.name)
            key, extension = split_key(name)
            locator = _locator(file, member.offset_data, member.size, reason=_refusal(member, name))
            if not locator["reason"] and extension in LABEL_EXTENSIONS:
                sidecars.append((key, name, locator))
                if content is not None:
                    label = _label_of(content, extension)
                    if any(label):
                        labels.setdefault((key, extension), set()).add(label)
                continue
            if not locator["reason"] and _suffix(extension) not in EXTENSIONS:
                locator["reason"] = f"not an image by its extension: {extension or 'none'}"
            if not locator["reason"]:
                images.add(key)
            entries.append((key, name, locator))
        for key, name, locator in sidecars:
            if key not in images:
                locator["reason"] = f"describes no image: no image has the key {key}"
                entries.append((key, name, locator))
        for key, name, locator in sorted(entries, key=lambda entry: entry[2]["offset"]):
            if not locator["reason"]:
                self._set_label(locator, key, name, labels)
            yield name, locator

    def _set_label(self, locator, key, name, labels):
        if self.labels == "subfolder":
            locator["label"] = subfolder(name)
        if self.labels == "shard":
            locator["label"] = PurePosixPath(_stem(locator["file"])).name
        if self.labels == "cls":
            found = [labels[key, e] for e in LABEL_EXTENSIONS if (key, e) in labels]
            if found and len(found[0]) > 1:
                locator["reason"] = f"several label members of the key {key} disagree"
            elif found:
                ((locator["label"], locator["reason"]),) = found[0]

    def _members(self, file):
        """Yield (tarfile.TarInfo, content) of all members that are no folders.

        content: bytes of a label member if labels are "cls" (b"" if too large), else None.
        """
        path = self.root / file
        try:
            with _open_archive(path) as stream:
                with tarfile.open(
                    fileobj=stream, mode="r:", tarinfo=_StrictTarInfo, encoding="utf-8"
                ) as archive:
                    while (member := archive.next()) is not None:
                        archive.members.clear()  # tarfile would keep all of them in memory
                        content = None
                        if self.labels == "cls" and split_key(member.name)[1] in LABEL_EXTENSIONS:
                            content = _sidecar(archive, member)
                        if not member.isdir():
                            yield member, content
                while block := stream.read(1 << 20):
                    if block.strip(b"\0"):
                        raise tarfile.ReadError("data after the end of the archive")
        except (tarfile.TarError, *GZIP_ERRORS) as error:
            raise _damaged(path, error) from error
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from error

    def _read(self, locator):
        path = self.root / locator["file"]
        try:
            content = self._content(path, locator["offset"], locator["size"])
        except GZIP_ERRORS as error:
            raise _damaged(path, error) from error
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from error
        if len(content) != locator["size"]:
            raise InputError(f"{path} is shorter than when it was listed: list its images again.")
        return content

    def _content(self, path, offset, size):
        with path.open("rb", buffering=0) as file:
            if not _is_gzip(os.pread(file.fileno(), 2, 0)):
                return os.pread(file.fileno(), size, offset)
        with self._lock:
            stream = self._streams.pop(path, None) or gzip.open(path)  # noqa: SIM115
            self._streams[path] = stream
            if len(self._streams) > OPEN_STREAMS:
                self._streams.popitem(last=False)[1].close()
            stream.seek(offset)
            return stream.read(size)


def _stem(file):
    """An archive's name without its suffix, which may be in capitals."""
    suffix = next(s for s in (*TAR_SUFFIXES, "") if file.lower().endswith(s))
    return file[: len(file) - len(suffix)]


def split_key(name):
    """A member's name split at the first dot of its file name: key, extension in lower case.

    "a/b.seg.PNG" gives "a/b" and ".seg.png" (the rule of webdataset).
    """
    folder, slash, file = name.rpartition("/")
    stem, dot, extension = file.partition(".")
    return folder + slash + stem, (dot + extension).lower()


def _suffix(extension):
    """The last part of an extension: ".png" of ".seg.png"."""
    return "." + extension.rpartition(".")[2]


def _open_archive(path):
    with path.open("rb") as file:
        start = file.read(6)
    if _is_gzip(start[:2]):
        return gzip.open(path)
    if start[:3] == b"BZh" or start[:6] == b"\xfd7zXZ\0" or start[:4] == b"\x28\xb5\x2f\xfd":
        raise InputError(f"{path} is compressed, but not with gzip: store it as a plain tar file.")
    return path.open("rb")


def _is_gzip_file(path):
    try:
        with path.open("rb") as file:
            return _is_gzip(file.read(2))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def _is_gzip(start):
    return start == b"\x1f\x8b"


def _damaged(path, error):
    return InputError(
        f"{path} is truncated, damaged, or no tar file ({error}): copy or download it again."
    )


def _refusal(member, name):
    """Why a member cannot be used, or None."""
    if member.islnk() or member.issym():
        return "link inside a tar file: store the file itself"
    if not member.isreg() or member.issparse():
        return "not a regular file"
    if ("/." in name or name.startswith(".")) and ".." not in name.split("/"):
        return "hidden file"
    return _unsafe(name)


def _sidecar(archive, member):
    if not member.isreg() or member.issparse() or member.size > MAX_LABEL_BYTES:
        return b""
    return archive.extractfile(member).read()


def _label_of(content, extension):
    """(label, None), (None, reason) or, for JSON without a label, (None, None)."""
    try:
        text = content.decode("utf-8").strip()
    except UnicodeDecodeError:
        return None, f"label member {extension} is not UTF-8"
    if not text:
        return None, f"label member {extension} is empty or larger than {MAX_LABEL_BYTES} bytes"
    if extension != ".json":
        return text, None
    try:
        fields = json.loads(text)
    except ValueError as error:
        return None, f"label member .json is not JSON: {error}"
    label = fields.get("label") if isinstance(fields, dict) else None
    if label is None:
        return None, None
    if isinstance(label, str) or type(label) is int:
        return str(label), None
    return None, f"label in .json is neither text nor integer: {label!r}"


class ParquetContainer(_Container):
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
    duplicate_hint = ": set ids to 'row'"
    sequential = True

    def __init__(self, path, labels, image=None, label=None, ids="path"):
        super().__init__(path, labels)
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
                rows = source.metadata.row_group(group).num_rows
                paths = labels = [None] * rows
                table = _read_group(source, group, columns, path) if columns else None
                if "path" in fields:
                    paths = [(value or {}).get("path") for value in table[image].to_pylist()]
                if label:
                    labels = _texts(table[label], f"{path}: column {label!r}")
                for name, text in zip(paths, labels, strict=True):
                    yield self._entry(file, row, name, text, names)
                    row += 1

    def _entry(self, file, row, name, text, names):
        if self._ids == "row" or not name:
            name = f"{PurePosixPath(file).with_suffix('')}/{row:08d}"
        name = _normal(name)
        label, reason = text or None, _unsafe(name)
        if names and label is not None:
            number = int(label)
            label = str(names[number]) if 0 <= number < len(names) else None
            if label is None and number != -1:
                reason = f"label {number} is none of the {len(names)} classes"
        if self.labels == "subfolder":
            label = subfolder(name)
        return name, _locator(file, row, None, label, reason)

    def _image_column(self, schema, path):
        """Name of the image column, and what `_image_fields` says of it."""
        images = {field.name: fields for field in schema if (fields := _image_fields(field.type))}
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
        if self._label is not None and self._label not in schema.names:
            raise InputError(
                f"{path} has no column {self._label!r} (columns: {', '.join(schema.names)}): "
                "correct 'label'."
            )
        return self._label or ("label" if "label" in schema.names else None)

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
        metadata = source.metadata.row_group(group)
        chunks = [metadata.column(i) for i in range(metadata.num_columns)]
        size = sum(c.total_uncompressed_size for c in chunks if c.path_in_schema == column)
        if size > MAX_ROW_GROUP:
            raise InputError(
                f"{path}: a row group holds {size / 2**30:.1f} GiB of images: write the file with "
                "smaller row groups (row_group_size=1000)."
            )
        values = _read_group(source, group, [column], path)[image].combine_chunks()
        return pc.struct_field(values, "bytes") if struct else values


def _open_parquet(path):
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path} is not a readable Parquet file ({error})") from error


def _read_group(source, group, columns, path):
    try:
        return source.read_row_group(group, columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} is damaged ({error}): copy it again.") from error


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
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {name: feature for name, feature in features if isinstance(feature, dict)}


def _class_names(schema, label):
    """Names of the classes that an integer label column counts from 0, or None."""
    names = _features(schema).get(label, {}).get("names")
    known = isinstance(names, list) and label in schema.names
    return names if known and pa.types.is_integer(schema.field(label).type) else None


def _texts(column, where):
    """A column of texts or integers as a list of str, with None for nulls."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)
    if not text and not pa.types.is_integer(kind):
        raise InputError(f"{where} must hold texts or integers, not {kind}.")
    return [None if value is None else str(value) for value in column.to_pylist()]
