"""The names of a set's state follow its content, not its files' times."""

import builtins
import errno
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from changes import replace_unseen
from image_files import picture
from image_sets import NAMES, SHARDS, ImageSet, changed_shards, edit, later, make_photos

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images import decode, listing
from workflow_scripts.lib.images.manifest import shard_of
from workflow_scripts.lib.images.state import fingerprint, recorded_state


@pytest.fixture
def photos(tmp_path):
    return make_photos(tmp_path / "photos")


@pytest.fixture
def images(tmp_path, photos):
    """A folder that has been listed once."""
    images = ImageSet(tmp_path, photos, kind="folder")
    images.first = images.run()
    return images


def test_first_look_gives_one_name_and_reads_no_file(tmp_path, photos, monkeypatch):
    images = ImageSet(tmp_path, photos, kind="folder")

    def refuse(file, *args, **kwargs):
        assert not str(file).endswith(".png"), file
        return opened(file, *args, **kwargs)

    opened = io.open
    monkeypatch.setattr(io, "open", refuse)
    monkeypatch.setattr(builtins, "open", refuse)
    with pytest.raises(AssertionError, match=r"0\.png"):
        (photos / NAMES[0]).read_bytes()  # the guard works
    state = images.look()
    assert images.scans == 0
    assert {state["listing"], *state["shards"]} == {fingerprint(photos, images.cfg, "code")}
    assert len(state["shards"]) == SHARDS
    assert not images.record.exists()
    assert images.look() == state


def test_unchanged_files_have_the_names_on_record(images):
    assert images.look() == images.first
    assert images.scans == 0


def test_a_touch_changes_nothing(images):
    for file in images.source.rglob("*.png"):
        later(file)
    assert images.look() == images.first
    assert images.scans == 1
    assert images.look() == images.first
    assert images.scans == 1, "the record is of the new times"


def test_images_of_equal_size_and_time_that_are_swapped_are_seen(tmp_path, photos):
    one, other = photos / NAMES[0], photos / NAMES[7]
    for seed, file in enumerate((one, other)):
        file.write_bytes(picture(seed, "BMP"))
        os.utime(file, ns=(0, 10**18))
    images = ImageSet(tmp_path, photos, kind="folder")
    first = images.run()
    replace_unseen(one, picture(1, "BMP"))
    replace_unseen(other, picture(0, "BMP"))
    swapped = images.run()
    shards = {shard_of(name, SHARDS) for name in (NAMES[0], NAMES[7])}
    assert changed_shards(first, swapped) == sorted(shards)


def test_a_copy_with_its_times_kept_has_the_same_names_and_is_read_once(images):
    moved = images.source.rename(images.source.with_name("moved"))
    shutil.copytree(moved, images.source)
    time = min(file.stat().st_ctime_ns for file in images.source.rglob("*.png"))
    assert time > max(file.stat().st_ctime_ns for file in moved.rglob("*.png"))
    assert images.run() == images.first
    assert images.run() == images.first
    assert images.scans == 1


def test_one_edited_image_changes_the_names_of_its_shard_and_of_the_listing(images):
    edit(images.source / NAMES[3], seed=99)
    state = images.run()
    assert state["listing"] != images.first["listing"]
    assert changed_shards(images.first, state) == [shard_of(NAMES[3], SHARDS)]
    assert images.look() == state, "also after the job"


@pytest.mark.parametrize("change", ["add", "remove"])
def test_an_added_or_removed_image_changes_its_shard(images, change):
    name = "fox/new.png" if change == "add" else NAMES[6]
    if change == "add":
        (images.source / name).write_bytes(picture(7))
    else:
        (images.source / name).unlink()
    state = images.look()
    assert state["listing"] != images.first["listing"]
    assert changed_shards(images.first, state) == [shard_of(name, SHARDS)]


def test_a_file_that_is_no_image_changes_the_listing_alone(images):
    (images.source / "notes.txt").write_text("no image")
    state = images.look()
    assert state["listing"] != images.first["listing"]
    assert changed_shards(images.first, state) == []


def test_earlier_content_has_its_earlier_names(images):
    edit(images.source / NAMES[0], seed=99)
    second = images.run()
    edit(images.source / NAMES[0], seed=0)
    assert images.run() == images.first
    edit(images.source / NAMES[0], seed=99)
    assert images.run() == second


def test_a_change_that_was_only_looked_at_is_not_forgotten(images):
    edit(images.source / NAMES[0], seed=99)
    state = images.look()  # and the listing fails
    assert images.look() == state != images.first


def test_only_changed_files_are_read_again(images, monkeypatch):
    read = []
    measured = listing.open_container("folder", images.source).measure
    monkeypatch.setattr(
        "workflow_scripts.lib.images.folder.FolderContainer.measure",
        lambda _, locator: read.append(locator["file"]) or measured(locator),
    )
    edit(images.source / NAMES[2], seed=99)
    images.run()
    assert read == [NAMES[2]], "by the look; the job knows its hash"


def test_an_image_that_could_not_be_read_once_is_read_again(images, monkeypatch):
    new = images.source / "fox/new.png"
    new.write_bytes(picture(7))
    opened = decode._binary

    def fail(source):
        if source == new:
            raise OSError(errno.EMFILE, "Too many open files")
        return opened(source)

    with monkeypatch.context() as patch:
        patch.setattr(decode, "_binary", fail)
        with pytest.raises(InputError, match=r"fox/new.png cannot be read now \(Too many open"):
            images.run()
    state = images.run()
    assert changed_shards(images.first, state) == [shard_of("fox/new.png", SHARDS)]
    assert "fox/new.png" in pq.read_table(images.out / "manifest.parquet")["image_id"].to_pylist()
    assert pq.read_table(images.out / "quarantine.parquet").num_rows == 0


def test_code_and_labels_that_change_no_row_change_no_name(images):
    images.code = "new code"
    assert images.look() == images.first
    assert images.scans == 1
    images.cfg["labels"] = "subfolder"  # the default
    assert images.look() == images.first
    assert images.scans == 2


def test_a_shard_that_becomes_empty_beside_one_that_was(tmp_path, photos):
    for name in NAMES[5:]:
        (photos / name).unlink()
    images = ImageSet(tmp_path, photos, kind="folder")  # the second shard is empty
    first = images.run()
    for name in NAMES[:5]:
        (photos / name).unlink()
    (photos / NAMES[5]).write_bytes(picture(5))  # now the first one is
    assert changed_shards(first, images.look()) == [0, 1]


def test_other_labels_change_all_shards(images):
    images.cfg["labels"] = "none"
    state = images.look()
    assert changed_shards(images.first, state) == [0, 1]
    assert state["listing"] != images.first["listing"]


def test_another_number_of_shards(images):
    images.cfg["shards"] = 3
    state = images.run()
    assert len(set(state["shards"])) == 3
    assert state["listing"] != images.first["listing"]
    images.cfg["shards"] = SHARDS
    assert images.run() == images.first


def test_a_folder_that_is_gone_has_a_new_name_and_the_record_stays(images):
    record = images.record.read_bytes()
    moved = images.source.rename(images.source.with_name("moved"))
    state = images.look()
    assert state["listing"] != images.first["listing"]
    assert changed_shards(images.first, state) == [0, 1]
    assert images.look() == state
    with pytest.raises(InputError, match="does not exist"):
        images.list(state)
    moved.rename(images.source)
    assert images.look() == images.first
    assert images.record.read_bytes() == record


def test_images_that_change_while_the_workflow_runs_are_refused(images):
    edit(images.source / NAMES[0], seed=98)
    state = images.look()
    edit(images.source / NAMES[0], seed=99)
    with pytest.raises(InputError, match="run it again"):
        images.list(state)
    assert images.run() != state


def test_a_change_between_the_first_look_and_its_listing_is_seen_later(tmp_path, photos):
    images = ImageSet(tmp_path, photos, kind="folder")
    state = images.look()
    edit(photos / NAMES[0], seed=99)
    images.list(state)
    assert images.look() == state, "the state's name is that of what was listed"
    edit(photos / NAMES[0], seed=0)
    assert images.look() != state


def test_a_broken_record_is_no_record(images):
    images.record.write_text("no table")
    assert images.look()["listing"] == fingerprint(images.source, images.cfg, images.code)
    images.run()
    assert pq.read_table(images.record).num_rows == len(NAMES)


def test_the_record_is_read_without_its_rows(images, monkeypatch):
    monkeypatch.setattr(pq.ParquetFile, "read", None)
    assert images.look() == images.first


def test_jobs_read_what_was_decided(images):
    edit(images.source / NAMES[0], seed=99)
    state = images.look()
    edit(images.source / NAMES[0], seed=98)
    assert recorded_state(images.record, 2) == state
    assert set(json.loads((images.out / "state.json").read_text())) == {
        "fingerprint", "listing", "shards"
    }  # fmt: skip
    nowhere = recorded_state(images.out / "nowhere/hashes.parquet", 2)
    assert nowhere == {"listing": None, "shards": [None, None]}


def test_a_folder_moved_into_an_archive_keeps_the_names_of_its_shards(images):
    archive = images.source.with_name("photos.tar")
    with tarfile.open(archive, "w") as tar:
        tar.add(images.source, ".")
    images.cfg["kind"], images.source = "tar", archive
    state = images.run()
    assert changed_shards(images.first, state) == []
    assert state["listing"] != images.first["listing"]


def test_images_of_the_workflow_itself_leave_no_record(tmp_path, photos):
    images = ImageSet(tmp_path, photos, kind="folder")
    images.list(None)
    assert pq.read_table(images.out / "manifest.parquet").num_rows == len(NAMES)
    assert not images.record.exists()


def test_first_look_imports_little(photos):
    code = (
        "import sys; from workflow_scripts.lib.images.state import fingerprint, set_state;"
        "cfg = {'kind': 'folder', 'shards': 1};"
        f"set_state('{photos}/out/hashes.parquet', fingerprint('{photos}', cfg, ''), 1, None);"
        "print([m for m in ('PIL', 'numpy', 'pyarrow') if m in sys.modules])"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
