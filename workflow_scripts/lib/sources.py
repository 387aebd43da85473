"""Contents of the user's own files, such as word lists and weights, as digests.

A file is read once: its digest is kept with its size and times, and a file of the same size and
times is not read again.
"""

import hashlib
import json
from pathlib import Path

from workflow_scripts.lib.replacing import replacing

MISSING = "missing"


def times_of(status):
    """(size, time, time of change in ns) of an os.stat_result: a file of equal ones is the same.

    Copies and archives can give other content an equal time, but none can set the time of change.
    It is another one after a copy, a new name or mode, and then costs reading the file once.
    """
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


class Sources:
    """SHA-256 of files, remembered in a JSON file: path -> [*`times_of`, sha256].

    record: the JSON file. read_files: False takes the digests on record and reads a file only if
        there is none. Jobs on a cluster do so, since the main process has just read the files.
    """

    def __init__(self, record, read_files=True):
        self._record = Path(record)
        self._read_files = read_files
        self._known = None

    def digest(self, path):
        """SHA-256 of a file, 64 hex digits; MISSING if there is none.

        A folder has the digest of nothing: what is in it is not looked at.
        """
        if self._known is None:
            self._known = _read(self._record)
        known = self._known.get(path)
        if known and not self._read_files:
            return known[-1]
        if not Path(path).exists():
            return MISSING
        if Path(path).is_dir():
            return hashlib.sha256().hexdigest()
        state = [*times_of(Path(path).stat())]
        if not known or known[:-1] != state:
            with Path(path).open("rb") as file:
                known = [*state, hashlib.file_digest(file, "sha256").hexdigest()]
            self._known[path] = known
            self._write()
        return known[-1]

    def _write(self):
        with replacing(self._record) as temporary:
            text = json.dumps(self._known, indent=0, sort_keys=True)
            temporary.write_text(text + "\n", "utf-8")


def _read(record):
    try:
        return json.loads(record.read_text("utf-8"))
    except (OSError, ValueError):  # a missing or damaged record costs time, nothing else
        return {}
