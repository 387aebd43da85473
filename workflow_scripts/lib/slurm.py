"""What is in the queue of SLURM, where there is one."""

import subprocess
from pathlib import Path


def queued_jobs(folder):
    """Numbers of the SLURM jobs that Snakemake submitted in a folder and that are not over.

    Snakemake's plugin gives its jobs a comment that starts with `rule_`. Without SLURM there are
    none, and where it does not answer none are known.
    """
    command = ["squeue", "--me", "--noheader", "--format=%i|%Z|%k"]
    try:
        done = subprocess.run(command, text=True, capture_output=True, check=False, timeout=60)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return []
    rows = [line.split("|", 2) for line in done.stdout.splitlines()]
    here = Path(folder).resolve()
    return [
        number
        for number, place, comment in rows
        if comment.startswith("rule_") and Path(place).resolve() == here
    ]
