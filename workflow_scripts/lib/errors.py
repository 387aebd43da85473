"""The one error that means "your input, not our code", and what the system's errors mean."""

import errno
import os
import re

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}
# Errors of a file itself: it is missing, no file, not for this user, or (EINVAL) too short for what
# its header says. None: of a library, by what the file holds.
OF_THE_FILE = {
    *(None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG),
    *(errno.EILSEQ, errno.EACCES, errno.EPERM, errno.EINVAL, errno.EOVERFLOW, errno.EFBIG),
    *(errno.ENXIO, errno.ENODEV, errno.EOPNOTSUPP),
}
NUMBER = re.compile(r"(?:errno|os error) (\d+)", re.IGNORECASE)  # of NumPy, pyarrow and Rust
NO_MEMORY = ("can't allocate memory", "out of memory")  # of torch, on the CPU and on a card

LONGEST = 1000  # characters of a message; of a longer one the middle is left out


class InputError(ValueError):
    """Bad input. The message names the file or config key and says how to mend it.

    Jobs print the message alone, without a traceback (`workflow_scripts.lib.job`). It is one line
    of at most LONGEST characters, whatever file names, values and errors of libraries in it hold.
    """

    def __init__(self, message):
        text = " ".join(str(message).splitlines())
        half = LONGEST // 2
        super().__init__(text if len(text) <= LONGEST else f"{text[:half]} ... {text[-half:]}")


class Impossible(InputError):
    """A method that cannot work on what it is given, such as too few negatives or images.

    A study records it as a missing value with this reason, and goes on.
    """


def unwritable(error):
    """Why something could not be written and what to do, by the error that was raised; None if it
    is no such error."""
    found = NUMBER.search(str(error))
    number = getattr(error, "errno", None) or (found and int(found[1]))
    if number in FULL:
        return f"{os.strerror(number).lower()}: free some space and run again"
    if number in READ_ONLY:
        return (
            f"{os.strerror(number).lower()}: make the folder writable, or give another one by "
            "--directory"
        )
    if number == errno.EIO:
        return "the disk or network failed (input/output error): run again, or use another disk"
    return None


def memory_is_short(error):
    """Whether an error says that there was not enough memory."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(words in text for words in NO_MEMORY)


def check_lasting(error, path):
    """Raise InputError if a file could not be read for what may pass: the disk, the network or the
    memory, and no fault of the file. error: any exception.
    """
    if isinstance(error, MemoryError):
        why, more = "not enough memory", " with more memory or fewer threads"
    elif isinstance(error, OSError) and error.errno not in OF_THE_FILE:
        why, more = error.strerror, "; if that does not help, copy the file again or remove it"
    else:
        return
    raise InputError(f"{path} cannot be read now ({why}): run again{more}") from error


def reason(error):
    """What an exception says, in one line of at most 500 characters."""
    return " ".join(str(error).split())[:500]
