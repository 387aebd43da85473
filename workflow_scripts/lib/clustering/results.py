"""What a clustering job learns of labels, and what it writes: the same for every method."""

import json
import resource
import time
from pathlib import Path

from workflow_scripts.lib import artifacts
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.tensors import write_tensors


def number_of_clusters(k, images, choice=None):
    """k; for "classes" the number of distinct labels, as the protocol of arXiv 2406.01203 wants;
    for "auto" the number in the file `choice`, that `choose_k` wrote.

    The number of labels is the only thing that a clustering may know of them. Raises InputError if
    none is known.
    """
    if k == "auto":
        return json.loads(Path(choice).read_text("utf-8"))["k"]
    if k != "classes":
        return k
    classes = len(set(images.labels) - {None})
    if not classes:
        raise InputError("k: classes needs labels, and no image has one: set k to a number")
    return classes


def write_clusters(outputs, images, found, assigned, value, meta, started):
    """Write one clustering.

    outputs: paths clusters, model, history and cost. found: its `Clustering`. assigned: int32 [N];
    value: float32 [N], how well an image fits. meta: what made it. started: time.monotonic()
    before the first step. The cost alone differs from run to run.
    """
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    cost = {"seconds": round(time.monotonic() - started, 2), "peak_memory_mb": round(peak)}
    artifacts.write_text(outputs.cost, json.dumps(cost) + "\n")
    meta = meta | found.meta
    columns = {"image_id": images.index["image_id"], "cluster": assigned, "value": value}
    artifacts.write_table(outputs.clusters, columns, meta)
    artifacts.write_table(outputs.history, found.history, meta)
    write_tensors(outputs.model, found.weights)
