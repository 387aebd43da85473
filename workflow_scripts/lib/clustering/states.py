"""The state of an unfinished training on disk, to go on from there after a kill."""

import logging

from workflow_scripts.lib.tensors import Damaged, checked_tensors, write_tensors


def write_state(path, run, arrays):
    """Write a state in one step. run: what a run must share with it to go on from it, as text."""
    write_tensors(path, arrays, {"run": run})


def read_state(path, run, what):
    """The arrays of a saved state; {} with a warning if it is broken or another run's.

    what: is trained, for the warning.
    """
    try:
        arrays, meta = checked_tensors(path)
        if meta.get("run") == run:
            return arrays
        reason = "other code, settings, seed or data"
    except Damaged as error:
        reason = f"it {error}"
    logging.warning("ignoring %s, %s starts anew: %s", path, what, reason)
    return {}
