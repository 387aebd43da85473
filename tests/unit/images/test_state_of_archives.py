"""The state of archives, tables and lists follows the files that hold the images."""

from hashlib import sha256

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from image_files import make_tar, picture
from image_sets import NAMES, SHARDS, ImageSet, changed_shards, edit, later, make_photos

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images.manifest import shard_of
from workflow_scripts.lib.images.parquet import ParquetContainer


@pytest.fixture
def photos(tmp_path):
    return make_photos(tmp_path / "photos")


@pytest.fixture
def tars(tmp_path):
    folder = tmp_path / "tars"
    folder.mkdir()
    pack(folder, NAMES)
    images = ImageSet(tmp_path, folder, kind="tar")
    images.first = images.run()
    return images


def pack(folder, names):
    """Deal images to two archives, in this order."""
    for part in range(2):
        members = [(name, picture(NAMES.index(name))) for name in names[part::2]]
        make_tar(folder / f"{part}.tar", members)
        later(folder / f"{part}.tar")


def test_repacked_archives_change_the_listing_and_no_shard(tars):
    later(tars.source / "0.tar")
    assert tars.look() == tars.first
    pack(tars.source, NAMES[::-1])
    state = tars.run()
    assert state["listing"] != tars.first["listing"]
    assert changed_shards(tars.first, state) == []
    pack(tars.source, NAMES[:-1])
    assert changed_shards(tars.first, tars.look()) == [shard_of(NAMES[-1], SHARDS)]


def test_a_damaged_archive_has_a_name_of_its_own(tars):
    archive = tars.source / "1.tar"
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 4])
    state = tars.look()
    assert state["listing"] != tars.first["listing"]
    with pytest.raises(InputError, match=r"1\.tar is truncated, damaged"):
        tars.list(state)
    archive.write_bytes(whole)
    assert tars.look() == tars.first


def test_parquet_files_that_did_not_change_are_not_read_again(tmp_path, monkeypatch):
    (tmp_path / "parquet").mkdir()
    for part in range(2):
        column = [picture(10 * part + i) for i in range(4)]
        table = pa.table({"image": pa.array(column, pa.binary())})
        pq.write_table(table, tmp_path / f"parquet/{part}.parquet")
    images = ImageSet(tmp_path, tmp_path / "parquet", kind="parquet")
    first = images.run()
    later(tmp_path / "parquet/1.parquet")
    read, original = [], ParquetContainer._read

    def counted(self, locator):
        read.append(locator["file"])
        return original(self, locator)

    monkeypatch.setattr(ParquetContainer, "_read", counted)
    assert images.look() == first
    assert set(read) == {"1.parquet"}


def listed_hashes(images):
    """image id -> SHA-256 as the manifest has it."""
    table = pq.read_table(images.out / "manifest.parquet")
    return dict(zip(table["image_id"].to_pylist(), table["sha256"].to_pylist(), strict=True))


def test_another_column_of_images_is_read_though_the_file_stays(tmp_path):
    path = tmp_path / "two.parquet"
    columns = {"left": [picture(i) for i in range(4)], "right": [picture(i) for i in range(9, 13)]}
    pq.write_table(pa.table({k: pa.array(v, pa.binary()) for k, v in columns.items()}), path)
    expected = {
        name: {f"two/{row:08d}": sha256(content).hexdigest() for row, content in enumerate(column)}
        for name, column in columns.items()
    }
    shards = {shard_of(name, SHARDS) for name in expected["left"]}
    images = ImageSet(tmp_path, path, kind="parquet", options={"image": "left", "ids": "row"})
    first = images.run()
    assert listed_hashes(images) == expected["left"]
    images.cfg["options"] = {"image": "right", "ids": "row"}
    second = images.run()
    assert listed_hashes(images) == expected["right"]
    assert changed_shards(first, second) == sorted(shards)
    assert second["listing"] != first["listing"]
    assert images.run() == second
    images.cfg["options"] = {"image": "left", "ids": "row"}
    assert images.run() == first
    assert listed_hashes(images) == expected["left"]


def test_a_member_that_takes_over_the_id_of_another_is_read(tmp_path):
    """With the archive's name before it, x.png has the id that a/x.png had."""
    path = make_tar(tmp_path / "a.tar", [("x.png", picture(0)), ("a/x.png", picture(1))])
    images = ImageSet(tmp_path, path, kind="tar")
    images.run()
    assert listed_hashes(images)["a/x.png"] == sha256(picture(1)).hexdigest()
    for change in ({"options": {"ids": "shard"}}, {"options": {}, "labels": "shard"}):
        images.cfg |= {"options": {}, "labels": None}
        images.run()
        images.cfg |= change
        images.run()
        assert listed_hashes(images)["a/x.png"] == sha256(picture(0)).hexdigest()


def test_other_labels_of_a_table_have_no_image_read_again(tmp_path, monkeypatch):
    columns = {"image": pa.array([picture(i) for i in range(4)], pa.binary()), "fine": [*"abcd"]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    images = ImageSet(tmp_path, tmp_path / "a.parquet", kind="parquet")
    first = images.run()
    monkeypatch.setattr(ParquetContainer, "_read", None)
    images.cfg["options"] = {"label": "fine"}
    assert images.run() != first


def test_a_list_and_the_files_that_it_names(tmp_path, photos):
    path = tmp_path / "list.csv"
    path.write_text("\n".join(["path,label", *(f"{name},a" for name in NAMES)]))
    images = ImageSet(tmp_path, path, photos, kind="list")
    first = images.run()
    (photos / "ant/other.png").write_bytes(picture(50))
    assert images.look() == first
    assert images.scans == 0, "the list does not name it"
    later(path)
    later(photos / NAMES[0])
    assert images.look() == first
    edit(photos / NAMES[0], seed=99)
    assert changed_shards(first, images.look()) == [shard_of(NAMES[0], SHARDS)]
    path.write_text(path.read_text().replace(f"{NAMES[7]},a", f"{NAMES[7]},b"))
    later(path)
    edit(photos / NAMES[0], seed=0)
    assert changed_shards(first, images.look()) == [shard_of(NAMES[7], SHARDS)]
    path.unlink()
    assert images.look()["listing"] != first["listing"]


@pytest.mark.parametrize(
    "cfg",
    [
        {"options": {"label": "Label"}},
        {"labels": "none"},
    ],
)
def test_a_list_whose_column_is_read_by_its_own_spelling_is_watched(tmp_path, photos, cfg):
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["path,Label", *(f"{name},a" for name in [*NAMES, "new.png"])]))
    images = ImageSet(tmp_path, path, photos, kind="list", **cfg)
    first = images.run()
    assert images.look() == first
    (photos / "new.png").write_bytes(picture(50))
    second = images.run()
    assert changed_shards(first, second) == [shard_of("new.png", SHARDS)]
    (photos / "ant/other.png").write_bytes(picture(51))
    assert images.look() == second
    path.write_text(path.read_text() + "\nant/other.png,b\n")
    assert changed_shards(second, images.run()) == [shard_of("ant/other.png", SHARDS)]
    named = pq.read_table(images.out / "manifest.parquet")["image_id"].to_pylist()
    assert sorted(named) == sorted([*NAMES, "new.png", "ant/other.png"])
