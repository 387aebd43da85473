"""The state of a folder changes with every change of a file in it, and with nothing else."""

import os
import time

import pytest
from changes import replace_unseen

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images.folder import list_folder
from workflow_scripts.lib.images.folders import files_state, folder_state, walk


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("a/1.png", "a/b/2.png", "3 ü.png"):
        (tmp_path / name).write_bytes(b"12345")
    return tmp_path


def rewrite(path, content):
    """Write a file with a new time, as an editor would (file systems round times)."""
    path.write_bytes(content)
    os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns + 1))


CHANGES = {
    "another file of the same size and time": lambda f: replace_unseen(f / "a/b/2.png", b"54321"),
    "edited in place, same size": lambda f: rewrite(f / "a/b/2.png", b"54321"),
    "touched": lambda f: rewrite(f / "a/1.png", b"12345"),
    "added": lambda f: (f / "a/4.png").touch(),
    "removed": lambda f: (f / "a/1.png").unlink(),
    "renamed": lambda f: (f / "a/1.png").rename(f / "a/5.png"),
    "moved": lambda f: (f / "a/1.png").rename(f / "1.png"),
    "broken link added": lambda f: (f / "a/link.png").symlink_to("nowhere"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_state_sees(folder, change):
    before = folder_state(folder)
    assert folder_state(folder) == before
    change(folder)
    assert folder_state(folder) != before


def test_state_ignores_hidden_files_and_where_the_folder_is(folder, tmp_path_factory):
    before = folder_state(folder)
    (folder / ".DS_Store").write_bytes(b"x")
    assert folder_state(folder) == before
    elsewhere = folder.rename(tmp_path_factory.mktemp("other") / "moved")
    assert folder_state(elsewhere) == before


def test_link_to_a_parent_ends(folder):
    (folder / "a" / "loop").symlink_to(folder)
    assert sorted(path for path, _ in walk(folder)) == ["3 ü.png", "a/1.png", "a/b/2.png"]


@pytest.mark.parametrize("place", ["results", "a/results", "a/b/results"])
def test_a_folder_that_holds_the_results_is_refused(folder, monkeypatch, place):
    (folder / place).mkdir()
    monkeypatch.chdir((folder / place).parent)
    with pytest.raises(InputError, match=r"results has the results of the workflow"):
        list(walk(folder))
    with pytest.raises(InputError, match=r"results has the results of the workflow"):
        list_folder(".")
    (folder / place / "demo").mkdir()
    (folder / place / "demo/1.png").touch()
    assert list_folder("results/demo") == ["1.png"]
    monkeypatch.chdir(folder.parent)
    assert f"{place}/demo/1.png" in list_folder(folder), "of somebody else"


def test_state_of_one_file(folder):
    before = folder_state(folder / "a/1.png")
    rewrite(folder / "a/b/2.png", b"54321")
    assert folder_state(folder / "a/1.png") == before
    rewrite(folder / "a/1.png", b"12345")
    assert folder_state(folder / "a/1.png") != before


@pytest.mark.parametrize("change", ["edited in place, same size", "touched", "removed"])
def test_state_of_named_files_sees_only_them(folder, change):
    names = ["a/1.png", "a/b/2.png", "gone.png"]
    before = files_state(names, folder)
    (folder / "a/4.png").touch()
    assert files_state(names, folder) == before
    CHANGES[change](folder)
    changed = files_state(names, folder)
    assert changed != before
    (folder / "gone.png").touch()
    assert files_state(names, folder) not in (before, changed)


def test_what_cannot_be_opened_is_found_as_a_file(folder, monkeypatch):
    (folder / "loop").symlink_to("loop")
    (folder / "gone").symlink_to("nowhere")
    scandir = os.scandir

    def scan(path):
        if os.fspath(path).endswith("/b"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)
    found = sorted(path for path, _ in walk(folder))
    assert found == ["3 ü.png", "a/1.png", "a/b", "gone", "loop"]
    assert folder_state(folder)
