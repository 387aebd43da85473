"""Several processes that compute one job together: each its part of the rows, sums over all.

`launch` starts them by torchrun (torch.distributed.run), which tells each its rank and their number
by environment variables. In a job of one process these functions do nothing and import no torch.
"""

import contextlib
import json
import logging
import os
import platform
import shlex
import subprocess
import sys
import threading
from importlib import import_module
from pathlib import Path

import numpy as np
import psutil

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.replacing import replacing

ROOT = Path(__file__).parents[2]


def rank():
    """The number of this process, from 0; the one with 0 writes files."""
    return int(os.environ.get("RANK", 0))


def size():
    """The number of processes."""
    return int(os.environ.get("WORLD_SIZE", 1))


def part(n):
    """The rows of n that are this process's, a range; those of all processes are n, in order."""
    return range(n * rank() // size(), n * (rank() + 1) // size())


def connect():
    """Join the processes, once: over gloo, and for CUDA tensors over NCCL where every process of
    this machine has a card of its own, for NCCL refuses two on one. Nodes have equally many cards.
    Returns torch.distributed."""
    import torch
    import torch.distributed as dist

    if not dist.is_initialized():
        cards = torch.cuda.device_count()
        if cards:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % cards)
        alone = cards >= int(os.environ["LOCAL_WORLD_SIZE"])
        dist.init_process_group("cpu:gloo,cuda:nccl" if alone else "gloo")
    return dist


def total(*values):
    """Sum arrays or tensors over all processes, in place. All processes get the same bytes."""
    if size() > 1:
        dist = connect()
        for value in values:
            dist.all_reduce(_tensor(value))


def of_first(*values):
    """Give arrays or tensors of all processes the values of the first one, in place."""
    if size() > 1:
        dist = connect()
        for value in values:
            dist.broadcast(_tensor(value), src=0)


def _tensor(value):
    """A tensor that shares the memory of an array; tensors as they are."""
    import torch

    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value


def launch(module, arguments, path, processes, threads):
    """Run the function `main(**arguments)` of a module in several processes.

    module: its dotted name. arguments: a JSON-able dict. path: where they are kept meanwhile.
    processes, threads: of one node, threads of all its processes together. Logs go to where this
    process logs. The environment variable TORCHRUN is a command that starts them, with torchrun's
    options for several nodes; without it there is one, this machine. Raises InputError if a process
    fails; the log says why.
    """
    start = shlex.split(os.environ.get("TORCHRUN", ""))
    start = start or [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = [*start, f"--nproc-per-node={processes}", "-m", __name__, module, str(path)]
    env = os.environ | {"OMP_NUM_THREADS": str(max(1, threads // processes))}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), env.get("PYTHONPATH")]))
    task = {"arguments": arguments, "host": platform.node(), "pid": os.getpid()}
    with replacing(path) as file:
        file.write_text(json.dumps(task), encoding="utf-8")
    try:
        done = subprocess.run(command, env=env, stdout=sys.stderr, stderr=sys.stderr, check=False)
    finally:
        Path(path).unlink(missing_ok=True)
    if done.returncode:
        raise InputError(f"one of {processes} processes failed; the log says why, further up")


def _main(module, path):
    """One of the processes that `launch` starts. The first one alone logs progress."""
    task = json.loads(Path(path).read_text("utf-8"))
    if task["host"] == platform.node():
        threading.Thread(target=_end_after, args=(task["pid"],), daemon=True).start()
    first = rank() == 0
    if not first:
        os.environ["TQDM_DISABLE"] = "1"
    level = logging.INFO if first else logging.WARNING
    logging.basicConfig(level=level, format=f"%(asctime)s process {rank()}: %(message)s")
    if size() > 1:
        connect()  # before anything is put on a card
    try:
        import_module(module).main(**task["arguments"])
    except InputError as error:
        logging.error("%s", error)
        sys.exit(1)
    if size() > 1:
        connect().destroy_process_group()


def _end_after(pid):
    """End this process when the one that launched it has ended, even a killed one: its lock of the
    outputs is free then."""
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(pid).wait()
    os._exit(1)


if __name__ == "__main__":
    _main(*sys.argv[1:])
