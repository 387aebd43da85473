"""What the campaigns share: cases, how they are run, and their row of the reliability table.

A campaign is a script of this folder with TITLE, `cases(short, seed)` and FOUND: what it found
wrong when it first ran, and the test that holds the mended behaviour. `make campaign` runs all of
them in full, and `table.py` makes the README's table of what they wrote; `tests/test_campaigns.py`
runs their short forms.
"""

import argparse
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

OUTCOMES = Path(__file__).parents[2] / "results/campaigns"
TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(TESTS.parent), str(TESTS)]  # of a script that runs by itself


@dataclass(frozen=True)
class Case:
    """One thing that is tried, or a series of so many. check(empty folder) raises AssertionError if
    it went wrong."""

    name: str
    check: Callable[[Path], None]
    tries: int = 1


def what_went_wrong(case):
    """Run a case in a temporary folder: None, or what went wrong."""
    with tempfile.TemporaryDirectory(prefix="campaign-") as folder:
        try:
            case.check(Path(folder))
        except AssertionError as wrong:
            return str(wrong) or traceback.format_exc(limit=-1)
    return None


def run(title, cases):
    """Run the cases; print what went wrong. Returns the outcome, for the table."""
    start, wrong = time.monotonic(), []
    for number, case in enumerate(cases, 1):
        problem = what_went_wrong(case)
        print(f"{number}/{len(cases)} {'wrong' if problem else 'right'}: {case.name}", flush=True)
        if problem:
            wrong.append(case.name)
            print(problem, flush=True)
    minutes = (time.monotonic() - start) / 60
    tried = sum(case.tries for case in cases)
    return {"campaign": title, "tried": tried, "wrong": wrong, "minutes": round(minutes, 1)}


def main(title, cases):
    """The command line of a campaign: exit status 1 if anything went wrong."""
    arguments = argparse.ArgumentParser(description=title)
    arguments.add_argument("--short", action="store_true", help="the form that CI runs")
    arguments.add_argument("--seed", type=int, default=0, help="of what is drawn at random")
    arguments.add_argument("--only", default="", help="cases whose name has this text")
    given = arguments.parse_args()
    chosen = [case for case in cases(given.short, given.seed) if given.only in case.name]
    outcome = run(title, chosen)
    print(f"{title}: {outcome['tried']} tried, {len(outcome['wrong'])} wrong")
    if not given.short and not given.only:
        OUTCOMES.mkdir(parents=True, exist_ok=True)
        path = OUTCOMES / f"{Path(sys.argv[0]).stem}.json"
        path.write_text(json.dumps(outcome | {"seed": given.seed}, indent=1) + "\n")
    sys.exit(bool(outcome["wrong"]))
