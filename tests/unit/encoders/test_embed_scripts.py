import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from listed_sets import run_embed, run_list
from tiny_checkpoint import load

from workflow_scripts.embed_texts import embed_texts
from workflow_scripts.lib.artifacts import read_meta, write_table
from workflow_scripts.lib.embeddings import check_same_encoder, open_embeddings
from workflow_scripts.lib.encoders import stream
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images.decode import open_rgb


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
    encoder = load({"checkpoint": checkpoint, "device": "cpu"})
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


def embedded(embed, reads):
    blocks, bad = embed(reads)
    return np.concatenate(list(blocks)), bad


def test_any_number_of_threads_embeds_alike(folder, checkpoint):
    encoder = load({"checkpoint": checkpoint, "device": "cpu", "batch_size": 3})
    paths = 4 * sorted(path for path in folder.rglob("*") if path.is_file())
    assert len(paths) > 2 * stream.CHUNK  # several processes have work
    reads = [partial(Path, path) for path in paths]
    with stream.embedding(encoder, threads=1) as embed:
        one, bad = embedded(embed, reads)
    with stream.embedding(encoder, threads=3) as embed:
        several, also_bad = embedded(embed, reads)
        again, _ = embedded(embed, reads)  # by the same processes
    np.testing.assert_array_equal(one, again)
    np.testing.assert_array_equal(one, several)
    assert {i: str(reason) for i, reason in bad.items()} == {
        i: str(reason) for i, reason in also_bad.items()
    }
    assert bad and len(one) + len(bad) == len(paths)


def test_prefetched_keeps_order_and_never_runs_further_ahead():
    started = []
    with ThreadPoolExecutor(2) as pool:
        results = stream.prefetched(lambda i: started.append(i) or i * i, range(20), pool, ahead=4)
        taken = []
        for result in results:
            taken.append(result)
            assert len(started) <= len(taken) - 1 + 4
    assert taken == [i * i for i in range(20)]
    assert list(stream.batched(range(5), 2)) == [[0, 1], [2, 3], [4]]


def test_a_killed_process_ends_the_job_with_a_message():
    with (
        stream.decoders(2, None) as pool,
        pytest.raises(InputError, match="that decodes images was killed"),
    ):
        list(stream.prefetched(os._exit, [1], pool, ahead=2))


def test_a_hung_process_ends_the_job_with_a_message(monkeypatch):
    monkeypatch.setattr(stream, "PATIENCE_SECONDS", 0.2)
    with (
        stream.decoders(2, None) as pool,
        pytest.raises(InputError, match=r"that decodes images hangs.*run again"),
    ):
        list(stream.prefetched(time.sleep, [0, 99], pool, ahead=2))


def test_an_image_changed_since_listing_is_refused(folder, tmp_path, checkpoint):
    manifest = run_list(folder, tmp_path / "list", shards=1)
    shutil.copy(folder / "red fox/image 1.png", folder / "red fox/image 3.png")
    with pytest.raises(InputError, match=r"image 3.png changed after it was listed: run again"):
        run_embed(manifest, folder, checkpoint, tmp_path / "out")


@pytest.mark.parametrize("shards", [1, 3])
def test_a_disk_that_fails_ends_the_job_and_loses_no_image(folder, tmp_path, checkpoint, shards):
    manifest, out = run_list(folder, tmp_path / "list", shards=shards), tmp_path / "out"
    numbers = {row["image_id"]: row["shard"] for row in pq.read_table(manifest).to_pylist()}
    name = max(filter(re.compile("red fox").match, numbers), key=numbers.get)
    assert bool(numbers[name]) == (shards > 1), "with several shards, some are finished before"
    names = {number: f"shard{number}" for number in range(shards)}
    path = folder / name
    content = path.read_bytes()
    path.unlink()
    path.symlink_to("/proc/self/mem")  # reading its first page is an error of the system, EIO
    message = f"{path} cannot be read now (Input/output error): run again"
    with pytest.raises(InputError, match=re.escape(message)):
        run_embed(manifest, folder, checkpoint, out, names=names)
    finished = {file.name for file in out.rglob("*") if file.is_file()}
    before = range(numbers[name])
    endings = (".npy", ".parquet", ".quarantine.parquet")
    assert finished == {f"shard{number}{ending}" for number in before for ending in endings}

    path.unlink()
    path.write_bytes(content)
    again = run_embed(manifest, folder, checkpoint, out, names=names)
    clean = run_embed(manifest, folder, checkpoint, tmp_path / "clean", names=names)
    assert [file.read_bytes() for file in again] == [file.read_bytes() for file in clean]
    assert pq.read_table(again[2])["image_id"].to_pylist() == ["dög/image 4.png"]
    assert name in pq.read_table(again[1])["image_id"].to_pylist()


def test_processes_end_with_a_job_that_is_killed():
    code = (
        "import os, signal, time\n"
        "from workflow_scripts.lib.encoders import stream\n"
        "pool = stream.decoders(2, None)\n"
        "print(*{pool.submit(os.getpid).result() for _ in range(20)}, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    job = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert job.returncode == -signal.SIGKILL, job.stderr
    processes = [Path("/proc", pid) for pid in job.stdout.split()]
    assert processes
    for _ in range(200):
        if not any(map(_runs, processes)):
            return
        time.sleep(0.05)
    raise AssertionError(f"{processes} still run")


def _runs(process):
    """Whether a folder of /proc is that of a process that has not ended."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_embed_texts_and_images_share_the_encoder(folder, tmp_path, checkpoint):
    table = pa.table(
        {"concept": ["fox", "red"], "pos": ["noun", "adjective"], "source": ["a", "b"]}
    )
    write_table(tmp_path / "corpus.parquet", table)
    cfg = {
        "encoder": {"method": "open_clip", "checkpoint": checkpoint, "device": "cpu"},
        "prompts": {"noun": ["a {}.", "the {}."], "default": ["{} things"]},
    }
    npy, index = tmp_path / "t.npy", tmp_path / "t.parquet"
    embed_texts(tmp_path / "corpus.parquet", [], cfg, npy, index)
    encoder = load(cfg["encoder"])
    expected = encoder.encode_prompts([["a fox.", "the fox."], ["red things"]])
    assert np.load(npy).dtype == np.float16
    assert np.allclose(np.load(npy), expected, atol=1e-3)
    assert pq.read_table(index).to_pylist() == table.to_pylist()
    assert read_meta(index)["params"] == cfg

    manifest = run_list(folder, tmp_path / "list", shards=1)
    _, image_index, _ = run_embed(manifest, folder, checkpoint, tmp_path / "out")
    check_same_encoder(read_meta(image_index), read_meta(index))


@pytest.mark.parametrize("block", [1, 3, 5, 100])
def test_embed_texts_in_blocks_is_all_prompts_at_once(tmp_path, checkpoint, monkeypatch, block):
    """Against prompts written out here, in the same blocks: their size may turn a last bit."""
    words = [f"{colour} {thing}" for colour in ("red", "old") for thing in ("fox", "owl", "oak")]
    pos = ["noun", "verb", "adjective", "noun", "adjective", "noun"]
    table = pa.table({"concept": words, "pos": pos, "source": ["a"] * 6})
    write_table(tmp_path / "corpus.parquet", table)
    encoder = {"method": "open_clip", "checkpoint": checkpoint, "device": "cpu"}
    templates = {"noun": ["a {}.", "the {}."], "adjective": ["{}!"], "default": ["to {}"]}
    cfg, npy = {"encoder": encoder, "prompts": templates}, tmp_path / "t.npy"
    monkeypatch.setattr("workflow_scripts.embed_texts.BLOCK", block)
    embed_texts(tmp_path / "corpus.parquet", [], cfg, npy, tmp_path / "t.parquet")
    forms = {"noun": ["a {}.", "the {}."], "adjective": ["{}!"], "verb": ["to {}"]}
    prompts = [[form.format(word) for form in forms[p]] for word, p in zip(words, pos, strict=True)]
    encode = load(encoder).encode_prompts
    rows = np.concatenate([encode(prompts[i : i + block]) for i in range(0, 6, block)])
    np.save(tmp_path / "expected.npy", rows.astype(np.float16))
    assert npy.read_bytes() == (tmp_path / "expected.npy").read_bytes()


def test_embed_texts_holds_the_prompts_of_one_block(tmp_path, monkeypatch):
    """100 of 3,000 concepts, at 10 templates of 1 kB: 1 MB of 30."""
    n, templates = 3000, [f"{i} {'x' * 1000} {{}}" for i in range(10)]
    table = pa.table(
        {"concept": [str(i) for i in range(n)], "pos": ["noun"] * n, "source": ["a"] * n}
    )
    write_table(tmp_path / "corpus.parquet", table)

    class Encoder:
        dim = 2

        def encode_prompts(self, prompts):
            return np.ones((len(prompts), 2), np.float16)

        def describe(self):
            return {}

    monkeypatch.setattr("workflow_scripts.embed_texts.BLOCK", 100)
    monkeypatch.setattr("workflow_scripts.embed_texts.load_encoder", lambda *_, **__: Encoder())
    cfg, out = {"encoder": {}, "prompts": {"default": templates}}, tmp_path / "t.npy"
    tracemalloc.start()
    try:
        embed_texts(tmp_path / "corpus.parquet", [], cfg, out, tmp_path / "t.parquet")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(np.load(out)) == n
    assert peak < 8e6


def test_a_part_of_speech_without_templates_is_refused_before_the_model_is_loaded(tmp_path):
    table = pa.table({"concept": ["a", "b"], "pos": ["noun", "verb"], "source": ["x", "x"]})
    write_table(tmp_path / "corpus.parquet", table)
    cfg = {"encoder": {"method": "open_clip", "model": "none"}, "prompts": {"noun": ["a {}"]}}
    with pytest.raises(InputError, match="no templates for 'verb'"):
        embed_texts(
            tmp_path / "corpus.parquet", [], cfg, tmp_path / "t.npy", tmp_path / "t.parquet"
        )


def test_embed_texts_warns_of_templates_that_no_concept_has(tmp_path, checkpoint, caplog):
    table = pa.table({"concept": ["red fox"], "pos": ["conjugated"], "source": ["a"]})
    write_table(tmp_path / "phrases.parquet", table)
    encoder = {"method": "open_clip", "checkpoint": checkpoint, "device": "cpu"}
    cfg = {"encoder": encoder, "prompts": {"default": ["a {}"], "adjective": ["the {}"]}}
    embed_texts(tmp_path / "phrases.parquet", [], cfg, tmp_path / "t.npy", tmp_path / "t.parquet")
    warning = "phrases.parquet has the pos 'adjective', only 'conjugated'"
    assert "prompts.adjective is not used: no concept of" in caplog.text and warning in caplog.text


def test_metadata_is_json_of_builtin_types(folder, tmp_path, checkpoint):
    manifest = run_list(folder, tmp_path / "list", shards=1)
    _, index, _ = run_embed(manifest, folder, checkpoint, tmp_path / "out")
    stored = json.loads(pq.read_schema(index).metadata[b"clustermine"])
    assert stored["encoder"]["dim"] == 16
    assert stored["encoder"]["versions"]["open_clip_torch"]
