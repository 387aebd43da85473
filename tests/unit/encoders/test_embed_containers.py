import io
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from listed_sets import SHARDS, in_tars, list_set, run_embed
from tiny_checkpoint import load

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images import containers
from workflow_scripts.lib.images.folder import list_folder


def in_parquet(root, out, shuffled):
    """Two Parquet files with the files of a folder, as Hugging Face datasets writes them."""
    out.mkdir()
    names = list_folder(root)
    if shuffled:
        np.random.default_rng(2).shuffle(names)
    for part in range(2):
        rows = [{"bytes": (root / name).read_bytes(), "path": name} for name in names[part::2]]
        label = [name.split("/")[0] for name in names[part::2]]
        table = pa.table({"image": rows, "label": label})
        pq.write_table(table, out / f"{part}.parquet", row_group_size=7)
    return {"kind": "parquet"}, out


def in_class_tars(root, out):
    """One archive per class, with members named as in the class's folder."""
    out.mkdir()
    for folder in root.iterdir():
        with tarfile.open(out / f"{folder.name}.tar", "w") as archive:
            for file in folder.iterdir():
                archive.add(file, file.name)
    return {"kind": "tar", "labels": "shard"}, out


CONTAINERS = {
    "tar": lambda root, out: in_tars(root, out, 4, ".tar", False),
    "tar, shuffled": lambda root, out: in_tars(root, out, 4, ".tar", True),
    "tar.gz": lambda root, out: in_tars(root, out, 4, ".tar.gz", False),
    "tar.gz, shuffled": lambda root, out: in_tars(root, out, 3, ".tgz", True),
    "parquet": lambda root, out: in_parquet(root, out, False),
    "parquet, shuffled": lambda root, out: in_parquet(root, out, True),
    "a tar per class": in_class_tars,
}


@pytest.fixture(scope="module")
def photos_embedded(photos, tmp_path_factory, checkpoint):
    """The bytes of the manifest, the quarantine and all embeddings of the folder, by name."""
    return listed_and_embedded({"kind": "folder"}, photos, tmp_path_factory.mktemp("x"), checkpoint)


def listed_and_embedded(cfg, source, out, checkpoint, root=None):
    manifest = list_set(cfg, source, out / "list", root=root)
    files = [manifest, out / "list/quarantine.parquet"]
    for shard in range(SHARDS):
        files += run_embed(manifest, root or source, checkpoint, out / str(shard), shard=shard)
    return {str(file.relative_to(out)): file.read_bytes() for file in files}


@pytest.fixture
def loaded_once(photos_encoder, monkeypatch):
    """Loading the encoder takes longer than all else here."""
    monkeypatch.setattr(
        "workflow_scripts.embed_images.load_encoder", lambda *_, **__: photos_encoder
    )


@pytest.fixture(scope="module")
def photos_encoder(checkpoint):
    return load({"checkpoint": checkpoint, "device": "cpu", "batch_size": 4}, threads=2)


@pytest.mark.parametrize("held", [1 << 30, 5000])
@pytest.mark.parametrize("case", CONTAINERS)
def test_a_container_gives_the_bytes_of_its_folder(
    photos, photos_embedded, loaded_once, tmp_path, checkpoint, monkeypatch, case, held
):
    cfg, source = CONTAINERS[case](photos, tmp_path / "source")
    monkeypatch.setattr(containers, "MAX_HELD", held)
    found = listed_and_embedded(cfg, source, tmp_path, checkpoint)
    assert len(found) == 3 * SHARDS + 2
    quarantine = pq.read_table(io.BytesIO(found.pop("list/quarantine.parquet")))
    assert all((source / file).is_file() for file in quarantine["file"].to_pylist())
    folders = pq.read_table(io.BytesIO(photos_embedded["list/quarantine.parquet"]))
    assert folders["file"].to_pylist() == [None] * len(folders)
    assert quarantine.drop_columns("file").equals(folders.drop_columns("file"))
    assert [name for name in found if found[name] != photos_embedded[name]] == []


def test_a_list_gives_the_bytes_of_its_folder(
    photos, photos_embedded, loaded_once, tmp_path, checkpoint
):
    names = list_folder(photos)[::-1]
    rows = [f"{name},{name.split('/')[0]}" for name in names]
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *rows]))
    found = listed_and_embedded(
        {"kind": "list"}, tmp_path / "list.csv", tmp_path, checkpoint, photos
    )
    assert [name for name in found if found[name] != photos_embedded[name]] == []


def test_photos_show_what_the_byte_tests_rely_on(photos, photos_embedded):
    quarantine = {
        name: pq.read_table(io.BytesIO(content)).to_pylist()
        for name, content in photos_embedded.items()
        if "quarantine" in name
    }
    assert {row["path"] for rows in quarantine.values() for row in rows} == {
        "bee/photo 1.jpg",
        "bee/empty.jpg",
    }
    arrays = [content for name, content in photos_embedded.items() if name.endswith(".npy")]
    rows = sum(len(np.load(io.BytesIO(content))) for content in arrays)
    assert rows == 60  # 62 files but the damaged two


@pytest.mark.parametrize("ending", [".tar", ".tar.gz"])
def test_a_damaged_container_is_refused(photos, tmp_path, checkpoint, ending):
    cfg, source = in_tars(photos, tmp_path / "source", 2, ending, False)
    manifest = list_set(cfg, source, tmp_path / "list", shards=1)
    whole = (source / f"part1{ending}").read_bytes()
    (source / f"part1{ending}").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=f"part1{ending} is truncated, damaged"):
        list_set(cfg, source, tmp_path / "again", shards=1)
    with pytest.raises(InputError, match=rf"part1{ending} is (shorter|truncated)"):
        run_embed(manifest, source, checkpoint, tmp_path / "out")
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
