"""Processes that torchrun starts: their parts, sums and failures."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
import torch.distributed

from workflow_scripts.lib import distributed
from workflow_scripts.lib.errors import InputError

MODULE = "tests.unit.test_distributed"


def main(folder, n, fail=False, hang=False):
    """What each of the processes of these tests does."""
    rank = distributed.rank()
    if fail and rank == 1:
        raise InputError("the second process cannot go on")
    if hang:
        Path(f"{folder}/{rank}.pid").write_text(str(os.getpid()))
        time.sleep(600)
    rows = list(distributed.part(n))
    counts = np.bincount(rows, minlength=n)
    sums = np.array([sum(rows), 0.5], np.float64)
    tensor = torch.full((3,), float(rank))
    distributed.total(counts, sums, tensor)
    start = np.array([rank + 7], np.float32)
    distributed.of_first(start)
    found = {"size": distributed.size(), "rows": rows, "counts": counts.tolist()}
    found |= {"sums": sums.tolist(), "tensor": tensor.tolist(), "start": start.tolist()}
    with Path(f"{folder}/{rank}.json").open("w") as file:
        json.dump(found, file)


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def launch(folder, processes=2, **arguments):
    with (folder / "log").open("w") as log:
        old, sys.stderr = sys.stderr, log
        try:
            arguments |= {"folder": str(folder)}
            distributed.launch(MODULE, arguments, folder / "job", processes, 2)
        finally:
            sys.stderr = old


def test_two_processes_share_rows_and_sum(tmp_path):
    launch(tmp_path, n=7)
    one, two = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert one.pop("rows") + two.pop("rows") == list(range(7))
    shared = {"size": 2, "counts": [1] * 7, "sums": [21, 1], "tensor": [1, 1, 1], "start": [7]}
    assert one == two == shared
    assert not (tmp_path / "job").exists()


def test_two_nodes_share_rows_and_sum(tmp_path, monkeypatch):
    """TORCHRUN starts torchrun once for every node; here both are on this machine."""
    start = f"{sys.executable} -m torch.distributed.run --nnodes=2 --master-addr=127.0.0.1"
    start += f" --master-port={free_port()}"
    (tmp_path / "nodes.sh").write_text(
        f'{start} --node-rank=0 "$@" & {start} --node-rank=1 "$@" && wait $!\n'
    )
    monkeypatch.setenv("TORCHRUN", f"sh {tmp_path / 'nodes.sh'}")
    launch(tmp_path, processes=1, n=7)
    one, two = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert one.pop("rows") + two.pop("rows") == list(range(7))
    assert one == two
    assert one["counts"] == [1] * 7


def test_a_failure_of_one_process_ends_all(tmp_path):
    with pytest.raises(InputError, match="one of 2 processes failed"):
        launch(tmp_path, n=7, fail=True)
    assert "process 1: the second process cannot go on" in (tmp_path / "log").read_text()


def test_processes_end_when_their_job_is_killed(tmp_path):
    program = (
        "from workflow_scripts.lib import distributed; "
        f"distributed.launch({MODULE!r}, {{'folder': {str(tmp_path)!r}, 'n': 7, 'hang': True}}, "
        f"{str(tmp_path / 'job')!r}, 2, 2)"
    )
    job = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    files = [tmp_path / f"{rank}.pid" for rank in (0, 1)]
    wait_for(lambda: all(file.exists() and file.read_text() for file in files))
    pids = [int(file.read_text()) for file in files]
    started = [psutil.Process(pid) for pid in pids]
    job.send_signal(signal.SIGKILL)
    job.wait()
    wait_for(lambda: not any(process.is_running() for process in started))


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("cards", "processes", "backend", "card"),
    [(0, 2, "gloo", None), (1, 2, "gloo", 0), (2, 4, "gloo", 1), (4, 4, "cpu:gloo,cuda:nccl", 3)],
)
def test_cards_are_joined_over_nccl_where_no_two_processes_share_one(
    cards, processes, backend, card, monkeypatch
):
    """NCCL refuses two processes on a card ("Duplicate GPU detected")."""
    monkeypatch.setenv("LOCAL_RANK", str(processes - 1))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    chosen, begun = [], []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cards)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch.distributed, "init_process_group", begun.append)
    distributed.connect()
    assert (chosen, begun) == ([] if card is None else [card], [backend])


def test_one_process_does_nothing_and_imports_no_torch():
    program = (
        "import sys, numpy as np; from workflow_scripts.lib import distributed as d; "
        "x = np.ones(2); d.total(x); d.of_first(x); "
        "assert x.tolist() == [1, 1] and list(d.part(3)) == [0, 1, 2] and d.size() == 1; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
