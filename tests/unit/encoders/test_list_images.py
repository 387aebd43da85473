import os
import shutil
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from listed_sets import SHARDS, in_tars, list_set, run_list
from PIL import Image

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images.manifest import MANIFEST, read_shard, shard_of


def shards_in(manifest):
    return [read_shard(manifest, shard) for shard in range(SHARDS)]


def test_list_images_shards_and_quarantine(folder, tmp_path):
    manifest = run_list(folder, tmp_path / "out")
    tables = shards_in(manifest)
    assert pa.concat_tables(tables).equals(pq.read_table(manifest))
    assert all(table.schema.equals(MANIFEST) for table in tables)
    for shard, table in enumerate(tables):
        ids = table["image_id"].to_pylist()
        assert ids == sorted(ids)
        assert all(shard_of(i, SHARDS) == shard for i in ids)
    rows = pa.concat_tables(tables).to_pylist()
    assert len(rows) == 10  # the cut-off image has a good header: its decoding fails later
    assert {row["label"] for row in rows} == {"red fox", "dög"}
    same = [row["sha256"] for row in rows if row["path"] in ("dög/image 0.png", "dög/the same.png")]
    assert len(same) == 2
    assert len(set(same)) == 1
    quarantine = pq.read_table(tmp_path / "out/quarantine.parquet").to_pylist()
    assert [(row["image_id"], row["stage"]) for row in quarantine] == [
        ("empty.jpg", "list"),
        ("notes.jpg", "list"),
    ]
    assert "zero bytes" in quarantine[0]["reason"]


def test_listing_twice_or_elsewhere_gives_the_same_bytes_and_one_image_changes_one_shard(
    folder, tmp_path
):
    manifest = run_list(folder, tmp_path / "out")
    before, tables = manifest.read_bytes(), shards_in(manifest)
    elsewhere = shutil.copytree(folder, tmp_path / "elsewhere/else")
    os.utime(elsewhere / "dög/image 0.png", (1, 1))
    run_list(elsewhere, tmp_path / "out")  # with the hashes of the first run
    assert manifest.read_bytes() == before
    Image.new("RGB", (9, 9)).save(folder / "red fox/new.png")
    after = shards_in(run_list(folder, tmp_path / "out"))
    changed = [i for i in range(SHARDS) if not after[i].equals(tables[i])]
    assert changed == [shard_of("red fox/new.png", SHARDS)]


def mark_hashes(path):
    """Let the record say "cached" for every hash, so that rows that come from it can be told."""
    hashes = pq.read_table(path)
    column = hashes.schema.get_field_index("sha256")
    cached = hashes.set_column(column, "sha256", pa.array(["cached"] * len(hashes)))
    pq.write_table(cached.replace_schema_metadata(hashes.schema.metadata), path)


def test_listing_rereads_a_changed_file_only(folder, tmp_path):
    run_list(folder, tmp_path / "out", shards=1)
    mark_hashes(tmp_path / "out/hashes.parquet")
    Image.new("RGB", (9, 9)).save(folder / "red fox/image 1.png")
    rows = pq.read_table(run_list(folder, tmp_path / "out", shards=1)).to_pylist()
    assert [row["path"] for row in rows if row["sha256"] != "cached"] == ["red fox/image 1.png"]


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.txt").write_text("x")
    with pytest.raises(InputError, match=r"None of the 1 files .* a.txt: not an image"):
        run_list(tmp_path / "images", tmp_path / "out")


def test_listing_a_tar_again_reads_members_of_changed_archives_only(photos, tmp_path):
    cfg, source = in_tars(photos, tmp_path / "source", 2, ".tar", False)
    before = list_set(cfg, source, tmp_path / "out", shards=1).read_bytes()
    mark_hashes(tmp_path / "out/hashes.parquet")
    os.utime(source / "part1.tar", (1, 1))
    manifest = list_set(cfg, source, tmp_path / "out", shards=1)
    locators = pq.read_table(tmp_path / "out/locators.parquet")
    files = dict(zip(*(locators[key].to_pylist() for key in ("image_id", "file")), strict=True))
    for row in pq.read_table(manifest).to_pylist():
        assert (row["sha256"] == "cached") == (files[row["image_id"]] == "part0.tar")
    (tmp_path / "out/hashes.parquet").unlink()
    assert list_set(cfg, source, tmp_path / "out", shards=1).read_bytes() == before


def test_missing_and_damaged_entries_go_to_the_quarantine(photos, tmp_path):
    rows = ["ant/photo 0.jpg", "gone.jpg", "bee/empty.jpg", "../x.jpg", "ant/photo 0.jpg"]
    (tmp_path / "list.csv").write_text("\n".join(["path", *rows]))
    list_set({"kind": "list"}, tmp_path / "list.csv", tmp_path / "a", shards=1, root=photos)
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(photos / "ant/photo 0.jpg", "a.jpg")
        archive.add(photos / "bee/empty.jpg", "b.jpg")
        archive.add(tmp_path / "list.csv", "list.csv")
        archive.add(tmp_path / "list.csv", "text.jpg")
    list_set({"kind": "tar"}, tmp_path / "a.tar", tmp_path / "b", shards=1)
    expected = {
        "a": ["../x.jpg: name with '..'", "ant/photo 0.jpg: same image id", "bee/empty.jpg: empty",
              "gone.jpg: cannot be opened: No such file"],
        "b": ["b.jpg: empty file", "list.csv: not an image by its extension",
              "text.jpg: not an image (supported"],
    }  # fmt: skip
    for out, starts in expected.items():
        found = pq.read_table(tmp_path / out / "quarantine.parquet").to_pylist()
        lines = [f"{row['path']}: {row['reason']}" for row in found]
        assert len(lines) == len(starts)
        assert all(line.startswith(start) for line, start in zip(lines, starts, strict=True)), lines
