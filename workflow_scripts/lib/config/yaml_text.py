"""Config files that say something else than they seem to."""

import re

import yaml

from workflow_scripts.lib.errors import InputError

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MAX_VALUES = 1_000_000  # of a config, aliases written out
# Numbers that YAML 1.1, which Snakemake reads, takes to the base of 8 or 60: 010 is 8, 1:30 is 90.
OTHER_BASE = re.compile(r"[-+]?(0[0-7_]+|[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?)")


def check_yaml(path):
    """Raise InputError, with file and line, for a key that is there twice in a mapping (the last
    one would count), for a number that is none to the base of 10, and for aliases (*name) that make
    more of a file than memory holds.

    path: a file in YAML or JSON that can be read.
    """
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - may be a Path or a text
            root = yaml.compose(file, LOADER)
        if root is not None:
            _check(root, path, {})
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid YAML ({error})") from error
    except RecursionError as error:
        raise InputError(f"{path} is nested too deeply to be a config") from error


def _check(node, path, sizes):
    """The number of values of a node, its aliases written out. sizes: those of nodes before it."""
    if id(node) in sizes:
        if not sizes[id(node)]:
            raise InputError(f"{_place(node, path)}: an alias holds itself: remove it")
        return sizes[id(node)]
    sizes[id(node)] = 0  # until it is known
    inside = []
    if isinstance(node, yaml.MappingNode):
        _check_keys(node, path)
        inside = [value for _, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        inside = node.value
    else:
        _check_number(node, path)
    size = 1 + sum(_check(item, path, sizes) for item in inside)
    if size > MAX_VALUES:
        raise InputError(
            f"{_place(node, path)}: its aliases make more than {MAX_VALUES:,} values: write out "
            "what is meant"
        )
    sizes[id(node)] = size
    return size


def _check_keys(node, path):
    seen = {}
    for key, _ in node.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else None
        if name in seen and name is not None:
            raise InputError(
                f"{_place(key, path)}: the key {name!r} is there twice (first in line "
                f"{seen[name]}), and the first would not count: remove one"
            )
        seen[name] = key.start_mark.line + 1


def _check_number(node, path):
    if node.tag.endswith((":int", ":float")) and OTHER_BASE.fullmatch(node.value):
        value = yaml.load(node.value, LOADER)
        raise InputError(
            f"{_place(node, path)}: YAML reads {node.value} as {value}: write the number without "
            "leading zeros and colons, or a text in quotes"
        )


def _place(node, path):
    return f"{path}, line {node.start_mark.line + 1}"
