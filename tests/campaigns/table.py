"""Make the README's reliability table of what the campaigns wrote: `python table.py` prints it,
`--write` puts it into the README, between its two marks."""

import argparse
import importlib
import json
from pathlib import Path

import pandas as pd
from campaign import OUTCOMES

ROOT = Path(__file__).parent.parent.parent
MARKS = "<!-- reliability: make campaign -->", "<!-- end of reliability -->"


def row(path):
    """The row of a campaign, of its outcome and the script of the same name."""
    outcome = json.loads(path.read_text())
    cases = pd.DataFrame(outcome["cases"].values())
    found = importlib.import_module(path.stem).FOUND
    return {
        "campaign": outcome["campaign"],
        "of": outcome["of"],
        "tried": cases["tries"].sum(),
        "cases that went wrong": cases["wrong"].count(),
        "found wrong at first, mended": len(found),
        "minutes": round(cases["minutes"].sum(), 1),
    }


def table(outcomes):
    """The table in Markdown."""
    return pd.DataFrame(map(row, sorted(outcomes.glob("*.json")))).to_markdown(index=False)


def replaced(text, table):
    """The README's text with this table between the marks."""
    before, rest = text.split(MARKS[0])
    _, after = rest.split(MARKS[1])
    return f"{before}{MARKS[0]}\n{table}\n{MARKS[1]}{after}"


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--write", action="store_true")
    made = table(OUTCOMES)
    print(made)
    if arguments.parse_args().write:
        readme = ROOT / "README.md"
        readme.write_text(replaced(readme.read_text("utf-8"), made), "utf-8")
