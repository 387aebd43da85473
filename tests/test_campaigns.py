"""The short forms of the campaigns, and that what they found is held by a test that there is."""

import importlib
import json
import re
from pathlib import Path

import pytest
from campaign import NAMES, Case, run
from table import table

TESTS = Path(__file__).parent
MODULES = {name: importlib.import_module(name) for name in NAMES}
CASES = {
    f"{name}: {case.name}": case
    for name, module in MODULES.items()
    for case in module.cases(short=True, seed=0)
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_short_form(name, tmp_path):
    CASES[name].check(tmp_path)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_what_was_found_has_a_test(name):
    for what, test in MODULES[name].FOUND.items():
        file, function = test.partition("[")[0].split("::")
        if case := re.search(r"\[(.*)\]", test):
            assert case[1] in CASES, what
        assert re.search(rf"^def {function}\(", (TESTS / file).read_text("utf-8"), re.M), what


def test_a_campaign_goes_on_after_the_cases_that_are_done():
    tried = []

    def check(folder):
        tried.append(folder)
        assert len(tried) < 2, "the second time is wrong"

    cases = [Case(name, check, tries=3) for name in ("a", "b", "c")]
    done = {"a": {"tries": 3, "minutes": 1.0, "wrong": None}}
    outcomes = run(cases, done)
    assert len(tried) == 2 and list(outcomes) == ["a", "b", "c"] and outcomes["a"] is done["a"]
    assert outcomes["b"]["wrong"] is None and "second time" in outcomes["c"]["wrong"]
    names = [case.name for module in MODULES.values() for case in module.cases(False, seed=0)]
    assert len(names) == len(set(names))


def test_the_table_counts_what_was_tried_and_what_went_wrong(tmp_path):
    case = {"tries": 20, "minutes": 1.5, "wrong": None}
    cases = {"a": case, "b": case | {"wrong": "a file was left"}}
    (tmp_path / "kills.json").write_text(json.dumps({"seed": 0, "cases": cases}))
    rows = table(tmp_path).set_index("campaign")
    kills = rows.loc["Kills"]
    assert (kills["of"], kills["tried"]) == (200, 40)
    assert (kills["cases that went wrong"], kills["minutes"]) == (1, 3.0)
    assert rows["tried"].sum() == 40 and len(rows) == len(NAMES)
