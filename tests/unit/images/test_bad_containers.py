"""What no container may do with bad input: end in a traceback, hang, take all memory, or lose rows
without a word."""

import inspect
import io
import json
import os
import sys
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from image_files import make_tar, outcome, picture
from PIL import Image

from workflow_scripts.lib.artifacts import write_table
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images import parquet, tar
from workflow_scripts.lib.images.containers import open_container
from workflow_scripts.lib.images.folders import walk
from workflow_scripts.lib.images.inventory import check_set
from workflow_scripts.lib.images.listing import scan
from workflow_scripts.lib.images.losses import check_losses
from workflow_scripts.lib.images.thumbnails import thumbnails

P = picture(0)


def refusal(kind, path, labels=None):
    with pytest.raises(InputError) as error:
        outcome(open_container(kind, path, labels))
    return str(error.value)


def header(size, kind=tarfile.REGTYPE):
    """A tar header of any size, as GNU tar writes those of more than 8 GiB or less than none."""
    block = bytearray(tarfile.TarInfo("b.png").tobuf(tarfile.GNU_FORMAT))
    block[124:136] = (size % 256**12 | 0x80 << 88).to_bytes(12, "big")
    block[156:157], block[148:156] = kind, b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize("size", [-512, -1024, 1 << 62, 1 << 70])
@pytest.mark.parametrize("kind", [b"0", b"L", b"x"])
def test_a_size_in_a_tar_header_that_no_file_has_is_named(tmp_path, size, kind):
    make_tar(tmp_path / "a.tar", [("a.png", P)])
    start = (tmp_path / "a.tar").read_bytes()[: 512 * (1 + -(-len(P) // 512))]
    (tmp_path / "a.tar").write_bytes(start + header(size, kind) + bytes(1024))
    message = refusal("tar", tmp_path / "a.tar")
    assert "a.tar is truncated, damaged" in message and f"at byte {len(start)}" in message


@pytest.mark.parametrize("key", ["size", "GNU.sparse.map", "GNU.sparse.size", "GNU.sparse.major"])
def test_a_number_of_a_pax_header_that_is_none_is_named(tmp_path, key):
    member = tarfile.TarInfo("b.png")
    member.pax_headers = {key: "1" if key.endswith("major") else "x,y"}
    member.pax_headers |= {"GNU.sparse.minor": "0"} if key.endswith("major") else {}
    make_tar(tmp_path / "a.tar", [(member, P)], format=tarfile.PAX_FORMAT)
    assert "a.tar is truncated, damaged" in refusal("tar", tmp_path / "a.tar")


def test_a_member_that_no_memory_holds_is_rejected_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(tar, "MAX_HELD", 2000)
    make_tar(tmp_path / "a.tar", [("a.png", P), ("b.png", bytes(2001)), ("c.cls", bytes(2001))])
    good, bad = outcome(open_container("tar", tmp_path / "a.tar"))
    assert list(good) == ["a.png"]
    assert bad["b.png"] == "too many bytes: 2001 exceed the limit of 2000"


def test_a_name_of_gigabytes_is_not_read(tmp_path):
    with (tmp_path / "a.tar").open("wb") as file:
        file.write(header(4 << 30, b"L"))
        file.truncate(5 << 30)  # a hole, which takes no space
    assert "a member of 4294967296 bytes" in refusal("tar", tmp_path / "a.tar")


@pytest.mark.parametrize(("kind", "name"), [("tar", "a.tar"), ("parquet", "a.parquet")])
@pytest.mark.parametrize("special", ["pipe", "device"])
def test_pipes_and_devices_are_not_read(tmp_path, kind, name, special):
    path = tmp_path / "set" / name
    path.parent.mkdir()
    os.mkfifo(path) if special == "pipe" else path.symlink_to("/dev/zero")
    for source in (path, path.parent):
        assert f"{name} is no regular file" in refusal(kind, source)
    listed = path.with_suffix(".csv")
    path.rename(listed)
    assert "a.csv is no regular file" in refusal("list", listed)


def test_labels_that_are_no_text_are_rejected(tmp_path):
    rows = {"image": [P, P], "label": [0, 1]}
    names = {"info": {"features": {"label": {"names": ["\ud800", "b"]}}}}
    meta = {b"huggingface": json.dumps(names).encode()}
    pq.write_table(pa.table(rows).replace_schema_metadata(meta), tmp_path / "a.parquet")
    good, bad = outcome(open_container("parquet", tmp_path / "a.parquet"))
    assert [label for label, _ in good.values()] == ["b"]
    assert bad == {"a/00000000": "label is no valid Unicode: correct it"}
    members = [("a.png", P), ("a.json", b'{"label": "\\ud800"}'), ("b.png", P)]
    make_tar(
        tmp_path / "a.tar", [*members, ("b.json", b"[" * 100_000), ("c.png", P), ("c.cls", b"c")]
    )
    good, bad = outcome(open_container("tar", tmp_path / "a.tar", "cls"))
    assert list(good) == ["c.png"]
    assert "no valid Unicode" in bad["a.png"] and "is not JSON" in bad["b.png"]


def test_names_in_parquet_that_are_no_texts_are_refused(tmp_path):
    for name in (b"x.png", ["x.png"], 1.5):
        pq.write_table(pa.table({"image": [{"bytes": P, "path": name}]}), tmp_path / "a.parquet")
        assert "a.parquet: `path` of column 'image' must hold" in refusal("parquet", tmp_path)


def test_metadata_that_are_nested_too_deeply_say_nothing(tmp_path):
    table = pa.table({"image": [P]}).replace_schema_metadata({b"huggingface": b"[" * 100_000})
    pq.write_table(table, tmp_path / "a.parquet")
    assert len(outcome(open_container("parquet", tmp_path / "a.parquet"))[0]) == 1


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_a_column_that_is_there_twice_is_named(tmp_path, ending):
    for column in ("path", "label"):
        names = ["path", "label", column]
        path = tmp_path / f"a.{ending}"
        if ending == "csv":
            path.write_text(f"{','.join(names)}\nx,y,z\n")
        else:
            pq.write_table(pa.Table.from_arrays([pa.array(["x"])] * 3, names=names), path)
        assert f"a.{ending}: the column {column!r} is there twice" in refusal("list", path)
    table = pa.Table.from_arrays([pa.array([P])] * 2, names=["image", "image"])
    pq.write_table(table, tmp_path / "b.parquet")
    assert "the column 'image' is there twice" in refusal("parquet", tmp_path / "b.parquet")


def test_images_that_are_stored_once_and_named_often_take_no_more_memory(tmp_path, monkeypatch):
    """A dictionary in Parquet makes gigabytes of a few kilobytes."""
    monkeypatch.setattr(parquet, "MAX_ROW_GROUP", 1 << 20)
    images = pa.DictionaryArray.from_arrays(pa.array([0] * 5000, pa.int32()), pa.array([P]))
    pq.write_table(pa.table({"image": images}), tmp_path / "a.parquet", store_schema=False)
    assert (tmp_path / "a.parquet").stat().st_size < 5000
    assert "a row group holds 0.0 GiB of images" in refusal("parquet", tmp_path / "a.parquet")
    labels = pa.DictionaryArray.from_arrays(images.indices, pa.array(["x" * 999]))
    table = pa.table({"image": [P[:9]] * 5000, "label": labels})
    pq.write_table(table, tmp_path / "a.parquet", store_schema=False)
    assert "a row group holds" in refusal("parquet", tmp_path / "a.parquet")


def test_a_row_group_of_more_rows_than_images_can_be_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "MAX_ROWS", 3)
    pq.write_table(pa.table({"image": [P] * 4}), tmp_path / "a.parquet")
    message = refusal("parquet", tmp_path / "a.parquet")
    assert "a row group holds 4 rows: write the file with smaller row groups" in message


@pytest.mark.parametrize("row", ['a.png,"x', 'a.png,"x\nb.png,y"'])
def test_a_quote_in_a_list_swallows_no_rows(tmp_path, row):
    rows = ["path,label", "0.png,y", row, "c.png,x", "d.png,x"]
    (tmp_path / "a.csv").write_text("\n".join(rows))
    assert "a.csv: row 2 goes over several lines" in refusal("list", tmp_path / "a.csv")


def test_the_check_and_the_listing_count_the_same_losses(tmp_path):
    """A name twice in one archive is no loss; in two archives it is, and so is a link."""
    (tmp_path / "tars").mkdir()
    link = tarfile.TarInfo("c.png")
    link.type, link.linkname = tarfile.SYMTYPE, "a.png"
    make_tar(tmp_path / "tars/1.tar", [("a.png", picture(1)), ("a.png", picture(2))])
    path = {"path": str(tmp_path / "tars")}
    assert check_set("tar", "none", path, {}) == (1, None, "ok")
    make_tar(tmp_path / "tars/2.tar", [("a.png", picture(3)), (link, b""), ("x.txt", b"")])
    images, _, verdict = check_set("tar", "none", path, {})
    cfg = {"kind": "tar", "labels": "none", "options": {}, "shards": 1}
    listing = scan(tmp_path / "tars", cfg)
    lost = [row["image_id"] for row in listing.rejected.to_pylist() if row["lost"]]
    assert (images, len(listing.table), lost) == (1, 1, ["a.png", "c.png"])
    assert verdict.startswith("2 files cannot be used (first: a.png: same image id as")


@pytest.mark.parametrize("kind", ["folder", "tar"])
def test_images_of_formats_that_are_not_read_are_lost_not_gone(tmp_path, kind):
    """Of phones, cameras and programs; what is no image, and what is hidden, is no loss."""
    unread = ["IMG_1.HEIC", "b.dng", "c.tga", "d.ico"]
    files = {"a.png": P, "x.txt": b"x", ".e.heic": b"x"} | dict.fromkeys(unread, b"x")
    source = tmp_path / "set"
    if kind == "tar":
        make_tar(source, [*files.items()])
    else:
        source.mkdir()
        for name, content in files.items():
            (source / name).write_bytes(content)
    images, _, verdict = check_set(kind, "none", {"path": str(source)}, {})
    assert images == 1 and verdict.startswith("4 files cannot be used (first: IMG_1.HEIC: ")
    rejected = scan(source, {"kind": kind, "labels": "none", "options": {}, "shards": 1}).rejected
    reasons = {row["image_id"]: row["reason"] for row in rejected.to_pylist() if row["lost"]}
    assert sorted(reasons) == unread
    with pytest.raises(InputError, match=r"4 of 5 files cannot be used .* mend, convert or remove"):
        check_losses("set", 5, reasons.values(), 0.2)


def test_an_archive_whose_name_is_no_text_is_refused(tmp_path):
    make_tar(tmp_path / os.fsdecode(b"a\xff.tar"), [("a.png", picture(1))])
    assert "a�.tar: name is not UTF-8" in refusal("tar", tmp_path)


def test_folders_may_be_nested_deeper_than_calls_can_be(tmp_path):
    name = "a/" * 200 + "b.png"
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_bytes(P)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 100)
    try:
        found = [path for path, _ in walk(tmp_path)]
    finally:
        sys.setrecursionlimit(limit)
    assert found == [name]


def test_messages_are_one_line(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1" + b"x" * 99 + b"\x20\0\0\0PAR1")
    message = refusal("parquet", tmp_path / "a.parquet")
    assert "a.parquet is not a readable Parquet file" in message and "\n" not in message


@pytest.mark.parametrize("size", [(5000, 1), (1, 5000)])
def test_an_elongated_image_has_a_thumbnail_of_one_pixel(tmp_path, size):
    content = io.BytesIO()
    Image.new("RGB", size, (9, 8, 7)).save(content, "PNG")
    (tmp_path / "a.png").write_bytes(content.getvalue())
    write_table(tmp_path / "locators.parquet", {"image_id": []}, {"archived": False})
    image = thumbnails(["a.png"], tmp_path, tmp_path / "locators.parquet", 64)["a.png"]
    assert image.size == tuple(min(side, 64) for side in size)
    assert image.getcolors() == [(64, (9, 8, 7))]
