"""Tar shards give the ids and bytes of a folder, and lose no member without a word."""

import gzip
import hashlib
import json
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import numpy as np
import pytest
from image_files import list_rows, make_folder, make_tar, outcome, picture

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images import tar
from workflow_scripts.lib.images.containers import open_container
from workflow_scripts.lib.images.tar import split_key


@pytest.fixture
def folder(tmp_path):
    return make_folder(tmp_path / "photos")


def link(name, kind=tarfile.SYMTYPE):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, "a.png"
    return member, b""


@pytest.mark.parametrize("tar_format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("name, mode", [("a.tar", "w"), ("a.tar.gz", "w:gz"), ("a.tgz", "w:gz")])
@pytest.mark.parametrize("prefix", [".", ""])
def test_tar_equals_folder(folder, tmp_path, name, mode, tar_format, prefix):
    with tarfile.open(tmp_path / name, mode, format=tar_format) as archive:
        archive.add(folder, prefix)
    good, bad = outcome(open_container("tar", tmp_path / name))
    expected, _ = list_rows(folder)
    assert not bad
    assert sorted(good) == list(expected)
    for row in expected.values():
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
        assert asdict(locator) | {"offset": 0, "size": 0} == {
            "file": "a.tar", "offset": 0, "size": 0, "label": "x", "reason": None, "member": None
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
    monkeypatch.setattr(tar, "OPEN_STREAMS", 2)
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
    assert bad == {
        "x.png": "same image id as the entry at a.tar:512: set ids to 'shard', or rename it"
    }
    good, bad = outcome(open_container("tar", tmp_path, ids="shard"))
    assert good == {"a/x.png": (None, picture(0)), "b/x.png": (None, picture(1))}
    assert not bad


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


@pytest.mark.parametrize("zipped", [(), (0,), (0, 1)])
def test_a_set_of_tars_is_sequential_if_one_is_compressed(tmp_path, zipped):
    for i in range(2):
        make_tar(tmp_path / f"{i}.tar", [(f"{i}.png", b"")], "w:gz" if i in zipped else "w")
    assert open_container("tar", tmp_path).sequential == bool(zipped)


def test_a_zip_file_is_refused_by_its_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.tar", "w") as archive:
        archive.writestr("x.png", picture(0))
    with pytest.raises(InputError, match=r"a.tar is a zip file"):
        outcome(open_container("tar", tmp_path / "a.tar"))
