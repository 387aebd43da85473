"""Files are written in one step, and what killed processes left is removed."""

import os
import platform
import subprocess
import sys
import time

import pytest

from workflow_scripts.lib.replacing import replacing


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def dead():
    """The PID of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_file_appears_as_a_whole_or_not_at_all(tmp_path):
    target = tmp_path / "sub/a.txt"
    with replacing(target) as temporary:
        temporary.write_text("new")
        assert not target.exists()
        assert temporary.name == f".a.txt.tmp-{platform.node()}-{os.getpid()}"
    assert target.read_text() == "new"
    with pytest.raises(ZeroDivisionError), replacing(target) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert target.read_text() == "new"
    assert names(target.parent) == ["a.txt"]


def test_what_a_killed_process_left_is_removed(tmp_path):
    code = (
        "import os, signal; from workflow_scripts.lib.replacing import replacing\n"
        f"with replacing({str(tmp_path / 'a.txt')!r}) as temporary:\n"
        "    temporary.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code], check=False, env=os.environ | {"PYTHONPATH": "."})
    assert len(names(tmp_path)) == 1
    with replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
    assert names(tmp_path) == ["a.txt"]


def test_temporary_files_of_others_stay(tmp_path, dead):
    host = platform.node()
    stay = [
        f".a.txt.tmp-{host}-{os.getppid()}",  # it runs
        f".b.txt.tmp-{host}-{dead}",  # another target
        f".a.txt.gz.tmp-{host}-{dead}",
        ".a.txt.tmp-elsewhere-1",  # unknown, and new
    ]
    gone = [f".a.txt.tmp-{host}-{dead}", ".a.txt.tmp-else-where-2"]
    for name in stay + gone:
        (tmp_path / name).touch()
    yesterday = time.time() - 25 * 3600
    os.utime(tmp_path / gone[1], (yesterday, yesterday))
    os.utime(tmp_path / stay[0], (yesterday, yesterday))
    with replacing(tmp_path / "a.txt") as temporary:
        temporary.touch()
    assert names(tmp_path) == sorted([*stay, "a.txt"])


def test_names_with_the_signs_of_patterns(tmp_path, dead):
    leftover = tmp_path / f".a[1]*.txt.tmp-{platform.node()}-{dead}"
    leftover.touch()
    with replacing(tmp_path / "a[1]*.txt") as temporary:
        temporary.touch()
    assert names(tmp_path) == ["a[1]*.txt"]
