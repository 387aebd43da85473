"""A scan reads new and changed files only, and says so when there are many."""

import os

import pyarrow as pa
import pytest
from image_files import list_rows, make_tar, picture
from PIL import Image

from workflow_scripts.lib.artifacts import write_table
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images import listing
from workflow_scripts.lib.images.record import RECORD, read_hashes, write_record


def save(path, side=9):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (side, side)).save(path)


def test_known_hashes_spare_reading_unchanged_files_only(tmp_path):
    photos, table = tmp_path / "photos", tmp_path / "hashes.parquet"
    save(photos / "a.png")
    cfg = {"kind": "folder", "labels": None, "options": {}, "shards": 1}
    listed = listing.scan(photos, cfg)
    row = list_rows(photos)[0]["a.png"]
    assert len(read_hashes(table, {})) == 0
    write_record(table, listed, {})
    known = {name: row[name] for name in RECORD.names}
    assert read_hashes(table, {}).to_pylist() == [known]
    assert list_rows(photos, record=table)[0] == {"a.png": row}

    write_table(table, pa.Table.from_pylist([known | {"sha256": "on record"}], RECORD))
    assert list_rows(photos, record=table)[0]["a.png"]["sha256"] == "on record"
    os.utime(photos / "a.png", ns=(row["mtime_ns"], row["mtime_ns"] + 1))
    assert list_rows(photos, record=table)[0]["a.png"]["sha256"] == row["sha256"]

    table.write_text("no table")
    assert len(read_hashes(table, {})) == 0


def test_many_files_to_read_are_announced(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(listing, "MANY", 3)
    for i in range(3):
        save(tmp_path / f"{i}.png")
    list_rows(tmp_path)
    assert capsys.readouterr().err == ""
    save(tmp_path / "3.png")
    rows, _ = list_rows(tmp_path)
    message = f"{tmp_path}: 4 files are new or changed; reading them\n"
    assert capsys.readouterr().err.startswith(message)
    write_table(tmp_path / ".hashes.parquet", pa.Table.from_pylist([*rows.values()], RECORD))
    list_rows(tmp_path, record=tmp_path / ".hashes.parquet")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_give_the_same_listing(tmp_path, threads):
    for i in range(30):
        save(tmp_path / f"{i % 4}/{i}.png", 5 + i)
    (tmp_path / "x.txt").write_text("no image")
    cfg = {"kind": "folder", "labels": None, "options": {}, "shards": 4}
    found = listing.scan(tmp_path, cfg, threads=threads)
    assert sorted(found.table["width"].to_pylist()) == list(range(5, 35))
    for number, shard in enumerate(found.shards):
        assert set(shard["shard"].to_pylist()) == {number}
        ids = shard["image_id"].to_pylist()
        assert ids == sorted(ids)
    assert found.rejected["path"].to_pylist() == ["x.txt"]


def test_a_set_without_images_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(InputError, match=r"None of the 1 files .* a.txt: not an image"):
        list_rows(tmp_path)


@pytest.mark.parametrize(("ids", "lost"), [("member", 2), ("shard", 0)])
def test_archives_that_number_their_images_alike_lose_them(tmp_path, ids, lost):
    for seed in range(3):
        make_tar(tmp_path / f"{seed}.tar", [("0.png", picture(seed)), ("0.png", picture(9))])
    cfg = {"kind": "tar", "labels": None, "options": {"ids": ids}, "shards": 1}
    found = listing.scan(tmp_path, cfg)
    assert len(found.table) == 3 - lost
    by_file = {(row["file"], row["lost"]) for row in found.rejected.to_pylist()}
    elsewhere = {(f"{seed}.tar", True) for seed in (1, 2)} if lost else set()
    assert {pair for pair in by_file if pair[1]} == elsewhere
    assert ("0.tar", False) in by_file  # the same name in the same archive
