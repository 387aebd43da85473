"""What every rule script does around its work: lock, log, cards, progress, clear errors, recipe."""

import contextlib
import contextvars
import functools
import hashlib
import logging
import resource
import sys
import time
import traceback
from pathlib import Path

from tqdm import tqdm

from workflow_scripts.lib import cards
from workflow_scripts.lib.errors import InputError, memory_is_short, unwritable
from workflow_scripts.lib.locking import locked

TERMINAL_SECONDS = 10  # between two lines of a job in the terminal
TERMINAL = contextvars.ContextVar("terminal", default=None)
"""The stream of the terminal and the name of the running job, if Snakemake runs in a terminal."""
MORE_MEMORY = "give the job more (mem_mb), or run fewer jobs beside it (--cores)"
RECIPE = contextvars.ContextVar("recipe", default=dict)
"""A function that tells what the running job makes its files of; see `recipe_of`."""


class progress(tqdm):
    """Lines with what is done, the rate and the time left: every 5 s in the log, every 10 s in the
    terminal, where a job that takes less writes none.

    The terminal gets whole lines with the name of the job, since jobs run beside each other.
    """

    def __init__(self, *args, **kwargs):
        self._shown, self._terminal = time.monotonic(), TERMINAL.get()
        layout = {"mininterval": 5, "ascii": True, "dynamic_ncols": False, "ncols": 100}
        super().__init__(*args, **layout | kwargs)

    def display(self, *args, **kwargs):
        super().display(*args, **kwargs)
        if self._terminal and time.monotonic() - self._shown >= TERMINAL_SECONDS:
            self._shown = time.monotonic()
            stream, name = self._terminal
            stream.write(f"{name}: {str(self).strip()}\n")
            stream.flush()


@contextlib.contextmanager
def job(snakemake):
    """Run the body of a rule script: stderr and logging go to the rule's log file.

    The body sees as many graphics cards as the rule's resource `gpu` says, see `cards.reserve`.
    An InputError, a full disk and a lack of memory end the job with a message alone; any other
    error with its traceback. A job whose outputs another one still writes ends before that, and
    leaves the log to the other.
    """
    RECIPE.set(functools.cache(lambda: recipe_of(snakemake)))
    started = time.monotonic()
    cards.reserve(snakemake.resources.get("gpu", 0))
    if sys.stderr.isatty():
        TERMINAL.set((sys.stderr, "/".join([snakemake.rule, *snakemake.wildcards])))
    with (
        _lock_of(snakemake),
        _open_log(snakemake) as log,
        contextlib.redirect_stderr(log),
    ):
        logging.basicConfig(
            stream=log, level=logging.INFO, format="%(asctime)s %(message)s", force=True
        )
        try:
            yield
        except Exception as error:
            text = _in_words(snakemake, error)
            with contextlib.suppress(OSError):  # the log's disk is full, too
                log.write(text)
                log.flush()
                sys.exit(1)
            sys.exit(text)
        seconds, memory = time.monotonic() - started, peak_memory()
        logging.info("%s done in %.1f s, %s MB", snakemake.rule, seconds, f"{memory:,.0f}")


def _in_words(snakemake, error):
    """What a job's log says of the error that ended it."""
    text = f"Error in {snakemake.rule}: "
    if isinstance(error, InputError):
        return f"{text}{error}\n"
    if not getattr(error, "filename", None) and (why := unwritable(error)):
        return f"{text}{snakemake.log[0]} cannot be written, {why}\n"
    if memory_is_short(error):
        used = f"this job holds {peak_memory():,.0f} MB"
        return f"{text}the memory is too small ({used}): {MORE_MEMORY} ({error})\n"
    return traceback.format_exc()


@contextlib.contextmanager
def _open_log(snakemake):
    path = Path(snakemake.log[0])
    with _or_end(snakemake, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        log = path.open("w", encoding="utf-8", buffering=1)
    try:
        yield log
    finally:
        with contextlib.suppress(OSError):  # what a full disk did not take
            log.close()


@contextlib.contextmanager
def _lock_of(snakemake):
    """Hold the lock of the job's outputs, if it has any; end the job if another one holds it."""
    with contextlib.ExitStack() as stack:
        for output in snakemake.output[:1]:
            with _or_end(snakemake, output):
                stack.enter_context(locked(output))
        yield


@contextlib.contextmanager
def _or_end(snakemake, path):
    """End the job with a message if the block fails for the user's input or the disk of a path."""
    try:
        yield
    except InputError as error:
        sys.exit(f"Error in {snakemake.rule}: {error}")
    except OSError as error:
        if not (why := unwritable(error)):
            raise
        sys.exit(f"Error in {snakemake.rule}: {path} cannot be written, {why}")


def peak_memory():
    """The most memory that this process has held so far, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes, or kB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def recipe_of(snakemake):
    """The rule, its wildcards, its config, the digest of its code, and digests of its inputs.

    The digest of a file is the start of its SHA-256; that of several is of theirs.
    """
    inputs = {name: _digest(files) for name, files in snakemake.input.items()}
    return {
        "rule": snakemake.rule,
        "wildcards": dict(snakemake.wildcards.items()),
        "cfg": snakemake.params.cfg,
        "code": snakemake.params.code,
        "inputs": inputs,
    }


def _digest(files):
    if not isinstance(files, str):
        return hashlib.sha256("".join(map(_digest, files)).encode()).hexdigest()[:12]
    with Path(files).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]
