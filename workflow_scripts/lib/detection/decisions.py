"""The decisions of a study: which file and which column of it decide, and what they say."""

from dataclasses import dataclass

import pandas as pd

from workflow_scripts.lib.artifacts import read_meta, read_table
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.report.phrases import scored_by


@dataclass(frozen=True)
class Decider:
    """The scores that decide in a study.

    path, column: where they are. names: their detector and negatives, a dict. passed_over: those
    that would have decided before them, dicts with detector, negatives and the reason.
    """

    path: str
    column: str
    names: dict
    passed_over: list


def decider_of(paths, deciders):
    """The `Decider` of a study: the first of the deciders that could score.

    paths: files of its scores or decisions. deciders: as `queries.deciders` gives, all of which
    the files have or say why not. Raises InputError with the reasons if none could score.
    """
    found, passed_over = _search(paths, deciders)
    if found:
        return found
    study = read_meta(paths[0])["study"]
    reasons = [f"{scored_by(c['detector'], c['negatives'])} ({c['reason']})" for c in passed_over]
    raise InputError(f"studies.{study}.decide_by: cannot decide: {'; '.join(reasons)}")


def what_decides(paths, deciders):
    """The dict decide_by (detector and negatives) and passed_over (see `Decider`), for sentences.

    If none could score, all are passed over and decide_by is the first.
    """
    found, passed_over = _search(paths, deciders)
    return {"decide_by": found.names if found else deciders[0], "passed_over": passed_over}


def _search(paths, deciders):
    """(Decider or None, those passed over)."""
    metas, passed_over = {path: read_meta(path) for path in paths}, []
    cells = [cell for meta in metas.values() for cell in meta["missing"]]
    for names in deciders:
        for path, meta in metas.items():
            for column, key in meta["columns"].items():
                if key == names:
                    return Decider(path, column, names, passed_over), passed_over
        passed_over.append(next(cell for cell in cells if cell.items() >= names.items()))
    return None, passed_over


def decisions_on(image_sets, image_ids, paths, deciders):
    """p-values, float64 [N], and flags, boolean [N], of images; empty where nothing is decided.

    image_sets, image_ids: [N], in any order. paths, deciders: as in `decider_of`.
    """
    found = decider_of(paths, deciders)
    keys, values = ["image_set", "image_id"], [f"{found.column} p", f"{found.column} flagged"]
    decided = read_table(found.path, [*keys, *values]).to_pandas().astype({"image_set": str})
    wanted = pd.MultiIndex.from_arrays([image_sets, image_ids], names=keys)
    found = decided.set_index(keys).reindex(wanted)
    return found[values[0]].to_numpy(), found[values[1]].astype("boolean").array
