"""The state of an unfinished k-means on disk, to go on from there after a kill."""

import hashlib
import json
import logging
import time
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from workflow_scripts.lib import distributed
from workflow_scripts.lib.replacing import replacing

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
        arrays = self._read() if self._path.exists() else {}
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
        with replacing(self._path) as temporary:
            save_file(arrays, temporary, metadata={"run": self._run})
        self._saved = time.monotonic()

    def remove(self):
        """Remove the state of a finished run."""
        if not distributed.rank():
            self._path.unlink(missing_ok=True)

    def _read(self):
        try:
            with safe_open(self._path, "np") as file:
                if (file.metadata() or {}).get("run") == self._run:
                    return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            reason = "other code, settings, seed or data"
        except (SafetensorError, OSError) as error:
            reason = f"not readable ({error})"
        logging.warning("ignoring %s, k-means starts anew: %s", self._path, reason)
        return {}


def _fingerprint(task, rows, precision):
    """What a state must share with a run, as JSON; of the data 64 evenly spaced rows, of own first
    centroids all."""
    chosen = np.linspace(0, len(rows) - 1, 64).astype(np.int64)
    run = {"code": task.code, "cfg": task.cfg, "k": task.k, "precision": precision}
    run |= {"shape": list(rows.shape)}
    digest = hashlib.sha256(np.ascontiguousarray(rows[chosen]).tobytes())
    if task.init:
        digest.update(Path(task.init).read_bytes())
    run |= {"data": digest.hexdigest()}
    return json.dumps(run, sort_keys=True)
