import pytest

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.texts.prompts import apply_prompts


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
