import io
import json
import os
import shutil
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tiny_checkpoint import save_checkpoint

from workflow_scripts.embed_images import batched, embed_images, prefetched
from workflow_scripts.embed_texts import embed_texts
from workflow_scripts.import_images import import_images
from workflow_scripts.import_texts import import_texts
from workflow_scripts.lib.artifacts import read_meta, write_table
from workflow_scripts.lib.embeddings import check_same_encoder, open_embeddings
from workflow_scripts.lib.encoders.clip_retrieval import clip_retrieval_files
from workflow_scripts.lib.encoders.open_clip import load_encoder
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images import containers
from workflow_scripts.lib.images.decode import open_rgb
from workflow_scripts.lib.images.folder import list_folder
from workflow_scripts.lib.images.listing import scan
from workflow_scripts.lib.images.manifest import MANIFEST, read_shard, shard_of
from workflow_scripts.lib.images.state import fingerprint, set_state
from workflow_scripts.list_images import list_images

SHARDS = 3


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    save_checkpoint(folder)
    return str(folder)


@pytest.fixture
def folder(tmp_path):
    """Ten images in two classes, two of them equal, one cut off, plus two files that are none."""
    root = tmp_path / "images"
    rng = np.random.default_rng(0)
    for i in range(9):
        path = root / ("red fox" if i % 2 else "dög") / f"image {i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (40 + i, 50, 3), np.uint8)).save(path)
    shutil.copy(root / "dög/image 0.png", root / "dög/the same.png")
    content = (root / "dög/image 4.png").read_bytes()
    (root / "dög/image 4.png").write_bytes(content[: len(content) // 2])
    (root / "notes.jpg").write_text("not an image")
    (root / "empty.jpg").touch()
    return root


def run_list(folder, out, labels="subfolder", shards=SHARDS):
    return list_set({"kind": "folder", "labels": labels}, folder, out, shards)


def list_set(cfg, source, out, shards=SHARDS, root=None):
    """List a set into `out`, as the workflow does; returns the path of the manifest."""
    tables = [out / f"{name}.parquet" for name in ("manifest", "locators", "quarantine")]
    cfg = {"labels": None, "options": {}, "shards": shards} | cfg
    now = fingerprint(source, cfg, "code", root)
    state = set_state(
        out / "hashes.parquet", now, shards, lambda known: scan(source, cfg, known, root)
    )
    list_images(source, *tables, cfg | {"state": state}, root)
    return tables[0]


def shards_in(manifest):
    return [read_shard(manifest, shard) for shard in range(SHARDS)]


def run_embed(manifest, folder, checkpoint, out, batch_size=4, shard=0):
    cfg = {"checkpoint": checkpoint, "device": "cpu", "batch_size": batch_size}
    paths = [out / f"x{ending}" for ending in (".npy", ".parquet", ".quarantine.parquet")]
    out.mkdir(exist_ok=True)
    locators = manifest.with_name("locators.parquet")
    embed_images(manifest, shard, folder, locators, [], cfg, *paths, threads=2)
    return paths


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


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """60 small JPEGs in four classes, two of them equal, one cut off, and an empty file."""
    root = tmp_path_factory.mktemp("photos") / "set"
    rng = np.random.default_rng(1)
    for i in range(60):
        path = root / ("ant", "bee", "cät", "dog")[i % 4] / f"photo {i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 255, (6, 8 + i % 5, 3), np.uint8)
        Image.fromarray(pixels).resize((48, 40 + i % 7)).save(path)
    shutil.copy(root / "ant/photo 0.jpg", root / "dog/the same.jpg")
    cut = root / "bee/photo 1.jpg"
    cut.write_bytes(cut.read_bytes()[:-300])
    (root / "bee/empty.jpg").touch()
    return root


def in_tars(root, out, shards, ending, shuffled):
    """Deal the files of a folder to tar shards."""
    out.mkdir()
    names = list_folder(root)
    if shuffled:
        np.random.default_rng(2).shuffle(names)
    for shard in range(shards):
        mode = "w" if ending == ".tar" else "w:gz"
        with tarfile.open(out / f"part{shard}{ending}", mode) as archive:
            for name in names[shard::shards]:
                archive.add(root / name, name)
    return {"kind": "tar"}, out


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
    return load_encoder({"checkpoint": checkpoint, "device": "cpu", "batch_size": 4}, 2)


@pytest.mark.parametrize("held", [1 << 30, 5000])
@pytest.mark.parametrize("case", CONTAINERS)
def test_a_container_gives_the_bytes_of_its_folder(
    photos, photos_embedded, loaded_once, tmp_path, checkpoint, monkeypatch, case, held
):
    cfg, source = CONTAINERS[case](photos, tmp_path / "source")
    monkeypatch.setattr(containers, "MAX_HELD", held)
    found = listed_and_embedded(cfg, source, tmp_path, checkpoint)
    assert len(found) == 3 * SHARDS + 2
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
    assert not list((tmp_path / "out").iterdir())


def test_embed_images_keeps_rows_and_index_in_step_around_a_corrupt_image(
    folder, tmp_path, checkpoint
):
    manifest = run_list(folder, tmp_path / "list", shards=1)
    npy, index, quarantine = run_embed(manifest, folder, checkpoint, tmp_path / "out")
    listed = pq.read_table(manifest)["image_id"].to_pylist()
    assert 0 < listed.index("dög/image 4.png") < len(listed) - 1
    listed.remove("dög/image 4.png")

    images = open_embeddings([npy], [index])
    assert images.ids == listed
    assert images.labels == [name.split("/")[0] for name in listed]
    assert np.load(npy).dtype == np.float16
    encoder = load_encoder({"checkpoint": checkpoint, "device": "cpu"})
    for name, row in zip(images.ids, images.array(), strict=True):
        alone = encoder.encode_images(encoder.preprocess(open_rgb(folder / name))[None])[0]
        assert np.allclose(row, alone, atol=1e-3)
    assert images.meta["encoder"] == encoder.describe()
    (bad,) = pq.read_table(quarantine).to_pylist()
    assert (bad["image_id"], bad["stage"]) == ("dög/image 4.png", "decode")
    assert "cannot be decoded" in bad["reason"]

    again = run_embed(manifest, folder, checkpoint, tmp_path / "again")
    assert [path.read_bytes() for path in again] == [
        path.read_bytes() for path in (npy, index, quarantine)
    ]


def test_embed_images_of_an_empty_shard(folder, tmp_path, checkpoint):
    manifest = run_list(folder, tmp_path / "list", shards=1)
    npy, index, quarantine = run_embed(manifest, folder, checkpoint, tmp_path / "out", shard=1)
    assert open_embeddings([npy], [index]).array().shape == (0, 16)
    assert pq.read_table(quarantine).num_rows == 0


def test_an_image_deleted_after_listing_goes_to_the_quarantine(folder, tmp_path, checkpoint):
    manifest = run_list(folder, tmp_path / "list", shards=1)
    (folder / "red fox/image 1.png").unlink()
    *_, quarantine = run_embed(manifest, folder, checkpoint, tmp_path / "out")
    reasons = {row["path"]: row["reason"] for row in pq.read_table(quarantine).to_pylist()}
    assert "FileNotFoundError" in reasons["red fox/image 1.png"]
    shutil.rmtree(folder)
    with pytest.raises(InputError, match="does not exist"):
        run_embed(manifest, folder, checkpoint, tmp_path / "out")


def test_prefetched_keeps_order_and_never_runs_further_ahead():
    started = []
    results = prefetched(lambda i: started.append(i) or i * i, range(20), threads=2, ahead=4)
    taken = []
    for result in results:
        taken.append(result)
        assert len(started) <= len(taken) - 1 + 4
    assert taken == [i * i for i in range(20)]
    assert list(batched(range(5), 2)) == [[0, 1], [2, 3], [4]]


def test_embed_texts_and_images_share_the_encoder(folder, tmp_path, checkpoint):
    table = pa.table(
        {"concept": ["fox", "red"], "pos": ["noun", "adjective"], "source": ["a", "b"]}
    )
    write_table(tmp_path / "corpus.parquet", table)
    cfg = {
        "encoder": {"checkpoint": checkpoint, "device": "cpu"},
        "prompts": {"noun": ["a {}.", "the {}."], "default": ["{} things"]},
    }
    npy, index = tmp_path / "t.npy", tmp_path / "t.parquet"
    embed_texts(tmp_path / "corpus.parquet", [], cfg, npy, index)
    encoder = load_encoder(cfg["encoder"])
    expected = encoder.encode_prompts([["a fox.", "the fox."], ["red things"]])
    assert np.load(npy).dtype == np.float16
    assert np.allclose(np.load(npy), expected, atol=1e-3)
    assert pq.read_table(index).to_pylist() == table.to_pylist()
    assert read_meta(index)["params"] == cfg

    manifest = run_list(folder, tmp_path / "list", shards=1)
    _, image_index, _ = run_embed(manifest, folder, checkpoint, tmp_path / "out")
    check_same_encoder(read_meta(image_index), read_meta(index))


def precomputed(folder, name, rows, columns):
    np.save(folder / f"{name}.npy", rows)
    pq.write_table(pa.table(columns), folder / f"{name}.parquet")
    return folder / f"{name}.npy", folder / f"{name}.parquet"


def run_import_images(source, out, label_column=None):
    return import_parts([source], out, "image_id", label_column)


def import_parts(parts, out, id_column, label_column=None):
    """Import pairs of arrays and indexes as one set."""
    cfg = {"encoder": "mine", "id_column": id_column, "label_column": label_column}
    paths = [out / f"i{ending}" for ending in (".npy", ".parquet", ".quarantine.parquet")]
    import_images(*zip(*parts, strict=True), cfg, *paths)
    return paths


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_import_images(tmp_path, monkeypatch, dtype):
    monkeypatch.setattr("workflow_scripts.import_images.BLOCK", 3)
    rows = (np.random.default_rng(0).normal(size=(10, 6)) * 7).astype(dtype)
    columns = {
        "image_id": [f"b{i}" for i in range(10)],
        "label": range(10),
        "label_name": list("abcdefghij"),
    }
    source = precomputed(tmp_path, "x", rows, columns)
    npy, index, quarantine = run_import_images(source, tmp_path)
    images = open_embeddings([npy], [index])
    expected = rows / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    assert np.load(npy).dtype == np.float16
    assert np.allclose(images.array(), expected, atol=1e-3)
    assert images.ids == columns["image_id"]
    assert images.labels == columns["label_name"]
    assert images.meta["encoder"] == {"model": "mine", "pretrained": "precomputed", "dim": 6}
    assert pq.read_table(quarantine).num_rows == 0
    _, index, _ = run_import_images(source, tmp_path, label_column="label")
    assert open_embeddings([npy], [index]).labels == [str(i) for i in range(10)]


def test_import_images_refuses_bad_input(tmp_path):
    ids = [f"b{i}" for i in range(4)]
    good = np.eye(4, dtype=np.float32)
    broken = good.copy()
    broken[2] = np.nan
    cases = [
        (good[:3], {"image_id": ids}, None, "x.npy has 3 rows but its index has 4"),
        (good, {"name": ids}, None, "x.parquet has no column 'image_id'"),
        (good, {"image_id": ["a", "b", "a", "c"]}, None, "'image_id' has duplicates"),
        (good, {"image_id": ["a", "b", None, "c"]}, None, "'image_id' has 1 empty cells"),
        (good, {"image_id": ids}, "class", r"no column 'class' \(label_column\)"),
        (broken, {"image_id": ids}, None, "x.npy: row 2 is zero or not finite"),
        (good * [[1], [1], [1], [0]], {"image_id": ids}, None, "x.npy: row 3 is zero"),
        (good.astype(int), {"image_id": ids}, None, "must be a float array"),
        (good[0], {"image_id": ids}, None, "must be a float array"),
        (good[:0], {"image_id": pa.array([], pa.string())}, None, "x.npy is empty"),
    ]
    for rows, columns, label_column, message in cases:
        source = precomputed(tmp_path, "x", rows, columns)
        with pytest.raises(InputError, match=message):
            run_import_images(source, tmp_path, label_column)
        assert not (tmp_path / "i.npy").exists()
    (tmp_path / "x.npy").write_bytes(b"no array")
    with pytest.raises(InputError, match=r"x.npy is not a readable .npy"):
        run_import_images(source, tmp_path)


def test_import_texts_joins_lists_and_drops_later_duplicates(tmp_path):
    rows = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32) * 3
    first = precomputed(tmp_path, "a", rows[:3], {"concept": ["Red_Fox", "owl", "red  fox"]})
    second = precomputed(
        tmp_path,
        "b",
        rows[3:],
        {"concept": ["OWL", "shiny", " "], "pos": ["noun", "adjective", "noun"]},
    )
    cfg = {"encoder": "mine", "sources": ["one", "two"], "columns": ["concept", "concept"]}
    lists = [[str(first[i]), str(second[i])] for i in (0, 1)]
    npy, index = tmp_path / "t.npy", tmp_path / "t.parquet"
    import_texts(*lists, cfg, npy, index)
    assert [tuple(row.values()) for row in pq.read_table(index).to_pylist()] == [
        ("red fox", "noun", "one"),
        ("owl", "noun", "one"),
        ("shiny", "adjective", "two"),
    ]
    expected = rows[[0, 1, 4]] / np.linalg.norm(rows[[0, 1, 4]], axis=1, keepdims=True)
    assert np.load(npy).dtype == np.float16
    assert np.allclose(np.load(npy), expected, atol=1e-3)
    check_same_encoder(
        {"encoder": {"model": "mine", "pretrained": "precomputed", "dim": 5}}, read_meta(index)
    )

    wide = precomputed(tmp_path, "c", np.eye(6), {"concept": list("abcdef")})
    with pytest.raises(InputError, match=r"c.npy has dimension 6, but .*a.npy has 5"):
        import_texts([first[0], wide[0]], [first[1], wide[1]], cfg, npy, index)


@pytest.mark.parametrize("block", [1, 3, 4, 100])
def test_import_texts_in_blocks_is_the_whole_at_once(tmp_path, monkeypatch, block):
    """Against all rows in memory, normalised as one array; lists of several float types."""
    rng, every, arrays, lists = np.random.default_rng(0), [], [], []
    for i, (size, kind) in enumerate([(7, np.float64), (4, np.float16), (1, np.float32)]):
        names = [f"Name {n}" for n in rng.integers(0, 9, size)]
        arrays.append(rng.normal(size=(size, 5)).astype(kind))
        lists.append(precomputed(tmp_path, f"l{i}", arrays[i], {"concept": names}))
        every += names
    lists = [[str(path) for path in paths] for paths in zip(*lists, strict=True)]
    monkeypatch.setattr("workflow_scripts.import_texts.BLOCK", block)
    cfg = {"encoder": "mine", "sources": list("abc"), "columns": ["concept"] * 3}
    import_texts(*lists, cfg, tmp_path / "t.npy", tmp_path / "t.parquet")
    rows = np.concatenate([array.astype(np.float64) for array in arrays])
    first = [i for i, name in enumerate(every) if name not in every[:i]]
    assert 3 < len(first) < len(every)
    expected = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)
    np.save(tmp_path / "expected.npy", expected[first])
    assert (tmp_path / "t.npy").read_bytes() == (tmp_path / "expected.npy").read_bytes()
    concepts = pq.read_table(tmp_path / "t.parquet")["concept"].to_pylist()
    assert concepts == [every[i].lower() for i in first]

    arrays[0][5] = 0  # named by its number in the file
    np.save(lists[0][0], arrays[0])
    with pytest.raises(InputError, match=r"l0.npy: row 5 is zero or not finite"):
        import_texts(*lists, cfg, tmp_path / "t.npy", tmp_path / "t.parquet")


def clip_retrieval(folder, sizes, names=None, seed=0):
    """A folder as clip-retrieval writes it, with `sizes` rows; returns all rows."""
    rows = np.random.default_rng(seed).normal(size=(sum(sizes), 6)).astype(np.float16)
    for part in ("img_emb", "text_emb", "metadata"):
        (folder / part).mkdir(parents=True)
    end = np.cumsum([0, *sizes])
    for i, name in enumerate(names or map(str, range(len(sizes)))):
        part = slice(end[i], end[i + 1])
        np.save(folder / f"img_emb/img_emb_{name}.npy", rows[part])
        np.save(folder / f"text_emb/text_emb_{name}.npy", rows[part][::-1])
        table = {
            "image_path": [f"photos/{n:03d}.jpg" for n in range(end[i], end[i + 1])],
            "caption": [f"A Photo of {n % 9}" for n in range(end[i], end[i + 1])],
            "key": range(end[i], end[i + 1]),
        }
        pq.write_table(pa.table(table), folder / f"metadata/metadata_{name}.parquet")
    return rows


def test_folders_of_clip_retrieval(tmp_path, monkeypatch):
    monkeypatch.setattr("workflow_scripts.import_images.BLOCK", 3)
    sizes = [4, 1, 2, 3, 1, 1, 1, 1, 1, 1, 5]  # 11 files: 10 comes after 9, not after 1
    rows = clip_retrieval(tmp_path / "x", sizes)
    arrays, tables = clip_retrieval_files(tmp_path / "x", "img_emb")
    parts = list(zip(arrays, tables, strict=True))
    npy, index, quarantine = import_parts(parts, tmp_path, "image_path", "key")
    images = open_embeddings([npy], [index])
    assert images.ids == [f"photos/{n:03d}.jpg" for n in range(21)]
    assert images.labels == [str(n) for n in range(21)]
    assert images.array().dtype == np.float32
    unit = rows / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    assert np.allclose(images.array(), unit, atol=1e-3)
    assert pq.read_table(quarantine).num_rows == 0

    arrays, tables = clip_retrieval_files(tmp_path / "x", "text_emb")
    cfg = {"encoder": "mine", "sources": ["x"] * 11, "columns": ["caption"] * 11}
    import_texts(arrays, tables, cfg, npy, index)
    assert pq.read_table(index)["concept"].to_pylist() == [f"a photo of {n}" for n in range(9)]
    first = [3, 2, 1, 0, 4, 6, 5, 9, 8]  # rows of a file's texts are stored backwards
    assert np.allclose(np.load(npy), unit[first], atol=1e-3)


def test_bad_folders_of_clip_retrieval(tmp_path):
    with pytest.raises(InputError, match=r"has no img_emb/img_emb_N.npy"):
        clip_retrieval_files(tmp_path / "nowhere", "img_emb")
    folder = tmp_path / "x"
    clip_retrieval(folder, [4, 3, 2], names=["00", "01", "02"])

    def run(id_column="image_path"):
        parts = zip(*clip_retrieval_files(folder, "img_emb"), strict=True)
        import_parts(list(parts), tmp_path, id_column)

    run()
    with pytest.raises(InputError, match=r"metadata_00.parquet has no column 'name' but .*'key'"):
        run("name")
    table = pq.read_table(folder / "metadata/metadata_01.parquet")
    pq.write_table(table[:2], folder / "metadata/metadata_01.parquet")
    with pytest.raises(InputError, match=r"img_emb_01.npy has 3 rows but its index has 2"):
        run()
    twice = pa.concat_tables([table[:2], table[:1]])
    pq.write_table(twice, folder / "metadata/metadata_01.parquet")
    with pytest.raises(InputError, match=r"x/metadata: column 'image_path' has duplicates"):
        run()
    pq.write_table(table, folder / "metadata/metadata_01.parquet")
    np.save(folder / "img_emb/img_emb_02.npy", np.ones((2, 7), np.float16))
    with pytest.raises(InputError, match=r"img_emb_02.npy has dimension 7, but .*_00.npy has 6"):
        run()
    (folder / "metadata/metadata_01.parquet").unlink()
    with pytest.raises(InputError, match=r"x has no metadata/metadata_01.parquet"):
        run()
    (folder / "img_emb/img_emb_01.npy").unlink()
    (folder / "img_emb/img_emb_02.npy").unlink()
    with pytest.raises(InputError, match=r"x has no img_emb/img_emb_02.npy"):
        run()


def test_metadata_is_json_of_builtin_types(folder, tmp_path, checkpoint):
    manifest = run_list(folder, tmp_path / "list", shards=1)
    _, index, _ = run_embed(manifest, folder, checkpoint, tmp_path / "out")
    stored = json.loads(pq.read_schema(index).metadata[b"clustermine"])
    assert stored["encoder"]["dim"] == 16
    assert stored["encoder"]["versions"]["open_clip_torch"]
