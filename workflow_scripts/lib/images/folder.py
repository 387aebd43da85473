"""Image files below a folder."""

import os
import stat
from pathlib import Path

from workflow_scripts.lib.errors import InputError, check_lasting
from workflow_scripts.lib.images.containers import Container
from workflow_scripts.lib.images.decode import BadImage, BrokenImage, measure
from workflow_scripts.lib.images.entries import Locator
from workflow_scripts.lib.images.folders import walk
from workflow_scripts.lib.images.manifest import subfolder
from workflow_scripts.lib.images.splits import SPLITS, splits_of


def list_folder(folder):
    """All files below `folder`, as sorted relative POSIX paths (str).

    Symbolic links are followed, links to a parent folder are not. Hidden files and folders are
    skipped; every other file is listed, an image or not, so that none vanishes silently.
    Raises InputError if the folder is missing or holds no files, or the splits of a data set.
    """
    if not Path(folder).is_dir():
        problem = "is a file" if Path(folder).exists() else "does not exist"
        raise InputError(f"Image folder {folder} {problem}: correct the path in the config.")
    paths = sorted(path for path, _ in walk(folder))
    if not paths:
        raise InputError(f"Image folder {folder} holds no files: put images below it.")
    folders = {path.partition("/")[0] for path in paths if "/" in path}
    if {folder.lower() for folder in folders} <= SPLITS.keys() and (splits := splits_of(folders)):
        raise InputError(
            f"{folder} has a folder for each of the splits {' and '.join(splits)}, which would "
            "become one image set: give one of its folders, each as a set of its own."
        )
    return paths


class FolderContainer(Container):
    """All files below a folder, but hidden ones; see `list_folder`."""

    label_modes = ("subfolder", "none")

    def measure(self, locator):
        return measure(self.root / locator["file"])

    def _entries(self):
        for path in list_folder(self.path):
            yield path, Locator(path, label=subfolder(path) if self.labels == "subfolder" else None)

    def _status(self, file):
        try:
            status = os.stat(f"{self.root}/{file}")  # noqa: PTH116 - a Path would double the time
        except (OSError, ValueError) as error:  # a path with a zero byte is a ValueError
            check_lasting(error, f"{self.root}/{file}")
            reason = getattr(error, "strerror", None) or error
            raise BadImage(f"cannot be opened: {reason}") from error
        if stat.S_ISDIR(status.st_mode) and not self.lists_images:
            raise BrokenImage("a folder that cannot be opened: its images are missing")
        if not stat.S_ISREG(status.st_mode):
            raise BadImage("not a regular file")
        return status

    def _read(self, locator):
        path = self.root / locator["file"]
        try:
            return path.read_bytes()
        except (OSError, MemoryError) as error:
            check_lasting(error, path)
            raise BadImage(f"cannot be read: {error.strerror}") from error


CONTAINER = FolderContainer
