"""Images that are lost: files that were meant to be images and cannot be used.

A set that loses more than its `maximum_quarantine` is an error, so that no study goes on with an
empty shard. Which files count is our choice: a file that is an image by its extension or header, of
a format that is read or not (HEIC), and every entry of a list or table of images. Others
(notes.txt, Thumbs.db) go to the quarantine all the same, and so do hidden files and repeated
entries of an archive; nothing is lost with them. But an entry with the id of one in another archive
is lost.
"""

from collections import Counter
from pathlib import PurePosixPath

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images.decode import EXTENSIONS, UNREAD, BrokenImage

KINDS = 5  # kinds of reasons that a message names


def is_lost(image_id, reason):
    """Whether a rejected file was meant to be an image. reason: the BadImage that was raised."""
    path = PurePosixPath(image_id)
    hidden = any(part.startswith(".") and part != ".." for part in path.parts)
    meant = path.suffix.lower() in EXTENSIONS | UNREAD and not hidden
    return meant or isinstance(reason, BrokenImage)


def repeats(rejected, files, archived):
    """Whether a `Rejected` repeats the id of an image; nothing is lost then, unless the two are in
    different archives, which number their images alike.

    files: image id -> file, of the images that can be used. archived: whether files are archives.
    """
    file = files.get(rejected.image_id)
    return file is not None and (not archived or rejected.file == file)


def check_losses(image_set, files, reasons, limit, part=""):
    """Raise InputError if more than the share `limit` (0..1) of a set's images is lost.

    files: number of images, lost ones included. reasons: one text per lost image. part: what of the
    set the numbers are about, e.g. " (shard 3)"; "" is all of it.
    """
    reasons = list(reasons)
    if len(reasons) > limit * files:
        raise InputError(
            f"{image_set}{part}: {len(reasons)} of {files} files cannot be used (limit "
            f"{100 * limit:g} %): {_counted(reasons)}; mend, convert or remove them, or raise "
            f"image_sets.{image_set}.maximum_quarantine"
        )


def _counted(reasons):
    """The KINDS most frequent kinds of reasons with their numbers, each with its first reason.

    The kind of a reason is what stands before details: "cannot be decoded" of "cannot be decoded:
    OSError: ...".
    """
    first, counts = {}, Counter()
    for reason in reasons:
        kind = reason.partition(":")[0].partition(" (")[0]
        first.setdefault(kind, reason)
        counts[kind] += 1
    named = [f"{number} x {first[kind]}" for kind, number in counts.most_common(KINDS)]
    others = counts.total() - sum(number for _, number in counts.most_common(KINDS))
    return ", ".join(named + ([f"{others} x other reasons"] if others else []))
