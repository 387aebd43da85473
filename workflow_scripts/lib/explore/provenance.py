"""What results were made of: versions, the user's files, time and memory of the jobs."""

import importlib.metadata
import json
import platform
import re
from pathlib import Path

import pandas as pd

PACKAGES = ("snakemake", "torch", "open_clip_torch", "faiss-gpu", "faiss-cpu", "numpy", "pandas")
PACKAGES += ("pyarrow", "scikit-learn", "pillow", "matplotlib", "bokeh")
DONE = re.compile(r"(\w+) done in ([\d.]+) s(?:, ([\d,]+) MB)?$")  # of `lib/job.py`


def versions():
    """Name -> version, of Python, the platform, and the PACKAGES that are installed."""
    found = {"Python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def stages(folder):
    """One row per rule with finished jobs: stage, jobs, seconds (their sum), memory (the largest,
    in MB; None where logs do not tell).

    folder: that of the logs, one below it per rule.
    """
    rows = []
    for path in sorted(Path(folder).rglob("*.log")):
        lines = path.read_text("utf-8", errors="replace").splitlines()
        if lines and (found := DONE.search(lines[-1])):
            stage, seconds, memory = found.groups()
            memory = int(memory.replace(",", "")) if memory else None
            rows.append({"stage": stage, "seconds": float(seconds), "memory": memory})
    frame = pd.DataFrame(rows, columns=["stage", "seconds", "memory"])
    grouped = frame.groupby("stage").agg(
        jobs=("seconds", "size"), seconds=("seconds", "sum"), memory=("memory", "max")
    )
    return grouped.sort_values("seconds", ascending=False).reset_index()


def sources(path):
    """The user's files that results depend on: file, sha256, bytes. path: results/sources.json."""
    known = json.loads(Path(path).read_text("utf-8")) if Path(path).exists() else {}
    rows = [(file, sha256, size) for file, (size, *_, sha256) in sorted(known.items())]
    return pd.DataFrame(rows, columns=["file", "sha256", "bytes"])
