"""OOD scores and decisions. `load_detector` opens a detector that the workflow stored."""

from importlib import import_module


def __getattr__(name):
    """`load_detector` is imported when it is asked for, by name: so no code digest of a job that
    imports another module of this package covers it."""
    if name == "load_detector":
        return import_module("workflow_scripts.lib.detection.stored").load_detector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
