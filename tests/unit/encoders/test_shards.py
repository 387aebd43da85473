"""Shards of one job: none that is finished is embedded again, and the outputs are as if at once."""

import numpy as np
import pyarrow as pa
import pytest

from workflow_scripts.lib.artifacts import read_meta, read_table
from workflow_scripts.lib.embeddings import IMAGE_INDEX
from workflow_scripts.lib.encoders.shards import ENDINGS, Shards
from workflow_scripts.lib.images.manifest import QUARANTINE

SIZES = {"a": (3, 1), "b": (0, 0), "c": (2, 2), "d": (4, 0)}  # images, and those in quarantine


def shard(name):
    """Rows, index and quarantine of a shard, which differ from those of the others."""
    images, bad = SIZES[name]
    rows = np.random.default_rng(ord(name)).normal(size=(images, 5)).astype(np.float16)
    index = [{"image_id": f"{name}/{i}", "label": name, "sha256": None} for i in range(images)]
    rejected = [{"image_id": f"{name}/x{i}", "lost": True} for i in range(bad)]
    return (
        rows,
        pa.Table.from_pylist(index, schema=IMAGE_INDEX),
        pa.Table.from_pylist(rejected, schema=QUARANTINE),
    )


def run(folder, names, kill_before=None):
    """A job of these shards, as Snakemake starts it; returns the names of those it embedded."""
    for ending in ENDINGS:
        (folder / f"00000{ending}").unlink(missing_ok=True)
    shards = Shards(folder / "00000.npy", list(names))
    added = ""
    for name in names:
        if name == kill_before:
            return added
        if name not in shards:
            rows, index, quarantine = shard(name)
            note = shards.write(name, [rows[:1], rows[1:]], 5)
            shards.finish(name, note, index, quarantine)
            added += name
    shards.join({"made": "here"})
    return added


def outputs(folder):
    return [(folder / f"00000{ending}").read_bytes() for ending in ENDINGS]


def test_shards_are_joined_in_order(tmp_path):
    assert run(tmp_path, "abcd") == "abcd"
    parts = [shard(name) for name in "abcd"]
    np.testing.assert_array_equal(
        np.load(tmp_path / "00000.npy"), np.concatenate([rows for rows, _, _ in parts])
    )
    for part, ending in ((1, ".parquet"), (2, ".quarantine.parquet")):
        expected = [row for found in parts for row in found[part].to_pylist()]
        assert read_table(tmp_path / f"00000{ending}").to_pylist() == expected
    meta = read_meta(tmp_path / "00000.parquet")
    assert meta.pop("array")["shape"] == [sum(len(rows) for rows, _, _ in parts), 5]
    assert meta == {"made": "here"}


def test_a_killed_job_goes_on_and_ends_with_the_same_bytes(tmp_path):
    run(tmp_path / "once", "abcd")
    assert run(tmp_path / "twice", "abcd", kill_before="c") == "ab"
    assert run(tmp_path / "twice", "abcd") == "cd"
    assert outputs(tmp_path / "twice") == outputs(tmp_path / "once")


def test_a_half_written_shard_is_embedded_again(tmp_path):
    run(tmp_path, "ab", kill_before="b")
    (tmp_path / "00000.shards/a.parquet").unlink()  # the index is written last
    assert run(tmp_path, "ab") == "ab"


def test_shards_that_stayed_are_taken_over(tmp_path):
    run(tmp_path / "once", "bcd")
    assert run(tmp_path / "changed", "abc") == "abc"
    assert run(tmp_path / "changed", "bcd", kill_before="d") == ""
    assert run(tmp_path / "changed", "bcd") == "d"
    assert outputs(tmp_path / "changed") == outputs(tmp_path / "once")
    assert run(tmp_path / "changed", "bcd") == ""


def test_second_names_take_no_space_and_single_shards_have_none(tmp_path):
    run(tmp_path / "one", "a")
    assert len(list((tmp_path / "one").iterdir())) == 3
    run(tmp_path / "two", "ab")
    kept = {file.name for file in (tmp_path / "two/00000.shards").iterdir()}
    assert kept == {f"last{ending}" for ending in (*ENDINGS, ".json")}
    for ending in ENDINGS:
        assert (tmp_path / f"two/00000{ending}").samefile(
            tmp_path / f"two/00000.shards/last{ending}"
        )


@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_is_taken_from_outputs_that_were_edited(tmp_path, ending):
    run(tmp_path, "ac")
    with (tmp_path / f"00000{ending}").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"?")
    assert run(tmp_path, "ac") == "ac"
