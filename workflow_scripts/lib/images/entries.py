"""What is known of an entry of a container, and of an image that is listed: small, as sets have
millions of them.
"""

from dataclasses import dataclass


class ByName:
    """Fields are read as those of a dict."""

    __slots__ = ()

    def __getitem__(self, field):
        return getattr(self, field)


@dataclass(slots=True)
class Locator(ByName):
    """Where an entry is, of which a container has millions.

    file: relative to the container. offset: bytes; of files None, of Parquet the row. size: bytes;
    of Parquet None, since only `read` reads images. reason: why the entry cannot be used, or None.
    member: its name in a tar where this is not its id, or None.
    """

    file: str
    offset: int | None = None
    size: int | None = None
    label: str | None = None
    reason: str | None = None
    member: str | None = None

    def __setitem__(self, field, value):
        setattr(self, field, value)


@dataclass(slots=True)
class ListedImage(ByName):
    """An image of a set, of which a listing holds millions: what MANIFEST, LOCATORS and the record
    of the set say of it, by the names of their columns.

    file_bytes, mtime_ns: size and time of the file that holds it, `file`. The second half is known
    when it was read and dealt to a shard.
    """

    image_id: str
    path: str
    label: str | None
    file: str
    offset: int | None
    member: str | None
    file_bytes: int
    mtime_ns: int
    bytes: int | None = None
    width: int | None = None
    height: int | None = None
    sha256: str | None = None
    size: int | None = None
    shard: int | None = None
