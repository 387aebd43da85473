"""Make the README's reliability table of what the campaigns wrote: `python table.py` prints it,
`--write` puts it into the README, between its two marks. Exit status 1 if a case went wrong or was
not tried."""

import argparse
import importlib
import json
import sys
from pathlib import Path

import pandas as pd
from campaign import NAMES, OUTCOMES

ROOT = Path(__file__).parent.parent.parent
MARKS = "<!-- reliability: make campaign -->", "<!-- end of reliability -->"


def row(outcomes, name):
    """The row of a campaign: its script, and the outcome that it wrote."""
    script, path = importlib.import_module(name), outcomes / f"{name}.json"
    done = json.loads(path.read_text())["cases"] if path.exists() else {}
    cases = pd.DataFrame(done.values(), columns=["tries", "minutes", "wrong"])
    return {
        "campaign": script.TITLE,
        "of": sum(case.tries for case in script.cases(short=False, seed=0)),
        "tried": cases["tries"].sum(),
        "cases that went wrong": cases["wrong"].count(),
        "found wrong at first, mended": len(script.FOUND),
        "minutes": round(cases["minutes"].sum(), 1),
    }


def table(outcomes):
    """A row per campaign of what is in this folder, a data frame."""
    return pd.DataFrame([row(outcomes, name) for name in NAMES])


def replaced(text, table):
    """The README's text with this table between the marks."""
    before, rest = text.split(MARKS[0])
    _, after = rest.split(MARKS[1])
    return f"{before}{MARKS[0]}\n{table}\n{MARKS[1]}{after}"


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--write", action="store_true")
    rows = table(OUTCOMES)
    made = rows.to_markdown(index=False)
    print(made)
    if arguments.parse_args().write:
        readme = ROOT / "README.md"
        readme.write_text(replaced(readme.read_text("utf-8"), made), "utf-8")
    incomplete = (rows["cases that went wrong"] > 0) | (rows["tried"] < rows["of"])
    sys.exit(bool(incomplete.any()))
