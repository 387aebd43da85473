"""What all benchmarks use: CPU time, and what the machine is."""

import gc
import os
import platform
import resource
from pathlib import Path


def used(who=resource.RUSAGE_SELF):
    """CPU seconds that this process, or those that it started, have used."""
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def cpu_seconds(run):
    """CPU seconds of a call whose result is not needed."""
    gc.collect()
    before = used()
    run()
    return used() - before


def processor():
    """The name of the processor, and whether it multiplies bfloat16."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    name = next((line.split(":")[1].strip() for line in lines if "model name" in line), "?")
    flags = {"avx512_bf16", "amx_bf16"} & {flag for line in lines for flag in line.split()}
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    return (
        f"{platform.machine()}, {name}, {', '.join(sorted(flags)) or 'no bf16'}, {threads} threads"
    )
