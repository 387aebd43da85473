"""Faults of disks, memory, files and clocks: each ends in one sentence, or heals itself.

The sentence names the file and what to do; results are never wrong. Most cases call a function on
files that were damaged. The full form also runs a job of every rule of the miniature project on a
full and on a read-only disk, a small tmpfs, which takes root; without it only the functions are
tried, on files that may not grow.
"""

from campaign import Case, main
from faulty.disks import disk_cases
from faulty.files import file_cases
from faulty.jobs import job_cases
from faulty.runs import run_cases

TITLE = "Faults"
ARTIFACTS = "unit/test_artifacts.py::test_"
EMBEDDING = "unit/encoders/test_embed_scripts.py::test_"
FOUND = {
    "a flipped bit in an array": f"{ARTIFACTS}damaged_and_foreign_arrays_are_refused",
    "a flipped bit in the weights of a clustering or in the state of one": (
        "unit/test_tensors.py::test_every_flipped_bit_is_noticed"
    ),
    "a flipped bit in a detector.json": (
        "unit/detection/test_bad_bundle.py::test_every_flipped_bit_of_the_description_is_noticed"
    ),
    "an array of another run": f"{ARTIFACTS}damaged_and_foreign_arrays_are_refused",
    "two shards swapped": f"{ARTIFACTS}swapped_shards_are_refused",
    "neighbours of other embeddings": f"{ARTIFACTS}neighbours_of_other_embeddings_are_refused",
    "a damaged Parquet file that lost rows, a cut one": f"{ARTIFACTS}a_damaged_table_is_named",
    "a full disk: traceback or SIGBUS": f"{ARTIFACTS}a_file_that_may_not_grow_leaves_nothing",
    "a read-only disk, short memory: traceback": f"{ARTIFACTS}what_errors_of_libraries_mean",
    "a hung process: for ever": f"{EMBEDDING}a_hung_process_ends_the_job_with_a_message",
    "an image changed since listing": f"{EMBEDDING}an_image_changed_since_listing_is_refused",
    "an image replaced by another of equal size and time was not seen": (
        "unit/images/test_state.py::test_images_of_equal_size_and_time_that_are_swapped_are_seen"
    ),
    "a word list replaced by another of equal size and time was not seen": (
        "unit/test_sources.py::test_another_file_of_the_same_size_and_time_is_read"
    ),
    "a forced job took over the shards that it was to embed again": (
        "test_shared_jobs.py::test_shards_are_dealt_to_jobs_that_embed_what_changed"
    ),
    "the loss of some notes hid a change": (
        "test_earlier_runs.py::test_lost_notes_of_snakemake_are_said"
    ),
    "lost notes hid a change": "test_earlier_runs.py::test_lost_notes_of_snakemake_are_said",
}


def cases(short, seed):
    """Every fault on single files; in full also on the jobs of all rules and on runs."""
    found = file_cases(short) | disk_cases() | job_cases() | ({} if short else run_cases())
    return [
        Case(name, *(what if isinstance(what, tuple) else (what,))) for name, what in found.items()
    ]


if __name__ == "__main__":
    main(TITLE, cases)
