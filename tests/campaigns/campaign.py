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
NAMES = sorted({path.stem for path in Path(__file__).parent.glob("*.py")} - {"campaign", "table"})
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


def run(cases, done, note=lambda outcomes: None):
    """Run the cases that are not done; print what went wrong.

    done: case -> its outcome, from an earlier run. note: called with all outcomes after each case.
    Returns the outcomes: case -> tries, minutes and what went wrong, or None.
    """
    outcomes = {case.name: done[case.name] for case in cases if case.name in done}
    for number, case in enumerate(cases, 1):
        if case.name in done:
            continue
        start = time.monotonic()
        problem = what_went_wrong(case)
        minutes = (time.monotonic() - start) / 60
        print(f"{number}/{len(cases)} {'wrong' if problem else 'right'}: {case.name}", flush=True)
        if problem:
            print(problem, flush=True)
        outcomes[case.name] = {"tries": case.tries, "minutes": minutes, "wrong": problem}
        note(outcomes)
    return outcomes


def main(title, cases):
    """The command line of a campaign: exit status 1 if anything went wrong."""
    arguments = argparse.ArgumentParser(description=title)
    arguments.add_argument("--short", action="store_true", help="the form that CI runs")
    arguments.add_argument("--seed", type=int, default=0, help="of what is drawn at random")
    arguments.add_argument("--only", default="", help="cases whose name has this text")
    arguments.add_argument("--go-on", action="store_true", help="after the cases that are done")
    given = arguments.parse_args()
    chosen = [case for case in cases(given.short, given.seed) if given.only in case.name]
    path = OUTCOMES / f"{Path(sys.argv[0]).stem}.json"
    done = json.loads(path.read_text())["cases"] if given.go_on and path.exists() else {}

    def note(outcomes):
        if given.short or given.only:
            return
        OUTCOMES.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"seed": given.seed, "cases": outcomes}, indent=1) + "\n")

    outcomes = run(chosen, done, note)
    wrong = [name for name, outcome in outcomes.items() if outcome["wrong"]]
    print(f"{title}: {sum(o['tries'] for o in outcomes.values())} tried, {len(wrong)} cases wrong")
    sys.exit(bool(wrong))
