"""Images that are read some time after they were listed are to be what was listed."""

import hashlib
from functools import partial
from pathlib import Path

from workflow_scripts.lib.errors import InputError, check_lasting
from workflow_scripts.lib.images.decode import BadImage
from workflow_scripts.lib.images.rows import tuples


def as_listed(rows, reads):
    """Yield per image a function that returns the bytes of its file, if they are those of the list.

    rows: Table with image_id and sha256. reads: as `containers.image_readers` yields them. The
    functions raise BadImage as those do, and InputError for a file that changed since it was
    listed, and as `check_lasting` does.
    """
    listed = tuples(rows.select(["image_id", "sha256"]))
    for (image_id, sha256), read in zip(listed, reads, strict=True):
        yield partial(_checked, read, image_id, sha256)


def _checked(read, path, sha256):
    content = read()
    if isinstance(content, Path):
        try:
            content = content.read_bytes()
        except (OSError, MemoryError) as error:
            check_lasting(error, content)
            reason = error.strerror or error
            raise BadImage(f"cannot be decoded: {type(error).__name__}: {reason}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise InputError(
            f"{path} changed after it was listed: run again; if that does not help, its time did "
            "not change with it: touch the file"
        )
    return content
