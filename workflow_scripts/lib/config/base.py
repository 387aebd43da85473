"""What the models of the config are made of: blocks, numbers, names, and choices among blocks.

The models stand beside the methods that they configure, in `models.py` of every package. The
workflow imports them at every start, so they import nothing heavy. Values are as pydantic reads
them: numbers may be given as text (YAML reads 1e-3 as text, and `--config` hands over text).
"""

import difflib
from functools import reduce
from operator import or_
from typing import Annotated, Literal, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    WrapValidator,
    model_validator,
)

from workflow_scripts.lib.config.messages import nearest, unknown_key, wrong


class Block(BaseModel):
    """A block of the config. Unknown keys are refused; an empty block (null) has all defaults."""

    # `forbid` reaches the JSON schema; of the keys themselves `_known` is the first to speak.
    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _known(cls, block):
        keys = [field.alias or name for name, field in cls.model_fields.items()]
        for key in (block := mapping(block)):
            if key not in keys:
                raise unknown_key(key, nearest(key, keys))
        return block


def mapping(value):
    """The value if it is a dict, {} for None."""
    if not isinstance(value, dict | None):
        raise wrong(f" must be a mapping, not {value!r}")
    return {} if value is None else value


def optional(description):
    """A key without a default: where it is not given, the resolved block has no such key."""
    return Field(
        None,
        exclude_if=lambda value: value is None,
        json_schema_extra=lambda schema: schema.pop("default"),
        description=description,
    )


def _no_bool(value):
    if isinstance(value, bool):
        raise wrong(f": {value} is no number")
    return value


def whole(**limits):
    """The type of a whole number within limits, named as pydantic does: ge, gt, le, lt."""
    return Annotated[int, Field(**limits), BeforeValidator(_no_bool)]


def number(**limits):
    """The type of a finite number within limits."""
    return Annotated[float, Field(allow_inf_nan=False, **limits), BeforeValidator(_no_bool)]


Count = whole(ge=1)
Natural = whole(ge=0)
Number = number()
Positive = number(gt=0)
Share = number(ge=0, le=1)


def _free(name):
    if name == "none":
        raise wrong(" stands for no block; choose another name")
    return name


# Letters, digits, underscores and dots, so that a name can be part of a path.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.]*$"), AfterValidator(_free)]
T = TypeVar("T")
_NO_OTHERS = Field(json_schema_extra={"additionalProperties": False})
Named = Annotated[dict[Name, T], _NO_OTHERS, BeforeValidator(mapping)]
OneOrMoreNamed = Annotated[dict[Name, T], Field(min_length=1), _NO_OTHERS, BeforeValidator(mapping)]


# What is there twice would count as two: one clustering as a spread over seeds, say.
def _distinct(items):
    for i, item in enumerate(items):
        if item in items[:i]:
            named = repr(item) if isinstance(item, str | int) else f"entry {i}"
            raise wrong(f": {named} is there twice; once is enough")
    return items


def distinct_values(mapped):
    """The mapping, if no value is in it twice."""
    _distinct(list(mapped.values()))
    return mapped


Several = Annotated[list[T], AfterValidator(_distinct)]
OneOrMore = Annotated[list[T], Field(min_length=1), AfterValidator(_distinct)]


def one_of(*models):
    """The type of a block that is one of these models; its key `method` says which."""
    by_method = {get_args(m.model_fields["method"].annotation)[0]: m for m in models}

    def choose(block, _, info):
        if not isinstance(block, dict) or "method" not in block:
            close = difflib.get_close_matches("method", map(str, mapping(block)), n=1)
            if close:
                raise unknown_key(close[0], nearest(close[0], ["method"]))
            raise wrong(f" needs the key 'method' ({nearest('', by_method)})")
        if block["method"] not in list(by_method):  # it may be no text
            hint = nearest(block["method"], by_method)
            raise wrong(f".method: unknown method {block['method']!r}; {hint}")
        return by_method[block["method"]].model_validate(block, context=info.context)

    return Annotated[reduce(or_, models), WrapValidator(choose)]


def number_or(kind, *words):
    """The type of a number of this kind, e.g. Count, that one of the words may stand for."""
    adapter = TypeAdapter(kind)

    def check(value, _):
        if isinstance(value, str) and value not in words and not _is_number(value):
            raise wrong(f": {value!r} is no number and does not match '^{'|'.join(words)}$'")
        return value if value in words else adapter.validate_python(value)

    return Annotated[kind | Literal[words], WrapValidator(check)]


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def or_path(model):
    """The type of a block for which a plain string, its `path`, may stand."""
    return or_text(model, "path")


def or_text(model, key):
    """The type of a block for which a plain string, the value of this key, may stand."""

    def read(value, _, info):
        block = {key: value} if isinstance(value, str) else value
        return model.model_validate(block, context=info.context)

    return Annotated[model | str, WrapValidator(read)]
