"""Processes that torchrun starts: their parts, sums and failures."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from workflow_scripts.lib import distributed
from workflow_scripts.lib.errors import InputError

MODULE = "tests.unit.test_distributed"


def main(folder, n, fail=False):
    """What each of the processes of these tests does."""
    import torch

    rank = distributed.rank()
    if fail and rank == 1:
        raise InputError("the second process cannot go on")
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


def test_one_process_does_nothing_and_imports_no_torch():
    program = (
        "import sys, numpy as np; from workflow_scripts.lib import distributed as d; "
        "x = np.ones(2); d.total(x); d.of_first(x); "
        "assert x.tolist() == [1, 1] and list(d.part(3)) == [0, 1, 2] and d.size() == 1; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
