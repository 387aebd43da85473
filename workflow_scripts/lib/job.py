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
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.locking import locked

TERMINAL_SECONDS = 10  # between two lines of a job in the terminal
TERMINAL = contextvars.ContextVar("terminal", default=None)
"""The stream of the terminal and the name of the running job, if Snakemake runs in a terminal."""
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
    An InputError ends the job with its message alone; any other error with its traceback. A job
    whose outputs another one still writes ends before that, and leaves the log to the other.
    """
    path = Path(snakemake.log[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    RECIPE.set(functools.cache(lambda: recipe_of(snakemake)))
    started = time.monotonic()
    cards.reserve(snakemake.resources.get("gpu", 0))
    if sys.stderr.isatty():
        TERMINAL.set((sys.stderr, "/".join([snakemake.rule, *snakemake.wildcards])))
    with (
        _lock_of(snakemake),
        path.open("w", encoding="utf-8", buffering=1) as log,
        contextlib.redirect_stderr(log),
    ):
        logging.basicConfig(
            stream=log, level=logging.INFO, format="%(asctime)s %(message)s", force=True
        )
        try:
            yield
        except InputError as error:
            log.write(f"Error in {snakemake.rule}: {error}\n")
            sys.exit(1)
        except Exception:
            traceback.print_exc(file=log)
            sys.exit(1)
        seconds, memory = time.monotonic() - started, peak_memory()
        logging.info("%s done in %.1f s, %s MB", snakemake.rule, seconds, f"{memory:,.0f}")


@contextlib.contextmanager
def _lock_of(snakemake):
    """Hold the lock of the job's outputs, if it has any; end the job if another one holds it."""
    with contextlib.ExitStack() as stack:
        try:
            for output in snakemake.output[:1]:
                stack.enter_context(locked(output))
        except InputError as error:
            sys.exit(f"Error in {snakemake.rule}: {error}")
        yield


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
