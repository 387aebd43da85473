"""Folders of image files: every visible file is listed, as an image or with a reason."""

import errno
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from image_files import IDS, LONG, list_rows, make_folder
from PIL import Image

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images.folder import list_folder
from workflow_scripts.lib.images.manifest import MANIFEST


def save(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 10)).save(path)
    return path


def test_list_folder_is_sorted_recursive_and_keeps_every_visible_file(tmp_path):
    names = ["b/Zoë café.png", "a/x y.jpg", "a/deep/er/z.png", "notes.txt", "empty.jpg", "B.png"]
    for name in [*names, ".hidden.png", ".cache/x.png", "a/.thumb/x.png"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list_folder(tmp_path) == sorted(names)


def test_list_folder_follows_links_but_not_cycles(tmp_path):
    outside = save(tmp_path / "outside/cat.png").parent
    root = tmp_path / "root"
    save(root / "a/dog.png")
    (root / "linked").symlink_to(outside)
    (root / "again").symlink_to(outside)
    (root / "file.png").symlink_to(outside / "cat.png")
    (root / "a/up").symlink_to(root)
    (root / "broken.png").symlink_to(tmp_path / "nowhere.png")
    assert list_folder(root) == [
        "a/dog.png",
        "again/cat.png",
        "broken.png",
        "file.png",
        "linked/cat.png",
    ]
    rows, (broken,) = list_rows(root)
    assert rows["file.png"]["sha256"] == rows["linked/cat.png"]["sha256"]
    assert broken["image_id"] == "broken.png"
    assert "No such file" in broken["reason"]


def test_list_folder_refuses_missing_and_empty_folders(tmp_path):
    with pytest.raises(InputError, match="nowhere does not exist"):
        list_folder(tmp_path / "nowhere")
    (tmp_path / "sub/.hidden").mkdir(parents=True)
    with pytest.raises(InputError, match="holds no files"):
        list_folder(tmp_path)


def test_rows_of_a_folder(tmp_path):
    path = save(tmp_path / "red_fox/deep/a b é.png")
    save(tmp_path / "flat.png")
    rows, rejected = list_rows(tmp_path)
    assert rejected == []
    assert rows["flat.png"]["label"] is None
    row = rows["red_fox/deep/a b é.png"]
    assert {name: row[name] for name in MANIFEST.names} == {
        "image_id": "red_fox/deep/a b é.png",
        "path": "red_fox/deep/a b é.png",
        "label": "red_fox",
        "bytes": path.stat().st_size,
        "width": 20,
        "height": 10,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "shard": 0,
    }
    assert row["mtime_ns"] == path.stat().st_mtime_ns
    assert {row["label"] for row in list_rows(tmp_path, "none")[0].values()} == {None}


def test_special_files_and_bad_names_are_refused(tmp_path):
    save(tmp_path / "good.png")
    os.mkfifo(tmp_path / "pipe.png")
    save(tmp_path / os.fsdecode(b"caf\xe9.png"))
    rows, (bad_name, pipe) = list_rows(tmp_path)
    assert list(rows) == ["good.png"]
    assert (bad_name["image_id"], bad_name["path"]) == ("caf\ufffd.png", "caf\ufffd.png")
    assert "not UTF-8" in bad_name["reason"]
    assert pipe["reason"] == "not a regular file"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give its rights away")
def test_a_folder_of_another_user_is_lost_and_the_others_are_listed(tmp_path):
    """In a process without root's rights, which no permission would stop."""
    tmp_path.chmod(0o755)
    photos = make_folder(tmp_path / "photos")
    (photos / "lost+found").mkdir(mode=0o700)
    code = (
        "import os, json\n"
        "from image_files import list_rows\n"
        "os.setgid(65534), os.setuid(65534)\n"
        f"rows, rejected = list_rows({str(photos)!r})\n"
        "print(json.dumps([sorted(rows), [(r['path'], r['reason'], r['lost']) for r in rejected]]))"
    )
    for folder in tmp_path.parents:
        if folder == Path(tempfile.gettempdir()):
            break
        folder.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": f"{Path(__file__).parent}:{Path.cwd()}"},
    )
    assert done.returncode == 0, done.stderr
    rows, rejected = json.loads(done.stdout)
    assert rows == sorted([*IDS, LONG])
    reason = "a folder that cannot be opened: its images are missing"
    assert rejected == [["lost+found", reason, True]]


@pytest.mark.parametrize("call", ["scandir", "stat"])
def test_a_folder_or_file_is_not_lost_with_a_disk_that_fails(tmp_path, monkeypatch, call):
    path = save(tmp_path / "photos/fox/a.png")
    place = path.parent if call == "scandir" else path
    original = getattr(os, call)

    def fail(name=".", **options):
        if os.fspath(name) == str(place):
            raise OSError(errno.ESTALE, "Stale file handle")
        return original(name, **options)

    monkeypatch.setattr(os, call, fail)
    message = f"{place} cannot be read now (Stale file handle): run again"
    with pytest.raises(InputError, match=re.escape(message)):
        list_rows(tmp_path / "photos")


def test_folders_of_splits_are_refused(tmp_path):
    for name in ("train", "val"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "a.png").touch()
    with pytest.raises(InputError, match="splits train and validation"):
        list_folder(tmp_path / "data")
    assert list_folder(tmp_path / "data/train") == ["a.png"]
    (tmp_path / "data/fox").mkdir()
    (tmp_path / "data/fox/a.png").touch()
    assert len(list_folder(tmp_path / "data")) == 3
