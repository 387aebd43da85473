"""Walking a folder of images, and the state of files.

Light, since the workflow does both whenever it decides what to run.
"""

import contextlib
import hashlib
import os
from pathlib import Path


def walk(folder):
    """Yield (path relative to `folder` with '/', os.DirEntry) of every file below it, unsorted.

    Symbolic links are followed, links to a parent folder are not; hidden files and folders are
    skipped. A sub-folder that cannot be opened, and a link that leads nowhere, are yielded as if
    they were files, so that none vanishes silently. Raises OSError if `folder` cannot be opened.
    """
    return _walk(os.fspath(folder), "", (), os.scandir(folder))


def _walk(folder, prefix, parents, entries):
    status = Path(folder).stat()
    identity = (status.st_dev, status.st_ino)
    with entries:
        if identity in parents:
            return
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if inside := _opened(entry):
                below = f"{prefix}{entry.name}/"
                yield from _walk(entry.path, below, (*parents, identity), inside)
            else:
                yield prefix + entry.name, entry


def _opened(entry):
    """The entries of a folder; None for files and for what cannot be opened."""
    try:
        return os.scandir(entry.path) if entry.is_dir() else None
    except OSError:  # no permission, or links in a circle
        return None


def folder_state(path):
    """Digest of the names, sizes and times of all files below a folder, or of one file.

    Equal digests (12 hex digits) mean that nothing was added, removed, edited or touched; no file
    is read.
    """
    if not Path(path).is_dir():
        return files_state([Path(path).name], Path(path).parent)
    return _digest((name, _status(entry)) for name, entry in _by_name(walk(path)))


def files_state(names, folder):
    """Digest of the sizes and times of these files, given relative to `folder`.

    A missing file counts too: the digest changes when it appears.
    """
    return _digest((name, _status(Path(folder, name))) for name in names)


def _by_name(files):
    return sorted(files, key=lambda file: file[0])


def _status(file):
    """The os.stat_result of a path or os.DirEntry, of a broken link itself; None if missing."""
    for follow in (True, False):
        with contextlib.suppress(OSError, ValueError):
            return file.stat(follow_symlinks=follow)
    return None


def _digest(files):
    digest = hashlib.sha256()
    for name, status in files:
        state = f"{status.st_size}\0{status.st_mtime_ns}" if status else "missing"
        digest.update(os.fsencode(f"{name}\0{state}\0"))
    return digest.hexdigest()[:12]
