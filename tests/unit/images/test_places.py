"""The paths of images open the bytes that their set has."""

import tarfile
from pathlib import Path

import pyarrow as pa
import pytest
from image_files import IDS, make_folder, make_tar, picture

from workflow_scripts.lib.images.containers import write_locators
from workflow_scripts.lib.images.listing import scan
from workflow_scripts.lib.images.places import paths_of


def test_files_are_below_their_root(tmp_path):
    make_folder(tmp_path / "photos")
    path, member = paths_of(pa.array(IDS), f"{tmp_path}/photos/")
    assert path.to_pylist() == [f"{tmp_path}/photos/{name}" for name in IDS]
    assert all(Path(file).is_file() for file in path.to_pylist())
    assert member.to_pylist() == [None] * len(IDS)


@pytest.mark.parametrize("root", ["tars", "tars/b.tar"])
def test_members_are_in_their_archive(tmp_path, root):
    (tmp_path / "tars").mkdir()
    make_tar(tmp_path / "tars/b.tar", [("x/1.png", picture(1)), ("x/2.png", picture(2))])
    make_tar(tmp_path / "tars/a.tar", [("x/3.png", picture(3))])
    cfg = {"kind": "tar", "labels": None, "options": {}, "shards": 1}
    write_locators(tmp_path / "locators.parquet", scan(tmp_path / root, cfg), cfg)
    seeds = [2, 3, 1] if root == "tars" else [2, 1]
    ids = pa.array([f"x/{seed}.png" for seed in seeds])
    places = paths_of(ids, str(tmp_path / root), tmp_path / "locators.parquet")
    for path, member, seed in zip(*(column.to_pylist() for column in places), seeds, strict=True):
        with tarfile.open(path) as archive:
            assert archive.extractfile(member).read() == picture(seed)


@pytest.mark.parametrize("labels", ["shard", "subfolder"])
def test_a_member_has_the_name_that_its_archive_gives_it(tmp_path, labels):
    members = [("./x/1.png", picture(1)), ("x/2.png", picture(2)), (".//3.png", picture(3))]
    archive = make_tar(tmp_path / "n01.tar", members)
    cfg = {"kind": "tar", "labels": labels, "options": {}, "shards": 1}
    listing = scan(archive, cfg)
    write_locators(tmp_path / "locators.parquet", listing, cfg)
    ids = listing.table["image_id"].to_pylist()
    start = "n01/" if labels == "shard" else ""
    assert ids == [f"{start}{name}" for name in ("3.png", "x/1.png", "x/2.png")]
    places = paths_of(pa.array(ids), str(archive), tmp_path / "locators.parquet")
    columns = (column.to_pylist() for column in places)
    for path, member, seed in zip(*columns, (3, 1, 2), strict=True):
        with tarfile.open(path) as opened:
            assert opened.extractfile(member).read() == picture(seed)


def test_precomputed_embeddings_have_no_files():
    path, member = paths_of(pa.array(IDS), None)
    assert path.to_pylist() == member.to_pylist() == [None] * len(IDS)
