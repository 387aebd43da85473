"""The state of an unfinished k-means on disk, to go on from there after a kill."""

import hashlib
import json
import time
from pathlib import Path

import numpy as np

from workflow_scripts.lib import distributed
from workflow_scripts.lib.clustering.states import read_state, write_state

CHECKPOINT_SECONDS = 30


class Unfinished:
    """The finished restarts of a run, the best centroids so far, and the running restart.

    task: a `Task`, whose state_path is the file. rows: what is clustered, array-like [n, d].
    A run with the same code, data, k, cfg and precision goes on from it and ends with the same
    bytes; any other state is ignored with a warning. Of several processes all read it, and the
    first writes it.
    """

    def __init__(self, task, rows, precision):
        self._path = Path(task.state_path)
        self._run = _fingerprint(task, rows, precision)
        self._saved = time.monotonic()

    def load(self):
        """(curves of the finished restarts, best centroids of them or None, (centroids, curve) of
        the running one or None)."""
        exists = self._path.exists()
        arrays = read_state(self._path, self._run, "k-means") if exists else {}
        if not arrays:
            return [], None, None
        *curves, curve = np.split(arrays["objective"], np.cumsum(arrays["length"])[:-1])
        begun = arrays["centroids"], curve.tolist()
        return [finished.tolist() for finished in curves], arrays.get("best"), begun

    def save(self, curves, best, centroids, curve):
        """Write the state, at most every CHECKPOINT_SECONDS."""
        if distributed.rank() or time.monotonic() - self._saved < CHECKPOINT_SECONDS:
            return
        curves = [*curves, curve]
        arrays = {"objective": np.concatenate(curves), "length": np.array([*map(len, curves)])}
        arrays |= {"centroids": centroids} | ({} if best is None else {"best": best})
        write_state(self._path, self._run, arrays)
        self._saved = time.monotonic()

    def remove(self):
        """Remove the state of a finished run."""
        if not distributed.rank():
            self._path.unlink(missing_ok=True)


def _fingerprint(task, rows, precision):
    """What a state must share with a run, as JSON; of the data what the files say of it and 64
    evenly spaced rows, of own first centroids all."""
    chosen = np.linspace(0, len(rows) - 1, 64).astype(np.int64)
    run = {"code": task.code, "cfg": task.cfg, "k": task.k, "precision": precision}
    run |= {"shape": list(rows.shape), "data": task.data}
    digest = hashlib.sha256(np.ascontiguousarray(rows[chosen]).tobytes())
    if task.init:
        digest.update(Path(task.init).read_bytes())
    run |= {"rows": digest.hexdigest()}
    return json.dumps(run, sort_keys=True)
