"""Prompts: concepts in the templates of their part of speech."""

import difflib
import logging

from workflow_scripts.lib.errors import InputError

# Keys of prompts that are easily mistyped: nouns, Verb. The column pos may hold others.
KNOWN = ["default", "noun", "adjective", "verb", "adverb", "conjugated"]
SHOWN = 20  # parts of speech that a message has, at most


def check_prompts(prompts, key="prompts"):
    """Raise InputError, naming `key`, for a template without exactly one '{}', and for a part of
    speech that is nearly, but not quite, one of KNOWN."""
    for name, templates in prompts.items():
        near = difflib.get_close_matches(name, KNOWN, n=1, cutoff=0.75)
        if near and name not in KNOWN:
            raise InputError(
                f"{key}.{name}: did you mean {near[0]!r}? If the column pos says {name!r}, change "
                "it there too."
            )
        for template in templates:
            if template.count("{}") != 1:
                raise InputError(f"{key}.{name}: {template!r} must hold exactly one '{{}}'.")


def check_parts(parts, prompts, corpus):
    """Do the prompts fit the parts of speech of a corpus?

    parts: its parts of speech, a set. corpus: its file, for messages. Warns of templates for a
    part that it lacks: prompts may serve several corpora. Raises InputError for a part without
    templates.
    """
    for part in sorted(parts):
        templates_of(part, prompts)
    shown = ", ".join(map(repr, sorted(parts)[:SHOWN])) + ", ..." * (len(parts) > SHOWN)
    for name in [name for name in prompts if name not in parts | {"default"}]:
        logging.warning(
            "prompts.%s is not used: no concept of %s has the pos %r, only %s",
            *(name, corpus, name, shown),
        )


def templates_of(part, prompts):
    """The templates of a part of speech, else the default ones. Raises InputError without any."""
    templates = prompts.get(part) or prompts.get("default")
    if not templates:
        raise InputError(f"prompts: no templates for {part!r}; add them or a 'default' list.")
    return templates


def apply_prompts(concepts, pos, prompts):
    """Every concept in every template of its part of speech.

    concepts, pos: sequences of V strings. prompts: dict from a part of speech to a list of
        templates with one '{}' each; "default" serves parts of speech that are not named.

    Returns a list of V lists of prompts.
    Raises InputError for a bad template or a part of speech without templates.
    """
    check_prompts(prompts)
    return [
        [template.replace("{}", concept) for template in templates_of(part, prompts)]
        for concept, part in zip(concepts, pos, strict=True)
    ]
