import logging

import pytest

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.texts.prompts import apply_prompts, check_parts, check_prompts


def test_apply_prompts_by_part_of_speech():
    prompts = {"default": ["a {}.", "the {}."], "adjective": ["a {} photo {{"]}
    assert apply_prompts(["fox", "red", "{}"], ["noun", "adjective", "verb"], prompts) == [
        ["a fox.", "the fox."],
        ["a red photo {{"],
        ["a {}.", "the {}."],
    ]


@pytest.mark.parametrize("template", ["a photo", "{} and {}", "a { }"])
def test_apply_prompts_refuses_bad_templates(template):
    with pytest.raises(InputError, match=r"prompts.noun: .* exactly one"):
        apply_prompts(["fox"], ["noun"], {"noun": [template]})


def test_apply_prompts_refuses_a_part_of_speech_without_templates():
    with pytest.raises(InputError, match="no templates for 'verb'"):
        apply_prompts(["run"], ["verb"], {"noun": ["a {}"]})


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("nouns", "noun"),
        ("Noun", "noun"),
        ("adjectives", "adjective"),
        ("adjectve", "adjective"),
        ("verbs", "verb"),
        ("Adverb", "adverb"),
        ("conjugate", "conjugated"),
        ("defualt", "default"),
    ],
)
def test_a_mistyped_part_of_speech_is_refused(name, meant):
    with pytest.raises(InputError, match=rf"^my\.key\.{name}: did you mean '{meant}'\?"):
        check_prompts({"default": ["a {}"], name: ["the {}"]}, "my.key")


def test_parts_of_speech_of_ones_own_are_not():
    names = ["noun", "adjective", "verb", "adverb", "conjugated", "default"]
    names += ["NOUN", "ADJ", "PROPN", "pronoun", "proverb", "preposition", "noun phrase", "n"]
    check_prompts({name: ["a {}"] for name in names})


def test_templates_that_no_concept_has_are_named(caplog):
    prompts = {"default": ["a {}"], "noun": ["the {}"], "ADJ": ["{} things"]}
    with caplog.at_level(logging.WARNING):
        check_parts({"noun", "adjective"}, prompts, "words.parquet")
    assert [record.getMessage() for record in caplog.records] == [
        "prompts.ADJ is not used: no concept of words.parquet has the pos 'ADJ', only 'adjective', "
        "'noun'"
    ]
    caplog.clear()
    check_parts({"noun", "ADJ", "verb"}, prompts, "words.parquet")
    assert not caplog.records
    with pytest.raises(InputError, match="no templates for 'verb'"):
        check_parts({"noun", "verb"}, {"noun": ["a {}"]}, "words.parquet")
