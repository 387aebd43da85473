"""Faults of disks, memory, files and clocks: each ends in one sentence, or heals itself.

The sentence names the file and what to do; results are never wrong. Most cases call a function on
files that were damaged. The full form also runs a job of every rule of the miniature project on a
full and on a read-only disk, a small tmpfs, which takes root; without it only the functions are
tried, on files that may not grow.
"""

import contextlib
import functools
import json
import os
import pickle
import platform
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from campaign import TESTS, Case, main
from projects import HOLD_TIMES, make_project

from workflow_scripts.lib import artifacts, locking
from workflow_scripts.lib.clustering.graph import read_neighbours
from workflow_scripts.lib.concepts.positives import check_centres
from workflow_scripts.lib.embeddings import open_embeddings
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images.listed import as_listed
from workflow_scripts.lib.images.manifest import read_shard
from workflow_scripts.lib.images.state import fingerprint
from workflow_scripts.lib.recipes import notes_are_lost
from workflow_scripts.lib.replacing import replacing
from workflow_scripts.lib.sources import Sources

TITLE = "Faults"
ARTIFACTS = "unit/test_artifacts.py::test_"
EMBEDDING = "unit/encoders/test_embed_scripts.py::test_"
FOUND = {
    "a flipped bit in an array": f"{ARTIFACTS}damaged_and_foreign_arrays_are_refused",
    "an array of another run": f"{ARTIFACTS}damaged_and_foreign_arrays_are_refused",
    "two shards swapped": f"{ARTIFACTS}swapped_shards_are_refused",
    "neighbours of other embeddings": f"{ARTIFACTS}neighbours_of_other_embeddings_are_refused",
    "a damaged Parquet file that lost rows, a cut one": f"{ARTIFACTS}a_damaged_table_is_named",
    "a full disk: traceback or SIGBUS": f"{ARTIFACTS}a_file_that_may_not_grow_leaves_nothing",
    "a read-only disk, short memory: traceback": f"{ARTIFACTS}what_errors_of_libraries_mean",
    "a hung process: for ever": f"{EMBEDDING}a_hung_process_ends_the_job_with_a_message",
    "an image changed since listing": f"{EMBEDDING}an_image_changed_since_listing_is_refused",
    "lost notes hid a change": "test_earlier_runs.py::test_lost_notes_of_snakemake_are_said",
}

FLIPS = 100  # bits, one at a time
PAGE = 4096


def refused(words, function, *arguments, **named):
    """Assert that a call raises an InputError: one sentence with all of these words."""
    try:
        function(*arguments, **named)
    except InputError as error:
        text = str(error)
        missing = [word for word in map(str, words) if word not in text]
        assert not missing, f"{text!r} does not say {missing}"
        assert "\n" not in text.strip(), f"more than one line: {text!r}"
        return
    raise AssertionError(f"{function.__name__} of {arguments} was not refused")


# ---- damaged and mixed-up files ------------------------------------------------------------------


def stored(folder, seed=0, shards=2):
    """Embeddings in shards: (arrays, indexes), as the workflow stores them."""
    rng, stems = np.random.default_rng(seed), []
    for shard in range(shards):
        stem = folder / f"results/embeddings/clip/images/photos/{shard:05d}"
        note = artifacts.write_array(f"{stem}.npy", rng.normal(size=(9, 8)).astype(np.float16))
        ids = [f"{shard}/{i}.png" for i in range(9)]
        artifacts.write_table(f"{stem}.parquet", {"image_id": ids}, {"array": note})
        stems.append(stem)
    return [f"{stem}.npy" for stem in stems], [f"{stem}.parquet" for stem in stems]


def flip(path, rng):
    """Flip a bit of a file. Returns its bytes before."""
    before = Path(path).read_bytes()
    changed = bytearray(before)
    changed[rng.integers(len(changed))] ^= 1 << rng.integers(8)
    Path(path).write_bytes(changed)
    return before


def flipped_array(folder):
    arrays, indexes = stored(folder)
    before, rng = open_embeddings(arrays, indexes).array(), np.random.default_rng(1)
    for _ in range(FLIPS):
        content = flip(arrays[1], rng)
        try:
            found = open_embeddings(arrays, indexes).array()
        except InputError as error:
            assert arrays[1] in str(error) and "run again" in str(error), error
        else:  # a blank of the header
            np.testing.assert_array_equal(found, before)
        Path(arrays[1]).write_bytes(content)


READ = """
import sys
from workflow_scripts.lib.artifacts import read_meta, read_table
from workflow_scripts.lib.errors import InputError
try:
    print(read_table(sys.argv[1]).to_pydict(), read_meta(sys.argv[1]))
except InputError as error:
    print("refused", error)
"""


def flipped_parquet(folder):
    """In a process of its own, since a damaged file could bring down the reader."""
    _, (path, _) = stored(folder)
    environment = os.environ | {"PYTHONPATH": str(TESTS.parent)}

    def read():
        done = subprocess.run([sys.executable, "-c", READ, path], env=environment, text=True,
                              capture_output=True, check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr[-500:]
        return done.stdout

    before, rng = read(), np.random.default_rng(1)
    for _ in range(FLIPS):
        content = flip(path, rng)
        after = read()
        named = after.startswith("refused") and path in after and "run again" in after
        assert after == before or named, after
        Path(path).write_bytes(content)


def cut_parquet(folder):
    _, (path, _) = stored(folder)
    content = Path(path).read_bytes()
    for size in [0, 3, 4, *range(8, len(content), len(content) // 16), len(content) - 1]:
        Path(path).write_bytes(content[:size])
        for read in (artifacts.read_table, artifacts.read_meta, artifacts.number_of_rows):
            refused([path, "run again"], read, path)
        refused([path, "run again"], read_shard, path, 0)


def cut_array(folder):
    arrays, indexes = stored(folder)
    content = Path(arrays[0]).read_bytes()
    for size in [0, 5, 64, 127, 128, len(content) - 1]:
        Path(arrays[0]).write_bytes(content[:size])
        refused([arrays[0], "run again"], open_embeddings, arrays, indexes)


def swap(one, other):
    Path(one).rename(f"{one}.old")
    Path(other).rename(one)
    Path(f"{one}.old").rename(other)


def swapped(folder, kinds):
    files = stored(folder)
    for kind in kinds:
        swap(*files[kind])
    refused(["00000", "run again"], open_embeddings, *files)


def other_run(folder):
    """An array of another run, of the same shape and type."""
    arrays, indexes = stored(folder)
    others, _ = stored(folder / "other", seed=7)
    shutil.copy(others[0], arrays[0])
    refused([arrays[0], indexes[0], "run again"], open_embeddings, arrays, indexes)


def other_neighbours(folder):
    images = open_embeddings(*stored(folder))
    path, about = folder / "results/k3.npy", folder / "results/k3.json"
    note = artifacts.write_array(path, np.zeros((18, 3), np.int32))
    artifacts.write_text(about, json.dumps({"array": note, "embeddings": images.digest}))
    assert len(read_neighbours(path, about, images)) == 18
    others = open_embeddings(*stored(folder, seed=8))
    refused([path, "run again"], read_neighbours, path, about, others)
    artifacts.write_array(path, np.ones((18, 3), np.int32))
    refused([path, about, "run again"], read_neighbours, path, about, images)


def other_centres(folder):
    clusters, about = folder / "clusters.parquet", folder / "seed0.json"
    artifacts.write_table(clusters, {"cluster": [0, 1]})
    artifacts.write_text(about, json.dumps({"clusters": artifacts.crc32_of(clusters)}))
    check_centres("seed0.npy", about, clusters)
    artifacts.write_table(clusters, {"cluster": [1, 0]})
    refused(["seed0.npy", clusters, "run again"], check_centres, "seed0.npy", about, clusters)


# ---- disks ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def small_disk(folder, pages=2048):
    """A disk of so many pages, mounted here."""
    folder.mkdir(parents=True, exist_ok=True)
    mount("-t", "tmpfs", "-o", f"size={pages * PAGE}", "tmpfs", folder)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def mount(*arguments):
    subprocess.run(["mount", *map(str, arguments)], check=True, capture_output=True)


@functools.cache
def can_mount():
    with tempfile.TemporaryDirectory() as folder:
        try:
            with small_disk(Path(folder)):
                return True
        except (OSError, subprocess.CalledProcessError):
            return False


def fill(disk, left=0):
    """Write a file until the disk is full, and leave so many pages."""
    with (disk / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(PAGE))
    os.truncate(disk / "filler", (disk / "filler").stat().st_size - left * PAGE)


def write_figure(path):
    from PIL import Image

    with replacing(path) as temporary:
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (99, 99), np.uint8)).save(
            temporary, format="png"
        )


def write_weights(path):
    from safetensors.numpy import save_file

    with replacing(path) as temporary:
        save_file({"a": np.zeros(9999)}, temporary)


def write_csv(path):
    import pyarrow as pa
    import pyarrow.csv

    with replacing(path) as temporary:
        pyarrow.csv.write_csv(pa.table({"a": np.arange(9999)}), temporary)


def write_much(path):
    artifacts.write_blocks(path, [np.ones((9999, 8))] * 3, (3 * 9999, 8), np.float16)


WRITERS = {
    "text": lambda path: artifacts.write_text(path, "a" * 99_999),
    "array": lambda path: artifacts.write_array(path, np.ones(9999)),
    "blocks of rows": write_much,
    "table": lambda path: artifacts.write_table(path, {"a": np.random.default_rng(0).random(9999)}),
    "CSV": write_csv,
    "weights": write_weights,
    "figure": write_figure,
}


def full_disk(folder, write):
    """The writer says so, leaves nothing, and writes the same when there is space."""
    expected = folder / "expected"
    write(expected)
    words = ["out", "free some space and run again"]
    if not can_mount():
        grown = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, grown[1]))
        try:
            refused([*words, "file too large"], write, folder / "out")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, grown)
        assert [path.name for path in folder.iterdir()] == ["expected"]
        return
    with small_disk(folder / "disk") as disk:
        fill(disk)
        refused([*words, "no space left"], write, disk / "out")
        assert [path.name for path in disk.iterdir()] == ["filler"]
        (disk / "filler").unlink()
        write(disk / "out")
        assert (disk / "out").read_bytes() == expected.read_bytes()


def read_only_disk(folder):
    with small_disk(folder / "disk") as disk:
        (disk / "out").write_text("old")
        mount("-o", "remount,ro", disk)
        for write in WRITERS.values():
            refused(["out", "read-only", "writable"], write, disk / "out")
            refused(["new/out", "read-only", "writable"], write, disk / "new/out")
        assert (disk / "out").read_text() == "old"


# ---- jobs ----------------------------------------------------------------------------------------

JOB = """
import resource, sys
from types import SimpleNamespace
import numpy as np
from workflow_scripts.lib.artifacts import write_array
from workflow_scripts.lib.job import job
output, log, limit = sys.argv[1:]
names = {"rule": "cluster", "wildcards": [], "resources": {}}
if int(limit):
    resource.setrlimit(resource.RLIMIT_AS, (int(limit), int(limit)))
with job(SimpleNamespace(output=[output], log=[log], **names)):
    sys.stderr.write("progress " * 1000)
    write_array(output, np.ones(10**9 if int(limit) else 10**5))
"""


def run_job(output, log, limit=0):
    """What a job says on the terminal and in its log; it must fail without a traceback."""
    done = subprocess.run(
        [sys.executable, "-c", JOB, str(output), str(log), str(limit)], check=False, text=True,
        env=os.environ | {"PYTHONPATH": str(TESTS.parent)}, capture_output=True,
    )  # fmt: skip
    said = done.stderr + (log.read_text("utf-8", "replace") if log.is_file() else "")
    assert done.returncode == 1, (done.returncode, said)
    assert "Traceback" not in said, said
    (sentence,) = re.findall(r"Error in \w+: (.*)", said)
    return sentence


def memory_limit(folder):
    said = run_job(folder / "out.npy", folder / "job.log", 3 << 30)
    assert "memory is too small" in said and "give the job more" in said, said


def full_disk_with_log(folder):
    for left in (0, 1, 2):  # pages, for the lock and the start of the log
        with small_disk(folder / "disk") as disk:
            fill(disk, left)
            said = run_job(disk / "out.npy", disk / "logs/job.log")
            assert "no space left" in said and "free some space" in said, said


def hung_worker(folder):
    from workflow_scripts.lib.encoders import stream

    patience, stream.PATIENCE_SECONDS = stream.PATIENCE_SECONDS, 0.5
    try:
        with stream.decoders(2, None) as pool:
            refused(["hangs", "run again"], list, stream.prefetched(time.sleep, [0, 99], pool, 2))
    finally:
        stream.PATIENCE_SECONDS = patience


# ---- sources, clocks, locks, notes ---------------------------------------------------------------


def changing_source(folder):
    image, rows = folder / "a.png", [{"path": "a.png", "sha256": "0" * 64}]
    image.write_bytes(b"other than listed")
    (read,) = as_listed(rows, [functools.partial(Path, image)])
    refused(["a.png", "run again"], read)


def clock_set_back(folder):
    """A file that changed at an earlier time than before is seen, by word lists and image sets."""
    words, images = folder / "words.txt", folder / "images"
    images.mkdir()
    (images / "a.png").write_bytes(b"one")
    words.write_text("one")
    sources, options = Sources(folder / "sources.json"), {"kind": "folder"}
    before = sources.digest(str(words)), fingerprint(str(images), options, "code")
    words.write_text("two")
    (images / "a.png").write_bytes(b"two")
    for file in (words, images / "a.png"):
        os.utime(file, (1, 1))
    again = Sources(folder / "sources.json")
    after = again.digest(str(words)), fingerprint(str(images), options, "code")
    assert before[0] != after[0] and before[1] != after[1]


def future_lock(folder):
    """A lock from the future, of a process that has ended or of another host, is taken over."""
    patience, locking.PATIENCE_SECONDS = locking.PATIENCE_SECONDS, 0.5
    beat, locking.BEAT_SECONDS = locking.BEAT_SECONDS, 0.1
    try:
        for host in (platform.node(), "another"):
            lock = locking.lock_of(folder / "out")
            lock.write_text(json.dumps({"host": host, "pid": 2**22 + 1, "job": None}))
            os.utime(lock, (2**32, 2**32))
            with locking.locked(folder / "out"):
                pass
            assert not lock.exists()
    finally:
        locking.PATIENCE_SECONDS, locking.BEAT_SECONDS = patience, beat


def late_file(folder):
    """A file that the network shows late, or empty at first, is named."""
    arrays, indexes = stored(folder)
    content = Path(indexes[0]).read_bytes()
    Path(indexes[0]).unlink()
    refused([indexes[0], "run again"], open_embeddings, arrays, indexes)
    Path(indexes[0]).write_bytes(content)
    Path(arrays[0]).unlink()
    refused([arrays[0], "run again"], open_embeddings, arrays, indexes)


def lost_notes(folder):
    notes, results = folder / ".snakemake", folder / "results"
    record = notes / "metadata/cmVzdWx0cw=="
    artifacts.write_table(results / "images/photos/hashes.parquet", {"a": [1]})
    assert not notes_are_lost(notes, results)  # the workflow has looked at images, no more
    artifacts.write_table(results / "corpora/words.parquet", {"a": [1]})
    assert notes_are_lost(notes, results)
    record.parent.mkdir(parents=True)
    assert notes_are_lost(notes, results)
    record.write_text("{}")
    assert not notes_are_lost(notes, results)


# ---- whole runs and the jobs of all rules, in full -----------------------------------------------

KEEP = """    with Path(f".{snakemake.rule}.pickle").open("wb") as file:
        __import__("pickle").dump(snakemake, file)
"""
RUN = """
import pickle, runpy, sys
snakemake = pickle.load(open(f".{sys.argv[1]}.pickle", "rb"))
runpy.run_path(f"workflow_scripts/{sys.argv[1]}.py", {"snakemake": snakemake}, "__main__")
"""


# Those of the miniature project.
RULES = ["average_clusters", "build_corpus", "cluster", "collect_duplicates", "collect_quarantine"]
RULES += ["draw_concepts", "draw_map", "embed_images", "embed_texts", "evaluate_clustering"]
RULES += ["evaluate_concepts", "evaluate_ood", "explore_clusters", "explore_provenance"]
RULES += ["explore_study", "find_duplicates", "find_neighbours", "list_images", "match_concepts"]
RULES += ["mine_concepts", "mine_negatives", "name_clusters", "plot_ood", "score_images"]
RULES += ["summarise", "tabulate_clusters", "tabulate_means", "write_table"]


@functools.cache
def finished():
    """The miniature project after a run that kept a job of every rule."""
    project = make_project(Path(tempfile.mkdtemp(prefix="faults-")) / "finished")
    path = project.folder / "workflow_scripts/lib/job.py"
    mark = "    RECIPE.set("
    path.write_text(path.read_text("utf-8").replace(mark, KEEP + mark, 1), "utf-8")
    project.run("--cores", "2")
    return project


def run_rule(project, rule):
    """Run the kept job of a rule. Returns its exit status, and what it and its log say."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, rule], cwd=project.folder, check=False, text=True,
        env=os.environ | project.environment | {"PYTHONPATH": str(project.folder)},
        capture_output=True,
    )  # fmt: skip
    log = project.folder / kept_job(rule).log[0]
    return done.returncode, done.stderr + (log.read_text() if log.is_file() else "")


def kept_job(rule):
    with (finished().folder / f".{rule}.pickle").open("rb") as file:
        return pickle.load(file)


def on_small_disk(folder, rule):
    """A job of a rule on a full and a read-only disk, and then with space."""
    outputs = [path for path in kept_job(rule).output if (finished().folder / path).is_file()]
    source, place = finished().folder, folder / "project"
    shutil.copytree(source, place, symlinks=True, ignore=lambda path, names: (
        ["results"] if Path(path) == source else []))  # fmt: skip
    project = type(finished())(place)
    with small_disk(place / "results", 16384) as disk:
        shutil.copytree(source / "results", disk, dirs_exist_ok=True)
        for left in (2, 1):  # for the lock and the log; of a log that stays empty outputs fit
            for path in [*outputs, kept_job(rule).log[0]]:
                (place / path).unlink(missing_ok=True)
            fill(disk, left)
            status, said = run_rule(project, rule)
            if status:
                break
        assert status == 1 and "Traceback" not in said, said
        assert re.search("Error in .*no space left.*free some space and run again", said), said
        assert not list(disk.rglob(".*.tmp-*"))
        mount("-o", "remount,ro", disk)
        status, said = run_rule(project, rule)
        assert status == 1 and "Traceback" not in said, said
        assert re.search("Error in .*read-only file system.*writable", said), said
        mount("-o", "remount,rw", disk)
        (disk / "filler").unlink()
        status, said = run_rule(project, rule)
        assert status == 0, said
        for output in outputs:
            if not output.endswith(HOLD_TIMES):
                assert (place / output).read_bytes() == (source / output).read_bytes(), output


def lost_notes_of_a_run(folder):
    project = finished().copy(folder / "project")
    shutil.rmtree(project.folder / ".snakemake/metadata")
    done = project.run("-n", check=False)
    assert done.returncode == 1 and "--forceall" in done.stdout, done.stdout[-2000:]


def damaged_run(folder):
    """A flipped bit in a run that goes on from it: named, and after deleting as before."""
    project = finished().copy(folder / "project")
    path = "results/embeddings/tinyclip/images/photos/00000"
    with (project.folder / f"{path}.npy").open("r+b") as file:
        file.seek(200)
        byte = file.read(1)
        file.seek(200)
        file.write(bytes([byte[0] ^ 1]))
    clusters = next((project.folder / "results/clusters").rglob("seed0.parquet"))
    expected = clusters.read_bytes()
    clusters.unlink()
    target = str(clusters.relative_to(project.folder))
    done = project.run(target, check=False)
    assert done.returncode == 1 and f"{path}.npy is damaged" in done.stdout, done.stdout[-2000:]
    for ending in (".npy", ".parquet"):
        (project.folder / f"{path}{ending}").unlink()
    project.run(target)
    assert clusters.read_bytes() == expected


def cases(short, seed):
    """Every fault on single files; in full also on the jobs of all rules and on runs."""
    plain = {
        "bit flips in an array": (flipped_array, FLIPS),
        "a cut Parquet file": cut_parquet,
        "a cut array": cut_array,
        "two shards swapped": functools.partial(swapped, kinds=(0, 1)),
        "the arrays of two shards swapped": functools.partial(swapped, kinds=(0,)),
        "the indexes of two shards swapped": functools.partial(swapped, kinds=(1,)),
        "an array of another run": other_run,
        "neighbours of other embeddings": other_neighbours,
        "centres of other clusters": other_centres,
        "a memory limit in a job": memory_limit,
        "a hung worker": hung_worker,
        "an image that changes after it was listed": changing_source,
        "a clock set back": clock_set_back,
        "a lock from the future": future_lock,
        "a file that is there late": late_file,
        "lost notes of Snakemake": lost_notes,
    }
    for name, write in WRITERS.items():
        plain[f"a full disk: {name}"] = functools.partial(full_disk, write=write)
    if can_mount():
        plain |= {
            "a full disk: log and lock": full_disk_with_log,
            "a read-only disk": read_only_disk,
        }
    if not short:
        plain["bit flips in a Parquet file"] = (flipped_parquet, FLIPS)
        plain["lost notes of a run"] = lost_notes_of_a_run
        plain["a bit flip in the middle of a run"] = damaged_run
        if can_mount():
            for rule in RULES:
                plain[f"a full and a read-only disk: {rule}"] = (
                    functools.partial(on_small_disk, rule=rule), 2
                )  # fmt: skip
    return [
        Case(name, *(what if isinstance(what, tuple) else (what,))) for name, what in plain.items()
    ]


if __name__ == "__main__":
    main(TITLE, cases)
