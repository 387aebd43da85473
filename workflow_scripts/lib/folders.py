"""Walking a folder of images; light, since the workflow does so whenever it decides what to run."""

import hashlib
import os
from pathlib import Path


def walk(folder):
    """Yield (path relative to `folder` with '/', os.DirEntry) of every file below it, unsorted.

    Symbolic links are followed, links to a parent folder are not; hidden files and folders are
    skipped.
    """
    return _walk(os.fspath(folder), "", ())


def _walk(folder, prefix, parents):
    status = Path(folder).stat()
    identity = (status.st_dev, status.st_ino)
    if identity in parents:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _walk(entry.path, f"{prefix}{entry.name}/", (*parents, identity))
            else:
                yield prefix + entry.name, entry


def folder_state(folder):
    """Digest of the names, sizes and times of all files below `folder`, 12 hex digits.

    Equal digests mean that nothing was added, removed, edited or touched; no file is read.
    """
    digest = hashlib.sha256()
    for path, entry in sorted(walk(folder), key=lambda item: item[0]):
        try:
            status = entry.stat()
        except OSError:  # a broken link
            status = entry.stat(follow_symlinks=False)
        digest.update(os.fsencode(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0"))
    return digest.hexdigest()[:12]
