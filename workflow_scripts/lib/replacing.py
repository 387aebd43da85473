"""Writing files in one step: under a temporary name, then renamed."""

import contextlib
import glob
import os
import platform
import time
from pathlib import Path

from workflow_scripts.lib.errors import InputError, unwritable

DAY = 86_400  # seconds


@contextlib.contextmanager
def replacing(path):
    """Yield a temporary path beside `path`; rename it to `path` if the block succeeds.

    The temporary name has host and process, `.name.tmp-HOST-PID`. What killed processes left of
    the same target is removed first.
    Raises InputError if the disk is full or cannot be written to.
    """
    path = Path(path)
    start = f".{path.name}.tmp-"
    temporary = path.with_name(f"{start}{platform.node()}-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for leftover in path.parent.glob(f"{glob.escape(start)}*"):
            if _stale(leftover, leftover.name.removeprefix(start)):
                leftover.unlink(missing_ok=True)
        yield temporary
        temporary.replace(path)
    except Exception as error:
        file = getattr(error, "filename", None)
        here = file is None or Path(file) in (temporary, path, *path.parents)
        if not here or not (why := unwritable(error)):
            raise
        raise InputError(f"{path} cannot be written, {why}") from error
    finally:
        with contextlib.suppress(OSError):  # of a folder that cannot be written to
            temporary.unlink(missing_ok=True)


def _stale(file, owner):
    """Whether the process that writes a temporary file (owner: HOST-PID) is gone.

    Of other hosts that is unknown; their files are stale after a day (our choice).
    """
    host, _, pid = owner.rpartition("-")
    if host == platform.node() and pid.isdecimal():
        return not _runs(int(pid))
    try:
        return time.time() - file.stat().st_mtime > DAY
    except FileNotFoundError:  # its process has just renamed it
        return False


def _runs(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it belongs to somebody else
        return True
    return True
