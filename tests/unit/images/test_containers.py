"""What all containers have in common, and reading them in order."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from image_files import make_folder, make_tar, picture

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images import containers
from workflow_scripts.lib.images.containers import open_container
from workflow_scripts.lib.images.decode import BadImage
from workflow_scripts.lib.images.listing import scan
from workflow_scripts.lib.images.manifest import shard_of


@pytest.fixture
def folder(tmp_path):
    return make_folder(tmp_path / "photos")


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
            raise BadImage("no b")
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
        except BadImage as reason:
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
    cfg = {"kind": "folder", "labels": None, "options": {}, "shards": 2}
    locators = tmp_path / "locators.parquet"
    containers.write_locators(locators, scan(folder, cfg), cfg)
    (read,) = containers.image_readers(["cat/1.png"], folder, locators)
    assert read() == folder / "cat/1.png"

    names = [f"{i}.png" for i in range(8)]
    make_tar(tmp_path / "a.tar", [(name, picture(i)) for i, name in enumerate(names)])
    cfg["kind"] = "tar"
    containers.write_locators(locators, scan(tmp_path / "a.tar", cfg), cfg)
    *reads, last = containers.image_readers([*names, "gone.png"], tmp_path / "a.tar", locators)
    assert [read() for read in reads] == [picture(i) for i in range(8)]
    with pytest.raises(BadImage, match="no longer in its container"):
        last()
    own = [name for name in names if shard_of(name, 2) == 1]
    reads = containers.image_readers(own, tmp_path / "a.tar", locators, shard=1)
    assert [read() for read in reads] == [picture(names.index(name)) for name in own]


def test_unknown_labels(tmp_path):
    with pytest.raises(InputError, match="'cls' must be one of column, subfolder, none"):
        open_container("list", tmp_path, "cls")
