"""Walking a folder of images, and the state of files.

Light, since the workflow does both whenever it decides what to run.
"""

import contextlib
import hashlib
import os
import stat
from pathlib import Path

from workflow_scripts.lib.errors import InputError, check_lasting
from workflow_scripts.lib.sources import times_of

RESULTS = "results"  # of the working directory


def walk(folder):
    """Yield (path relative to `folder` with '/', os.DirEntry) of every file below it, unsorted.

    Symbolic links are followed, links to a parent folder are not; hidden files and folders are
    skipped. A sub-folder that cannot be opened, and a link that leads nowhere, are yielded as if
    they were files, so that none vanishes silently. Raises OSError if `folder` cannot be opened,
    and InputError if it holds the workflow's own results, which every run changes, or for a
    sub-folder as `check_lasting` does.
    """
    return _walk(os.fspath(folder), os.scandir(folder))


def _walk(folder, entries):
    # A list of folders to search, as folders may be nested deeper than Python's calls.
    waiting = [(folder, "", frozenset(), entries)]
    results = _identity(RESULTS) if Path(RESULTS).is_dir() else None
    while waiting:
        folder, prefix, parents, entries = waiting.pop()
        identity = _identity(folder)
        if identity in parents:
            continue
        if identity == results:
            raise InputError(
                f"{folder} has the results of the workflow, so no image set can hold it: give a "
                "folder with images alone, or keep the results elsewhere (--directory)."
            )
        for entry in _files_of(folder, prefix, parents | {identity}, waiting, entries):
            yield prefix + entry.name, entry


def _identity(folder):
    status = Path(folder).stat()
    return status.st_dev, status.st_ino


def _files_of(folder, prefix, parents, waiting, entries):
    """Yield a folder's files; its sub-folders are added to those that wait."""
    with entries or os.scandir(folder) as found:
        for entry in found:
            if entry.name.startswith("."):
                continue
            if _can_be_opened(entry):
                waiting.append((entry.path, f"{prefix}{entry.name}/", parents, None))
            else:
                yield entry


def _can_be_opened(entry):
    """Whether an entry is a folder whose entries can be read. Raises as `check_lasting` does."""
    try:
        if not entry.is_dir():
            return False
        os.scandir(entry.path).close()
    except OSError as error:  # no permission, or links in a circle
        check_lasting(error, entry.path)
        return False
    return True


def check_regular(path):
    """Raise InputError unless a file can be read from its start to its end: no pipe or device."""
    try:
        mode = Path(path).stat().st_mode
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        raise InputError(f"{path} is no regular file: give a file or a folder of files.")


def folder_state(path):
    """Digest of the names and `times_of` of all files below a folder, or of one file.

    Equal digests (12 hex digits) mean that nothing was added, removed, edited, touched or put in
    the place of another; no file is read.
    """
    if not Path(path).is_dir():
        return files_state([Path(path).name], Path(path).parent)
    return _digest((name, _status(entry)) for name, entry in _by_name(walk(path)))


def files_state(names, folder):
    """Digest of the `times_of` these files, given relative to `folder`.

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
        state = "\0".join(map(str, times_of(status))) if status else "missing"
        digest.update(os.fsencode(f"{name}\0{state}\0"))
    return digest.hexdigest()[:12]
