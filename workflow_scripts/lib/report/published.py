"""Published values beside those of a study: which belong together, and how far they are apart."""

import pandas as pd

from workflow_scripts.lib.detection.metrics import METRICS
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.texts.files import read_rows

COLUMNS = ("method", "id", "ood_set", "metric", "value", "source")
KEYS = ["method", "id", "ood_set", "metric"]
JOINED = "+"  # between the OOD sets of a mean


def read_published(path):
    """The published values, a data frame of the COLUMNS; value is float64, in percent.

    path: a .csv, .tsv or .parquet table with these columns.
    Raises InputError naming file and line of a metric that is not measured here (METRICS), of a
    value that is no percentage, and of a value that is there twice.
    """
    rows, seen = [], {}
    for place, row in read_rows(path, {column: column for column in COLUMNS}):
        row = {column: (row[column] or "").strip() for column in COLUMNS}
        if row["metric"] not in METRICS:
            raise InputError(
                f"{path}, {place}: metric {row['metric']!r} is none of {', '.join(METRICS)}"
            )
        key = tuple(row[column] for column in KEYS)
        if key in seen:
            raise InputError(
                f"{path}, {place}: {', '.join(key)} has a value already, in {seen[key]}; keep one"
            )
        seen[key] = place
        rows.append(row | {"value": _percentage(row["value"], f"{path}, {place}")})
    return pd.DataFrame(rows, columns=COLUMNS)


def _percentage(text, place):
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value <= 100:
        raise InputError(f"{place}: value {text!r} is no number of percent, 0 to 100")
    return value


def compare(published, ood, test, methods, tolerance, tolerance_of_means):
    """Published values and those of one study, a row each in the order of the published.

    published: see `read_published`; the rows with id `test` of these methods count. ood: the
        study's OOD table. methods: method -> {"rows": column of the OOD table -> its value in the
        rows that stand for the method, "test_time": whether it learns from the test images}.
    Returns a data frame: method, test_time, id, ood_set, metric, published, ours, difference (these
    in percent), seeds, tolerance, within_tolerance, source. Where the study lacks an OOD set, ours
    and what follows from it are missing.
    Raises InputError for a method without a published value.
    """
    chosen = published[published["id"] == test]
    unknown = [method for method in methods if method not in set(chosen["method"])]
    if unknown:
        known = ", ".join(dict.fromkeys(chosen["method"])) or "none"
        raise InputError(
            f"{unknown[0]!r} has no published value with id {test!r} (methods that have: {known}); "
            "add one, or take the method out of the reproduction"
        )
    chosen = chosen[chosen["method"].isin(methods)]
    rows = []
    for row in chosen.itertuples(index=False):
        method = methods[row.method]
        sets = row.ood_set.split(JOINED)
        ours, seeds = _ours(ood, method, sets, row.metric)
        rows.append(
            {column: getattr(row, column) for column in KEYS}
            | {"test_time": method["test_time"], "published": row.value}
            | {"ours": ours, "difference": ours - row.value, "seeds": seeds}
            | {"tolerance": tolerance_of_means if len(sets) > 1 else tolerance}
            | {"source": row.source}
        )
    frame = pd.DataFrame(rows)
    # 0.3 is not .3 in binary: differences count to a thousandth of a point.
    within = (frame["difference"].abs().round(3) <= frame["tolerance"]).astype("boolean")
    frame.insert(len(frame.columns) - 1, "within_tolerance", within.mask(frame["ours"].isna()))
    order = ["method", "test_time", "id", "ood_set", "metric", "published", "ours", "difference"]
    return frame[[*order, "seeds", "tolerance", "within_tolerance", "source"]]


def _ours(ood, method, sets, metric):
    """(mean over the OOD sets and seeds in percent, number of seeds); (NaN, 0) without one."""
    wanted = {"condition": "clean", "images": "all"} | method["rows"]
    rows = ood[(ood[list(wanted)] == list(wanted.values())).all(axis=1)]
    by_set = rows[rows["ood_set"].isin(sets)].groupby("ood_set")[metric]
    if by_set.ngroups < len(sets) or by_set.count().min() == 0:
        return float("nan"), 0
    return 100 * float(by_set.mean().mean()), int(by_set.count().max())
