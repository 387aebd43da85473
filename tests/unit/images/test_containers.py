"""Containers give the ids and bytes of a folder, and lose no entry without a word."""

import gzip
import hashlib
import io
import json
import tarfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images import containers
from workflow_scripts.lib.images import files as images
from workflow_scripts.lib.images.containers import open_container, split_key

IDS = ["cat/1.png", "cat/deep/2 é.v2.jpg", "dog/3.JPEG", "top.webp"]
LONG = "long/" + "x" * 120 + "/" + "y" * 120 + ".png"  # needs a second header in a tar


def picture(seed, kind="PNG"):
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind)
    return content.getvalue()


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "photos"
    for seed, name in enumerate([*IDS, LONG]):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        kind = "JPEG" if "j" in name.lower().rpartition(".")[2] else "PNG"
        (folder / name).write_bytes(picture(seed, kind))
    return folder


def make_tar(path, members, mode="w", **options):
    """members: pairs of name (or TarInfo) and bytes."""
    with tarfile.open(path, mode, **options) as archive:
        for member, content in members:
            if isinstance(member, str):
                member = tarfile.TarInfo(member)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def link(name, kind=tarfile.SYMTYPE):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, "a.png"
    return member, b""


def outcome(container):
    """id -> (label, content), and id -> reason."""
    good, bad = {}, {}
    for image_id, locator in container.entries():
        try:
            content = container.read(locator)
            assert image_id not in good
            good[image_id] = (locator["label"], content)
        except images.BadImage as reason:
            bad.setdefault(image_id, str(reason))
    return good, bad


@pytest.mark.parametrize("tar_format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("name, mode", [("a.tar", "w"), ("a.tar.gz", "w:gz"), ("a.tgz", "w:gz")])
@pytest.mark.parametrize("prefix", [".", ""])
def test_tar_equals_folder(folder, tmp_path, name, mode, tar_format, prefix):
    with tarfile.open(tmp_path / name, mode, format=tar_format) as archive:
        archive.add(folder, prefix)
    good, bad = outcome(open_container("tar", tmp_path / name))
    expected = [images.describe(folder, path) for path in images.list_folder(folder)]
    assert not bad
    assert sorted(good) == [row["image_id"] for row in expected]
    for row in expected:
        label, content = good[row["image_id"]]
        assert (label, len(content)) == (row["label"], row["bytes"])
        assert hashlib.sha256(content).hexdigest() == row["sha256"]


def test_locators_are_positions_in_the_archive(tmp_path):
    path = make_tar(tmp_path / "a.tar", [("x/1.png", picture(1)), ("x/2.png", picture(2))])
    data = path.read_bytes()
    container = open_container("tar", path)
    for (image_id, locator), seed in zip(container.entries(), (1, 2), strict=True):
        assert image_id == f"x/{seed}.png"
        start, stop = locator["offset"], locator["offset"] + locator["size"]
        assert data[start:stop] == picture(seed)
        assert locator | {"offset": 0, "size": 0} == {
            "file": "a.tar", "offset": 0, "size": 0, "label": "x", "reason": None
        }  # fmt: skip


@pytest.mark.parametrize("compress", [False, True])
def test_shards_of_a_folder_in_any_order_and_from_threads(tmp_path, caplog, compress):
    (tmp_path / "shards/sub").mkdir(parents=True)
    (tmp_path / "shards/classes.txt").write_text("cat")
    for shard in range(3):
        members = [(f"c{shard}/{i}.png", picture(100 * shard + i)) for i in range(20)]
        sub, name = ("sub/", "a") if shard == 2 else ("", f"b{shard}")
        make_tar(tmp_path / f"shards/{sub}{name}.tar", members, "w:gz" if compress else "w")
    container = open_container("tar", tmp_path / "shards")
    listed = list(container.entries())
    assert [i for i, _ in listed] == [f"c{s}/{i}.png" for s in range(3) for i in range(20)]
    assert "1 files of other kinds are ignored" in caplog.text
    order = np.random.default_rng(0).permutation(60)
    with ThreadPoolExecutor(8) as pool:
        contents = list(pool.map(lambda i: container.read(listed[i][1]), order))
    assert contents == [picture(100 * (i // 20) + i % 20) for i in order]


def test_tar_more_gzip_files_than_stay_open(tmp_path, monkeypatch):
    monkeypatch.setattr(containers, "OPEN_STREAMS", 2)
    for shard in range(4):
        make_tar(tmp_path / f"{shard}.tgz", [(f"{shard}.png", picture(shard))], "w:gz")
    container = open_container("tar", tmp_path)
    listed = list(container.entries())
    for seed in (0, 1, 2, 3, 0, 3, 1):
        assert container.read(listed[seed][1]) == picture(seed)


def test_split_key_is_the_rule_of_webdataset():
    assert split_key("a.b/x.seg.PNG") == ("a.b/x", ".seg.png")
    assert split_key("x") == ("x", "")
    assert split_key("a.b/x") == ("a.b/x", "")


def test_tar_labels(tmp_path):
    members = [
        ("s/a.png", picture(0)), ("s/a.cls", b" red fox\n"), ("s/a.txt", b"a caption"),
        ("s/b.json", json.dumps({"label": 7}).encode()), ("s/b.png", picture(1)),
        ("s/b.mask.png", picture(2)),
        ("s/c.png", picture(3)), ("s/c.json", b'{"width": 7}'), ("s/c.txt", "Zoë".encode()),
        ("s/d.png", picture(4)),
        ("s/e.png", picture(5)), ("s/e.json", b"{"),
        ("s/f.png", picture(6)), ("s/f.cls", b"one"), ("s/f.cls", b"two"),
        ("s/g.png", picture(7)), ("s/g.cls", b""),
        ("s/h.png", picture(8)), ("s/h.cls", b"\xff"),
        ("s/i.png", picture(9)), ("s/i.json", b'{"label": [1]}'),
        ("s/j.cls", b"lonely"),
    ]  # fmt: skip
    path = make_tar(tmp_path / "a.tar", members)
    good, bad = outcome(open_container("tar", path, "cls"))
    assert {name: label for name, (label, _) in good.items()} == {
        "s/a.png": "red fox",
        "s/b.png": "7",
        "s/b.mask.png": "7",
        "s/c.png": "Zoë",
        "s/d.png": None,
    }
    reasons = {"e": "not JSON", "f": "disagree", "g": "empty", "h": "not UTF-8", "i": "neither"}
    assert sorted(bad) == [*(f"s/{key}.png" for key in reasons), "s/j.cls"]
    assert all(reason in bad[f"s/{key}.png"] for key, reason in reasons.items())
    assert "no image has the key s/j" in bad["s/j.cls"]
    for labels, label in [("subfolder", "s"), ("none", None)]:
        good, bad = outcome(open_container("tar", path, labels))
        assert len(good) == 10
        assert {text for text, _ in good.values()} == {label}
        assert list(bad) == ["s/j.cls"]


@pytest.mark.parametrize("ending", [".tar", ".TAR.GZ"])
def test_tar_per_class_as_if_each_were_unpacked_into_its_folder(tmp_path, ending):
    mode = "w" if ending == ".tar" else "w:gz"
    for name in ("n01", "n02.v2", "sub/n03"):
        path = tmp_path / f"set/{name}{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        make_tar(path, [("1.png", picture(1)), ("x/2.png", picture(2)), ("/3.png", b"")], mode)
    good, bad = outcome(open_container("tar", tmp_path / "set", "shard"))
    assert {name: label for name, (label, _) in good.items()} == {
        "n01/1.png": "n01",
        "n01/x/2.png": "n01",
        "n02.v2/1.png": "n02.v2",
        "n02.v2/x/2.png": "n02.v2",
        "sub/n03/1.png": "n03",
        "sub/n03/x/2.png": "n03",
    }
    assert len(bad) == 3
    one, _ = outcome(open_container("tar", tmp_path / f"set/n01{ending}", "shard"))
    assert sorted(one) == ["n01/1.png", "n01/x/2.png"]


def test_tar_refuses_cls_labels_that_are_not_there(tmp_path):
    path = make_tar(tmp_path / "a.tar", [("a.png", picture(0))])
    with pytest.raises(InputError, match="no image has a label"):
        outcome(open_container("tar", path, "cls"))


def test_tar_members_that_are_no_images_have_a_reason(tmp_path):
    odd = tarfile.TarInfo("pipe.png")
    odd.type = tarfile.FIFOTYPE
    path = make_tar(
        tmp_path / "a.tar",
        [
            ("a.png", picture(0)),
            ("notes.npy", b"123"),
            ("README", b"hello"),
            ("x/._a.png", b"finder"),
            (".git/a.png", picture(1)),
            ("/etc/a.png", picture(1)),
            ("../a.png", picture(1)),
            link("soft.png"),
            link("hard.png", tarfile.LNKTYPE),
            (odd, b""),
            ("./a.png", picture(2)),
            ("b\udcff.png", picture(3)),
        ],
    )
    good, bad = outcome(open_container("tar", path))
    assert good == {"a.png": (None, picture(0))}
    assert {name: reason.split(":")[0] for name, reason in bad.items()} == {
        "notes.npy": "not an image by its extension",
        "README": "not an image by its extension",
        "x/._a.png": "hidden file",
        ".git/a.png": "hidden file",
        "/etc/a.png": "absolute name",
        "../a.png": "name with '..'",
        "soft.png": "link inside a tar file",
        "hard.png": "link inside a tar file",
        "pipe.png": "not a regular file",
        "a.png": "same image id as the entry at a.tar",
        "b�.png": "name is not UTF-8",
    }


def test_tar_the_same_name_in_two_shards_is_used_once(tmp_path):
    for seed, shard in enumerate(("a", "b")):
        make_tar(tmp_path / f"{shard}.tar", [("x.png", picture(seed))])
    good, bad = outcome(open_container("tar", tmp_path))
    assert good == {"x.png": (None, picture(0))}
    assert bad == {"x.png": "same image id as the entry at a.tar:512: rename it"}


def damage(data, position):
    return data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1 :]


# Of an archive of three members of 1024 bytes each (a header, and 512 bytes of content).
DAMAGES = {
    "inside a member": lambda d: d[:1300],
    "inside a header": lambda d: d[:1124],
    "between members": lambda d: d[:1024],
    "before the end mark": lambda d: d[:3072],
    "bad header": lambda d: damage(d, 1030),
    "bad first header": lambda d: damage(d, 5),
    "two archives in one": lambda d: d + d,
    "empty file": lambda d: b"",
    "no tar": lambda d: b"<html>not found</html>" * 100,
    "bzip2": lambda d: b"BZh91AY" + d,
}
ZIPPED = {
    "cut": lambda d: d[: len(d) // 2],
    "checksum cut off": lambda d: d[:-4],
    "wrong checksum": lambda d: damage(d, len(d) - 6),
    "bad bits": lambda d: damage(d, len(d) // 2),
    "no gzip content": lambda d: d[:2] + b"nonsense" * 20,
}


@pytest.mark.parametrize("case", DAMAGES)
@pytest.mark.parametrize("zipped", [False, True])
def test_damaged_tar_is_refused(tmp_path, case, zipped):
    content = np.random.default_rng(0).bytes(512)
    make_tar(tmp_path / "a.tar", [(f"{i}.png", content) for i in range(3)])
    data = DAMAGES[case]((tmp_path / "a.tar").read_bytes())
    (tmp_path / "a.tar").write_bytes(gzip.compress(data) if zipped else data)
    with pytest.raises(InputError, match=r"a\.tar is (truncated, damaged|compressed)"):
        list(open_container("tar", tmp_path / "a.tar", "none").entries())


@pytest.mark.parametrize("case", ZIPPED)
def test_damaged_gzip_is_refused(tmp_path, case):
    content = np.random.default_rng(0).bytes(5120)
    make_tar(tmp_path / "a.tgz", [(f"{i}.png", content) for i in range(3)], "w:gz")
    (tmp_path / "a.tgz").write_bytes(ZIPPED[case]((tmp_path / "a.tgz").read_bytes()))
    with pytest.raises(InputError, match=r"a\.tgz is truncated, damaged"):
        list(open_container("tar", tmp_path / "a.tgz").entries())


def test_end_mark_can_be_added_as_the_message_says(tmp_path):
    path = make_tar(tmp_path / "a.tar", [("1.png", b"x" * 512)])
    path.write_bytes(path.read_bytes()[:1024])
    with pytest.raises(InputError, match=r"truncate -s \+1024"):
        list(open_container("tar", path).entries())
    path.write_bytes(path.read_bytes() + bytes(1024))
    assert [name for name, _ in open_container("tar", path).entries()] == ["1.png"]


@pytest.mark.parametrize("mode, message", [("w", "shorter than when"), ("w:gz", "damaged")])
def test_tar_that_shrank_after_listing(tmp_path, mode, message):
    content = np.random.default_rng(0).bytes(2048)
    path = make_tar(tmp_path / "a.tar", [(f"{i}.png", content) for i in range(2)], mode)
    container = open_container("tar", path)
    locator = list(container.entries())[1][1]
    path.write_bytes(path.read_bytes()[:1900])
    with pytest.raises(InputError, match=message):
        container.read(locator)


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_missing_and_empty_containers(tmp_path, kind):
    with pytest.raises(InputError, match="nowhere does not exist"):
        list(open_container(kind, tmp_path / "nowhere").entries())
    with pytest.raises(InputError, match=r"holds no \.(tar|parquet)"):
        list(open_container(kind, tmp_path).entries())
    make_tar(tmp_path / "a.tar", [])
    pq.write_table(pa.table({"image": pa.array([], pa.binary())}), tmp_path / "a.parquet")
    for labels in open_container(kind, tmp_path).label_modes:
        with pytest.raises(InputError, match="holds no images"):
            list(open_container(kind, tmp_path, labels).entries())


class Tape:
    """Five images of 10 bytes, in two files; remembers the order they are read in."""

    def __init__(self, sequential):
        self.sequential, self.seen = sequential, []
        places = {"a": ("x", 30), "b": ("y", 0), "c": ("x", 0), "d": ("y", 10), "e": ("x", 10)}
        self.locators = {
            name: {"name": name, "file": file, "offset": offset, "size": 10}
            for name, (file, offset) in places.items()
        }

    def read(self, locator):
        self.seen.append(locator["name"])
        if locator["name"] == "b":
            raise images.BadImage("no b")
        return locator["name"].upper()


@pytest.mark.parametrize(
    ("sequential", "held", "seen"),
    [(False, 100, "abcde"), (True, 100, "ceabd"), (True, 30, "cabed"), (True, 1, "abcde")],
)
def test_readers_keep_the_order_and_read_parts_as_they_are_stored(
    monkeypatch, sequential, held, seen
):
    monkeypatch.setattr(containers, "MAX_HELD", held)
    tape = Tape(sequential)
    found = []
    for read in containers.readers(tape, [tape.locators[name] for name in "abcde"]):
        try:
            found.append(read())
        except images.BadImage as reason:
            found.append(str(reason))
    assert found == ["A", "no b", "C", "D", "E"]
    assert "".join(tape.seen) == seen


def test_readers_read_no_further_than_they_must(monkeypatch):
    tape = Tape(sequential=True)
    reads = containers.readers(tape, [tape.locators[name] for name in "ceabd"])
    for count in range(1, 6):
        next(reads)
        assert len(tape.seen) == count


def test_image_readers_of_a_folder_and_of_an_image_that_is_gone(folder, tmp_path):
    (read,) = containers.image_readers(["cat/1.png"], folder)
    assert read() == folder / "cat/1.png"
    make_tar(tmp_path / "a.tar", [("1.png", picture(1))])
    container = open_container("tar", tmp_path / "a.tar")
    rows = [container.describe(*entry) for entry in container.entries()]
    meta = {"kind": "tar", "labels": None, "options": {}}
    containers.write_locators(tmp_path / "locators.parquet", rows, meta)
    first, second = containers.image_readers(
        ["1.png", "2.png"], tmp_path / "a.tar", [tmp_path / "locators.parquet"]
    )
    assert first() == picture(1)
    with pytest.raises(images.BadImage, match="no longer in its container"):
        second()


@pytest.mark.parametrize("zipped", [(), (0,), (0, 1)])
def test_a_set_of_tars_is_sequential_if_one_is_compressed(tmp_path, zipped):
    for i in range(2):
        make_tar(tmp_path / f"{i}.tar", [(f"{i}.png", b"")], "w:gz" if i in zipped else "w")
    assert open_container("tar", tmp_path).sequential == bool(zipped)


def test_unknown_kinds_and_labels(tmp_path):
    with pytest.raises(InputError, match="'zip' must be one of folder, list, tar, parquet"):
        open_container("zip", tmp_path)
    with pytest.raises(InputError, match="'cls' must be one of column, subfolder, none"):
        open_container("list", tmp_path, "cls")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_list(folder, kind):
    absolute = str(folder / "top.webp")
    paths = [*IDS[:3], absolute, "gone.png", "cat", "../x.png", "/etc/x.png", "./cat/1.png", ""]
    labels = ["007", "NA", "", "null", *"abcdef"]
    path = folder / f"list.{kind}"
    if kind == "csv":
        rows = [f'"{path}",x,{label}' for path, label in zip(paths, labels, strict=True)]
        path.write_text("\n".join(["path,extra,label", *rows]), encoding="utf-8-sig")
    else:
        pq.write_table(pa.table({"path": paths, "label": labels}), path)
    good, bad = outcome(open_container("list", path))
    names = ["007", "NA", None, "null"]
    assert good == {i: (n, (folder / i).read_bytes()) for i, n in zip(IDS, names, strict=True)}
    assert {name: reason.split(":")[0] for name, reason in bad.items()} == {
        "gone.png": "cannot be opened",
        "cat": "not a regular file",
        "../x.png": "name with '..'",
        "/etc/x.png": "absolute name",
        "cat/1.png": "same image id as the entry at cat/1.png",
        "row 9": "no path in the list",
    }


def test_list_with_root_and_labels_of_every_type(folder, tmp_path):
    path = tmp_path / "elsewhere.parquet"
    columns = {
        "texts": pa.array(["a", None]),
        "integers": pa.array([3, None]),
        "categories": pa.array(["a", None]).dictionary_encode(),
    }
    for kind, labels in columns.items():
        pq.write_table(pa.table({"path": IDS[:2], "label": labels}), path)
        good, _ = outcome(open_container("list", path, root=folder))
        assert [good[i][0] for i in IDS[:2]] == ["3" if kind == "integers" else "a", None]
    good, _ = outcome(open_container("list", path, "subfolder", root=folder))
    assert {label for label, _ in good.values()} == {"cat"}
    pq.write_table(pa.table({"path": IDS[:2], "label": [0.5, 1.5]}), path)
    with pytest.raises(InputError, match="'label' must hold texts or integers, not double"):
        outcome(open_container("list", path, root=folder))


def test_list_as_openood_writes_it(folder, tmp_path):
    lines = ["cat/1.png 281", "  cat/deep/2 é.v2.jpg\t7 ", "dog/3.JPEG -1", "", "top.webp\r"]
    lines += [f"{LONG}  zero", "gone 1.png 2", "my folder/gone too.png"]
    path = tmp_path / "test.txt"
    path.write_bytes("\n".join(lines).encode("utf-8-sig"))
    container = open_container("list", path, root=folder)
    good, bad = outcome(container)
    labels = {name: label for name, (label, _) in good.items()}
    assert labels == dict(zip([*IDS, LONG], ["281", "7", None, None, "zero"], strict=True))
    assert good[IDS[1]][1] == (folder / IDS[1]).read_bytes()
    assert set(bad) == {"gone 1.png", "my folder/gone too.png"}
    assert "No such file" in bad["gone 1.png"]
    assert container.files() == [*IDS, LONG, "gone 1.png", "my folder/gone too.png"]


def test_list_in_another_encoding_is_refused(folder, tmp_path):
    path = tmp_path / "test.txt"
    path.write_bytes("é.png 1".encode("latin-1"))
    with pytest.raises(InputError, match=r"test.txt is not a readable list"):
        list(open_container("list", path, root=folder).entries())


@pytest.mark.parametrize(
    "text, message",
    [
        (b"file,label\na.png,x\n", "no column 'path' .columns: file, label"),
        (b"", "not a readable table"),
        (b"path,label\na.png,x,y\n", "not a readable table"),
        (b"path\n\xff\xfe.png\n", "not a readable table"),
        (b"path,label\n", "holds no images"),
    ],
)
def test_bad_lists(tmp_path, text, message):
    (tmp_path / "list.csv").write_bytes(text)
    with pytest.raises(InputError, match=message):
        list(open_container("list", tmp_path / "list.csv").entries())


def write_datasets(path, rows, labels, names=None, group=2, column="image"):
    """A Parquet file as Hugging Face datasets writes one; rows: structs of bytes and path."""
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"id": range(len(rows)), column: pa.array(rows, kind), "label": labels})
    feature = {"_type": "ClassLabel", "names": names} if names else {"_type": "Value"}
    features = {column: {"_type": "Image"}, "label": feature}
    meta = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    pq.write_table(table.replace_schema_metadata(meta), path, row_group_size=group)


def row(seed, path=None):
    return {"bytes": picture(seed), "path": path}


def test_parquet_of_datasets(tmp_path):
    rows = [row(0, "cat/0.png"), None, {"bytes": None, "path": "b.png"}, row(3), row(4, "../x.png")]
    rows += [row(5, "cat/0.png"), row(6, "six.png"), row(7, "seven.png")]
    write_datasets(
        tmp_path / "a.parquet", rows, [1, 0, 0, 0, 0, 0, -1, 2], ["dog", "cat"], column="picture"
    )
    good, bad = outcome(open_container("parquet", tmp_path / "a.parquet"))
    assert good == {
        "cat/0.png": ("cat", picture(0)),
        "a/00000003": ("dog", picture(3)),
        "six.png": (None, picture(6)),
    }
    assert bad == {
        "a/00000001": "no image in this row (null)",
        "b.png": "no image in this row (null)",
        "../x.png": "name with '..': make it relative to the set's folder",
        "cat/0.png": "same image id as the entry at a.parquet:0: set ids to 'row'",
        "seven.png": "label 2 is none of the 2 classes",
    }
    good, bad = outcome(open_container("parquet", tmp_path / "a.parquet", "subfolder", ids="row"))
    assert good["a/00000005"] == ("a", picture(5))
    assert len(good) == 6


def test_parquet_files_in_any_order_and_from_threads(tmp_path):
    for part in range(2):
        rows = [row(10 * part + i) for i in range(10)]
        write_datasets(tmp_path / f"{part}.parquet", rows, ["x", None] * 5, group=3)
    container = open_container("parquet", tmp_path)
    listed = list(container.entries())
    assert [i for i, _ in listed] == [f"{p}/{i:08d}" for p in range(2) for i in range(10)]
    assert [locator["label"] for _, locator in listed] == ["x", None] * 10
    order = np.random.default_rng(0).permutation(20)
    with ThreadPoolExecutor(8) as pool:
        contents = list(pool.map(lambda i: container.read(listed[i][1]), order))
    assert contents == [picture(i) for i in order]


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_parquet_with_a_plain_binary_column(tmp_path, kind):
    jpg = pa.array([picture(0), None], kind)
    pq.write_table(
        pa.table({"jpg": jpg, "name": ["a", "b"], "label": [3, 4]}), tmp_path / "a.parquet"
    )
    good, bad = outcome(open_container("parquet", tmp_path / "a.parquet"))
    assert good == {"a/00000000": ("3", picture(0))}
    assert bad == {"a/00000001": "no image in this row (null)"}
    good, _ = outcome(open_container("parquet", tmp_path / "a.parquet", image="jpg", label="name"))
    assert good == {"a/00000000": ("a", picture(0))}


def test_parquet_with_wrong_columns(tmp_path):
    path = tmp_path / "a.parquet"
    two = {"x": pa.array([b""]), "y": pa.array([b""]), "label": [0.5]}
    pq.write_table(pa.table(two), path)
    with pytest.raises(InputError, match=r"which column holds the images.*x \(binary\), y"):
        outcome(open_container("parquet", path))
    with pytest.raises(InputError, match="which column holds the images"):
        outcome(open_container("parquet", path, image="label"))
    with pytest.raises(InputError, match=r"has no column 'klass' \(columns: x, y, label\)"):
        outcome(open_container("parquet", path, image="x", label="klass"))
    with pytest.raises(InputError, match="must hold texts or integers, not double"):
        outcome(open_container("parquet", path, image="x"))
    with pytest.raises(InputError, match="must be 'path' or 'row'"):
        open_container("parquet", path, ids="name")


def test_damaged_and_too_large_parquet(tmp_path, monkeypatch):
    path = tmp_path / "a.parquet"
    write_datasets(path, [row(i) for i in range(4)], [0] * 4)
    container = open_container("parquet", path)
    listed = list(container.entries())
    monkeypatch.setattr(containers, "MAX_ROW_GROUP", 100)
    with pytest.raises(InputError, match="row_group_size"):
        container.read(listed[0][1])
    monkeypatch.undo()
    write_datasets(path, [row(0)], [0])
    with pytest.raises(InputError, match="shorter than when it was listed"):
        container.read(listed[3][1])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="not a readable Parquet file"):
        container.read(listed[0][1])
    with pytest.raises(InputError, match="not a readable Parquet file"):
        list(container.entries())
