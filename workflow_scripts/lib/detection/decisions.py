"""The decisions of a study: which file and which column of it decide, and what they say."""

import pandas as pd

from workflow_scripts.lib.artifacts import read_meta, read_table
from workflow_scripts.lib.errors import InputError


def deciding_column(paths, decide_by):
    """(path, name) of the column whose scores decide.

    paths: files by `decide_images.py`. decide_by: detector and negatives; one file has them.
    Raises InputError with the reason if this detector could not score.
    """
    metas = {path: read_meta(path) for path in paths}
    for path, meta in metas.items():
        for name, key in meta["columns"].items():
            if key == decide_by:
                return path, name
    cells = (cell for meta in metas.values() for cell in meta.get("missing", []))
    why = next(cell["reason"] for cell in cells if cell.items() >= decide_by.items())
    raise InputError(f"{decide_by['detector']} cannot decide (studies.<name>.decide_by): {why}")


def decisions_on(image_sets, image_ids, paths, decide_by):
    """p-values, float64 [N], and flags, boolean [N], of images; empty where nothing is decided.

    image_sets, image_ids: [N], in any order. paths, decide_by: as in `deciding_column`.
    """
    path, column = deciding_column(paths, decide_by)
    keys, values = ["image_set", "image_id"], [f"{column} p", f"{column} flagged"]
    decided = read_table(path, [*keys, *values]).to_pandas().astype({"image_set": str})
    wanted = pd.MultiIndex.from_arrays([image_sets, image_ids], names=keys)
    found = decided.set_index(keys).reindex(wanted)
    return found[values[0]].to_numpy(), found[values[1]].astype("boolean").array
