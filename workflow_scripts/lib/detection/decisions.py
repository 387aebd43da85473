"""The decisions of a study: which file and which column of it decide, and what they say."""

import pandas as pd

from workflow_scripts.lib.artifacts import read_meta, read_table


def deciding_column(paths, decide_by):
    """(path, name) of the column whose scores decide.

    paths: files by `decide_images.py`. decide_by: detector and negatives; one file has them.
    """
    columns = ((path, *item) for path in paths for item in read_meta(path)["columns"].items())
    return next((path, name) for path, name, key in columns if key == decide_by)


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
