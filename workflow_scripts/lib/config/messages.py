"""Mistakes in a config, in words that name the key and, for a typo, the nearest valid one."""

import difflib
import re

from pydantic_core import PydanticCustomError

from workflow_scripts.lib.errors import InputError

SHOWN = 20  # valid names that a message has, at most
# pydantic's type of an error -> how its message goes on after the key.
PHRASES = {
    "missing": " needs the key {key!r}",
    "bool_type": ": {value!r} is neither true nor false",
    "string_type": ": {value!r} is no text",
    "list_type": ": {value!r} is no list",
    "dict_type": " must be a mapping, not {value!r}",
    "too_short": " must not be empty",
    "int_type": ": {value!r} is no whole number",
    "int_parsing": ": {value!r} is no whole number",
    "int_from_float": ": {value!r} is no whole number",
    "float_type": ": {value!r} is no number",
    "float_parsing": ": {value!r} is no number",
    "finite_number": ": {value} is no finite number",
    "greater_than": ": {value!r} is less than or equal to the minimum of {gt:g}",
    "greater_than_equal": ": {value!r} is less than the minimum of {ge:g}",
    "less_than_equal": ": {value!r} is greater than the maximum of {le:g}",
    "string_pattern_mismatch": " must be of letters, digits, underscores and dots",
}
# Type of what YAML made of a text -> the remedy.
IN_QUOTES = {
    bool: "; put it in quotes, as YAML takes no, off, yes and on for false and true",
    int: "; put it in quotes",
    float: "; put it in quotes",
}


def wrong(text):
    """The error to raise in a validator; text: how the message goes on after the key."""
    return PydanticCustomError("wrong", "{text}", {"text": text})


def unknown_key(key, hint):
    """The error to raise in a validator for a key of a block that has none such."""
    return PydanticCustomError("unknown_key", "{hint}", {"key": key, "hint": hint})


def nearest(name, valid):
    """'did you mean X?' or the list of valid names, to end an error message."""
    valid = [str(v) for v in valid]
    close = difflib.get_close_matches(str(name), valid, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    shown = valid[:SHOWN] + ["..."] * (len(valid) > SHOWN)
    return f"valid: {', '.join(shown)}" if valid else "none is defined"


def input_error(error, path=()):
    """An InputError for the first mistake of a pydantic ValidationError.

    path: the keys that lead to the validated block.
    """
    first = error.errors(include_url=False)[0]
    keys, key = [*path, *first["loc"]], None
    if first["type"] == "unknown_key":
        where = _path([*keys, first["ctx"]["key"]])
        return InputError(f"config: unknown key {where!r}; {first['ctx']['hint']}")
    if first["type"] == "missing":
        key = keys.pop()
    where = _path(keys) or "the top level"
    if keys and keys[-1] == "[key]":  # pydantic's mark of a mistake in the key itself
        name = first["input"]  # pydantic has 0 for False among the keys
        where = f"the name {_path([*keys[:-2], str(name)])!r}"
    return InputError(f"config: {where}{_phrase(first, key)}")


def _phrase(error, key):
    if error["type"] == "wrong":
        return error["msg"]
    if error["type"] == "literal_error":
        valid = re.findall(r"'(.*?)'", error["ctx"]["expected"])  # "'a', 'b' or 'c'"
        return f": {error['input']!r} is not valid; {nearest(error['input'], valid)}"
    phrase = PHRASES.get(error["type"], ": {value!r} is not valid")
    if error["type"] == "string_type":
        phrase += IN_QUOTES.get(type(error["input"]), "")
    return phrase.format(value=error["input"], key=key, **error.get("ctx", {}))


def _path(keys):
    """Keys and indexes as in 'encoders.mine.texts.w[0]'."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    return text.removeprefix(".")
