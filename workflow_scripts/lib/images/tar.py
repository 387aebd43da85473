"""Images in tar shards, in the layout of webdataset or one archive per class."""

import gzip
import json
import os
import tarfile
import threading
import zlib
from collections import OrderedDict
from functools import cached_property
from pathlib import PurePosixPath

import pyarrow as pa

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images.containers import (
    MAX_HELD,
    NOT_TEXT,
    Container,
    normal,
    unsafe,
)
from workflow_scripts.lib.images.decode import EXTENSIONS
from workflow_scripts.lib.images.entries import Locator
from workflow_scripts.lib.images.manifest import printable, subfolder
from workflow_scripts.lib.images.rows import Rows, tuples
from workflow_scripts.lib.images.tar_headers import StrictTarInfo

LABEL_EXTENSIONS = (".cls", ".json", ".txt")  # in this order of precedence
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")
MAX_LABEL_BYTES = 1 << 20  # of a label member; a class name is shorter
OPEN_STREAMS = 16  # gzip files kept open, each at its own position
GZIP_ERRORS = (gzip.BadGzipFile, EOFError, zlib.error)
# A member of an archive; `key`: of one that describes images, theirs.
MEMBER = pa.schema(
    [
        ("name", pa.string()),
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("reason", pa.string()),
        ("key", pa.string()),
    ]
)


class TarContainer(Container):
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
    archived = True
    duplicate_hint = ": set ids to 'shard', or rename it"

    def __init__(self, path, labels, files=None, ids="member"):
        super().__init__(path, labels, files)
        self._prefixed = ids == "shard" or labels == "shard"
        self._ids = ids
        self._streams = OrderedDict()  # path -> open gzip file, the last used at the end
        self._lock = threading.Lock()

    def __reduce__(self):
        """Pickled without open files, for a process that reads members of plain archives."""
        return type(self), (self.path, self.labels, self.pattern, self._ids)

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
                image_id = f"{_stem(file)}/{name}" if self._prefixed else name
                if locator["member"] == image_id:
                    locator["member"] = None
                yield image_id, locator
        if self.labels == "cls" and labelled == {False}:
            raise InputError(
                f"{self.path}: no image has a label: labels 'cls' needs members such as key.cls "
                "beside key.jpg; use 'subfolder' or 'none'."
            )

    def _shard(self, file):
        """Entries of one archive. It is read to its end first: a label may follow its image."""
        members, described, labels = Rows(MEMBER), False, {}
        for member, content in self._members(file):
            name = normal(member.name)
            key, extension = split_key(name)
            place = member.offset_data, member.size
            reason = _refusal(member, name)
            if not reason and extension in LABEL_EXTENSIONS:
                described = True
                members.append((member.name, *place, None, key))
                if content is not None:
                    label = _label_of(content, extension)
                    if any(label):
                        labels.setdefault((key, extension), set()).add(label)
                continue
            if not reason and _suffix(extension) not in EXTENSIONS:
                reason = f"not an image by its extension: {extension or 'none'}"
            if not reason and member.size > MAX_HELD:  # it would be read as a whole
                reason = f"too many bytes: {member.size} exceed the limit of {MAX_HELD}"
            members.append((printable(member.name), *place, reason, None))
        images = _keys(members.table()) if described else ()
        for member, offset, size, reason, key in members.used_up():
            name = normal(member)
            if key in images:
                continue
            if key is not None:
                reason = f"describes no image: no image has the key {key}"
            locator = Locator(file, offset, size, None, reason, member)
            if not reason:
                self._set_label(locator, name, labels)
            yield name, locator

    def _set_label(self, locator, name, labels):
        if self.labels == "subfolder":
            locator["label"] = subfolder(name)
        if self.labels == "shard":
            locator["label"] = PurePosixPath(_stem(locator["file"])).name
        if self.labels == "cls":
            key = split_key(name)[0]
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
                    fileobj=stream, mode="r:", tarinfo=StrictTarInfo, encoding="utf-8"
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


CONTAINER = TarContainer


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


def _keys(members):
    """The keys that images have, a set. members: a Table of MEMBER."""
    names = (name for name, _, _, reason, key in tuples(members) if key is None and not reason)
    return {split_key(normal(name))[0] for name in names}


def _suffix(extension):
    """The last part of an extension: ".png" of ".seg.png"."""
    return "." + extension.rpartition(".")[2]


def _open_archive(path):
    with path.open("rb") as file:
        start = file.read(6)
    if _is_gzip(start[:2]):
        return gzip.open(path)
    if start[:4] == b"PK\3\4":
        raise InputError(f"{path} is a zip file, no tar file: unpack it, or pack it with tar.")
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
    if printable(name) != name:
        return NOT_TEXT
    if member.islnk() or member.issym():
        return "link inside a tar file: store the file itself"
    if not member.isreg() or member.issparse():
        return "not a regular file"
    if ("/." in name or name.startswith(".")) and ".." not in name.split("/"):
        return "hidden file"
    return unsafe(name)


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
    except (ValueError, RecursionError) as error:
        return None, f"label member .json is not JSON: {error}"
    label = fields.get("label") if isinstance(fields, dict) else None
    if label is None:
        return None, None
    if isinstance(label, str) or type(label) is int:
        return str(label), None
    return None, f"label in .json is neither text nor integer: {label!r}"
