"""Columns of the user's tables."""

from workflow_scripts.lib.errors import InputError


def check_once(place, header, names):
    """Raise InputError if one of these columns is there twice, so that it is unclear which counts.

    place: begins the message. header: names of all columns.
    """
    for name in names:
        if list(header).count(name) > 1:
            raise InputError(f"{place}: the column {name!r} is there twice: keep one.")


def check_spelling(place, header, names):
    """Raise InputError if a column that may be missing is there in another spelling: Pos, " pos".

    place: begins the message. header: names of the columns. names: of those that may be missing.
    """
    for name in names:
        similar = [column for column in header if column.strip().lower() == name]
        if similar and name not in header:
            raise InputError(
                f"{place}: the column {similar[0]!r} would not be read: call it {name!r}, or "
                "something else."
            )
