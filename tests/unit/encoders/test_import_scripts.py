import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workflow_scripts.import_images import import_images
from workflow_scripts.import_texts import import_texts
from workflow_scripts.lib.artifacts import read_meta
from workflow_scripts.lib.embeddings import check_same_encoder, open_embeddings
from workflow_scripts.lib.encoders.clip_retrieval import clip_retrieval_files
from workflow_scripts.lib.encoders.precomputed import normalise_rows
from workflow_scripts.lib.errors import InputError


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
    monkeypatch.setattr("workflow_scripts.lib.encoders.precomputed.BLOCK", 3)
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


def test_an_empty_label_is_none(tmp_path):
    """As in lists and Parquet sets of images; a set without any label has no classes."""
    for labels in (["fox", "", None, "owl"], ["", "", "", ""]):
        source = precomputed(tmp_path, "x", np.eye(4), {"image_id": list("abcd"), "label": labels})
        for column in (None, "label"):
            npy, index, _ = run_import_images(source, tmp_path, column)
            expected = [label or None for label in labels]
            assert open_embeddings([npy], [index]).labels == expected


def test_a_label_column_that_another_one_replaces_may_be_spelled_anyhow(tmp_path):
    columns = {"image_id": ["a"], "label_name": ["fox"], "Label": [3]}
    source = precomputed(tmp_path, "x", np.eye(1), columns)
    npy, index, _ = run_import_images(source, tmp_path)
    assert open_embeddings([npy], [index]).labels == ["fox"]


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
    monkeypatch.setattr("workflow_scripts.lib.encoders.precomputed.BLOCK", block)
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
    monkeypatch.setattr("workflow_scripts.lib.encoders.precomputed.BLOCK", 3)
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


def test_normalise_rows_keeps_directions_and_names_bad_rows():
    rows = np.array([[3.0, 4.0], [1e-30, 0.0], [-2e30, 0.0]])
    assert np.allclose(normalise_rows(rows, "x.npy"), [[0.6, 0.8], [1, 0], [-1, 0]], atol=1e-3)
    for bad in ([0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0]):
        with pytest.raises(InputError, match=r"x.npy: row 102 is zero or not finite"):
            normalise_rows([[1.0, 0.0], [0.0, 1.0], bad], "x.npy", start=100)
