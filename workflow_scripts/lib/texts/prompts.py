"""Prompts: concepts in the templates of their part of speech."""

from workflow_scripts.lib.errors import InputError


def check_prompts(prompts, key="prompts"):
    """Raise InputError, naming `key`, for a template without exactly one '{}'."""
    for name, templates in prompts.items():
        for template in templates:
            if template.count("{}") != 1:
                raise InputError(f"{key}.{name}: {template!r} must hold exactly one '{{}}'.")


def apply_prompts(concepts, pos, prompts):
    """Every concept in every template of its part of speech.

    concepts, pos: sequences of V strings. prompts: dict from a part of speech to a list of
        templates with one '{}' each; "default" serves parts of speech that are not named.

    Returns a list of V lists of prompts.
    Raises InputError for a bad template or a part of speech without templates.
    """
    check_prompts(prompts)

    def templates_for(part):
        templates = prompts.get(part) or prompts.get("default")
        if not templates:
            raise InputError(f"prompts: no templates for {part!r}; add them or a 'default' list.")
        return templates

    return [
        [template.replace("{}", concept) for template in templates_for(part)]
        for concept, part in zip(concepts, pos, strict=True)
    ]
