"""Which files count as lost images, and when there are too many of them."""

import pyarrow.parquet as pq
import pytest
from listed_sets import list_set, run_embed
from PIL import Image

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images.losses import check_losses


def lost_of(out):
    rows = pq.read_table(out / "quarantine.parquet").to_pylist()
    return {row["image_id"]: row["lost"] for row in rows}


@pytest.fixture
def photos(tmp_path):
    """Seven images, one of them empty, one damaged in its header, and files that are no images."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(5):
        Image.new("RGB", (4, 4), (i, 0, 0)).save(folder / f"{i}.png")
    (folder / "empty.jpg").touch()
    (folder / "header").write_bytes((folder / "0.png").read_bytes()[:20])  # of a PNG, cut
    (folder / "notes.txt").write_text("no image")
    (folder / "Thumbs.db").write_bytes(b"no image")
    return folder


def test_files_count_that_are_images_by_name_or_header(photos, tmp_path):
    list_set({"kind": "folder"}, photos, tmp_path / "out")
    assert lost_of(tmp_path / "out") == {
        "Thumbs.db": False, "empty.jpg": True, "header": True, "notes.txt": False,
    }  # fmt: skip


def test_a_listing_fails_above_the_limit_alone(photos, tmp_path):
    list_set({"kind": "folder", "maximum_quarantine": 2 / 7}, photos, tmp_path / "out")
    cfg = {"kind": "folder", "maximum_quarantine": 0.28}
    with pytest.raises(InputError, match=r"^holiday: 2 of 7 .*\(limit 28 %\): 1 x empty file"):
        list_set(cfg, photos, tmp_path / "holiday")


def test_every_row_of_a_list_counts_but_not_repeated_ones(photos, tmp_path):
    rows = ["path", "0.png", "1.png", "1.png", "notes.txt", "gone", "gone.png"]
    (tmp_path / "list.csv").write_text("\n".join(rows))
    list_set({"kind": "list"}, tmp_path / "list.csv", tmp_path / "out", root=photos)
    assert lost_of(tmp_path / "out") == {
        "1.png": False, "gone": True, "gone.png": True, "notes.txt": True,
    }  # fmt: skip


@pytest.mark.parametrize("images", [19, 20])
def test_a_small_shard_is_left_to_the_collected_check(tmp_path, checkpoint, images):
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("RGB", (40, 40), (1, 2, 3)).save(folder / "0.png")
    content = (folder / "0.png").read_bytes()
    for i in range(images):
        (folder / f"{i}.png").write_bytes(content[:-30] if i < 5 else content)
    cfg = {"kind": "folder", "maximum_quarantine": 0.24}
    manifest = list_set(cfg, folder, tmp_path / "out", shards=1)
    if images < 20:
        *_, quarantine = run_embed(manifest, folder, checkpoint, tmp_path / "x")
        assert pq.read_table(quarantine)["lost"].to_pylist() == [True] * 5
    else:
        with pytest.raises(InputError, match=r"^out \(shard 0\): 5 of 20 files .*: 5 x cannot be"):
            run_embed(manifest, folder, checkpoint, tmp_path / "x")


def test_reasons_are_counted_by_kind():
    reasons = [f"cannot be decoded: {i}" for i in range(3)] + ["empty file (zero bytes)"]
    check_losses("a", 5, reasons, 0.8)
    with pytest.raises(InputError) as error:
        check_losses("a", 5, reasons, 0.79)
    assert str(error.value) == (
        "a: 4 of 5 files cannot be used (limit 79 %): 3 x cannot be decoded: 0, 1 x empty file "
        "(zero bytes); mend, convert or remove them, or raise image_sets.a.maximum_quarantine"
    )
    with pytest.raises(InputError, match="1 x e: 1, 2 x other reasons; mend"):
        check_losses("a", 7, [f"{kind}: 1" for kind in "abcdefg"], 0.5)
