"""Config files that say something else than they seem to."""

import re

import yaml

from workflow_scripts.lib.errors import InputError

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# Numbers that YAML 1.1, which Snakemake reads, takes to the base of 8 or 60: 010 is 8, 1:30 is 90.
OTHER_BASE = re.compile(r"[-+]?(0[0-7_]+|[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?)")


def check_yaml(path):
    """Raise InputError, with file and line, for a key that is there twice in a mapping (the last
    one would count) and for a number that is none to the base of 10.

    path: a file in YAML or JSON that can be read.
    """
    with open(path, encoding="utf-8") as file:  # noqa: PTH123 - may be a Path or a text
        root = yaml.compose(file, LOADER)
    if root is not None:
        _check(root, path)


def _check(node, path):
    if isinstance(node, yaml.MappingNode):
        seen = {}
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name in seen and name is not None:
                raise InputError(
                    f"{_place(key, path)}: the key {name!r} is there twice (first in line "
                    f"{seen[name]}), and the first would not count: remove one"
                )
            seen[name] = key.start_mark.line + 1
            _check(value, path)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check(item, path)
    elif node.tag.endswith((":int", ":float")) and OTHER_BASE.fullmatch(node.value):
        value = yaml.load(node.value, LOADER)
        raise InputError(
            f"{_place(node, path)}: YAML reads {node.value} as {value}: write the number without "
            "leading zeros and colons, or a text in quotes"
        )


def _place(node, path):
    return f"{path}, line {node.start_mark.line + 1}"
