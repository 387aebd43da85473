"""YAML that says something else than it seems to is refused."""

import pytest

from workflow_scripts.lib.config.yaml_text import check_yaml
from workflow_scripts.lib.errors import InputError


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("run: [a]\nrun: [b]\n", "line 2: the key 'run' is there twice .first in line 1"),
        ("a: {k: 4, k: 9}", "line 1: the key 'k' is there twice"),
        ("a:\n  - {b: 1,\n     b: 2}", "line 3: the key 'b'"),
        ('{"a": 1, "a": 2}', "the key 'a'"),
        ("seeds: [0, 010]", "YAML reads 010 as 8"),
        ("k: -017", "YAML reads -017 as -15"),
        ("k: 1:30", "YAML reads 1:30 as 90"),
        ("k: 1:30.5", "YAML reads 1:30.5 as 90.5"),
    ],
)
def test_surprises(tmp_path, text, problem):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(InputError, match=rf"c.yaml, {problem}|c.yaml, line 1: {problem}"):
        check_yaml(tmp_path / "c.yaml")


def test_what_is_read_as_it_looks(tmp_path):
    text = "a: &x {k: 0, l: 10, m: 0.5, n: 1e-3, o: '010', p: '1:30', q: 1_000}\n"
    text += "b: {<<: *x, k: 1}\nc: [{k: 1}, {k: 1}]\nd: 2026-11-26\n"
    (tmp_path / "c.yaml").write_text(text)
    check_yaml(tmp_path / "c.yaml")
    (tmp_path / "c.yaml").write_text("")
    check_yaml(tmp_path / "c.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &a [*a]\n", "line 1: an alias holds itself"),
        (
            "a0: &a0 [x, x]\n"
            + "".join(f"a{i + 1}: &a{i + 1} [*a{i}, *a{i}]\n" for i in range(60)),
            "its aliases make more than 1,000,000 values",
        ),
        ("[" * 5000 + "]" * 5000, "nested too deeply"),
        ("a: [\n", "is not valid YAML"),
    ],
)
def test_what_no_config_can_be_is_named(tmp_path, text, message):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(InputError, match=r"mine\.yaml") as error:
        check_yaml(tmp_path / "mine.yaml")
    assert message in str(error.value) and "\n" not in str(error.value)
