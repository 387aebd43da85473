"""What every rule script does around its work: log file, progress, clear errors, recipe."""

import contextlib
import contextvars
import functools
import hashlib
import logging
import sys
import time
import traceback
from functools import partial
from pathlib import Path

from tqdm import tqdm

from workflow_scripts.lib.errors import InputError

# A line of progress with the rate every few seconds, readable in a log file.
progress = partial(tqdm, mininterval=5, ascii=True, dynamic_ncols=False, ncols=100)

RECIPE = contextvars.ContextVar("recipe", default=dict)
"""A function that tells what the running job makes its files of; see `recipe_of`."""


@contextlib.contextmanager
def job(snakemake):
    """Run the body of a rule script: stderr and logging go to the rule's log file.

    An InputError ends the job with its message alone; any other error with its traceback.
    """
    path = Path(snakemake.log[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    RECIPE.set(functools.cache(lambda: recipe_of(snakemake)))
    started = time.monotonic()
    with path.open("w", encoding="utf-8", buffering=1) as log, contextlib.redirect_stderr(log):
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
        logging.info("%s done in %.1f s", snakemake.rule, time.monotonic() - started)


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
