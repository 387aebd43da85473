"""What is known of an entry of a container: small, and gone once it was looked at."""

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(slots=True)
class Locator:
    """Where an entry is.

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

    def __getitem__(self, field):
        return getattr(self, field)

    def __setitem__(self, field, value):
        setattr(self, field, value)

    def __iter__(self):
        return iter((self.file, self.offset, self.size, self.label, self.reason, self.member))


class Rejected(NamedTuple):
    """A row of manifest.QUARANTINE: an entry that cannot be used."""

    image_id: str
    path: str
    file: str | None
    stage: str
    reason: str
    lost: bool
