"""References between sections of the config: which names are defined, and whether one is."""

from dataclasses import dataclass

from pydantic_core import core_schema

from workflow_scripts.lib.config.messages import nearest, wrong


@dataclass(frozen=True)
class Names:
    """Marks a string that must be a name defined in a section: Annotated[str, Names("corpora")].

    The context of the validation is the `defined_names`.
    """

    section: str

    def __get_pydantic_core_schema__(self, source, handler):
        return core_schema.with_info_after_validator_function(self._check, handler(source))

    def _check(self, name, info):
        names = info.context.get(self.section, [])
        if name not in names:
            raise wrong(undefined(name, self.section, names))
        return name


def undefined(name, section, names):
    """How the message goes on after the key that has an undefined name."""
    return f": {name!r} is not defined in {section}; {nearest(name, names)}"


def defined_names(config):
    """Section -> the names defined there, of a config as it was read, with all its mistakes.

    Among the studies are those that the ablations make (`ablated_studies`).
    """
    names = {section: list(_mapping(blocks)) for section, blocks in config.items()}
    for name, ablation in _mapping(config.get("ablations")).items():
        values = _mapping(_mapping(ablation).get("values"))
        names.setdefault("studies", []).extend(ablated_studies(name, {"values": values}))
    return names


def ablated_studies(name, ablation):
    """Names of the studies of an ablation -> the value of the key that it varies."""
    return {f"{name}.{label}": value for label, value in ablation["values"].items()}


def _mapping(value):
    return value if isinstance(value, dict) else {}
