"""Compare the numbers and pictures of the documentation with the results that they are from.

`make figures` makes the results, then runs `python tests/figures.py --all`: it fails if a number or
picture is not what the results say, and names it. Without `--all` what has no result yet is named,
too, but is no failure. `--write` renews what differs; the words around a number stay yours. What is
compared is listed in claims.py.
"""

import argparse
import errno
import re
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from claims import CLAIMS, PICTURES
from PIL import Image

ROOT = Path(__file__).parent.parent
NUMBER = r"(-?\d(?:[\d,]*\d)?(?:\.\d+)?)"


def reader(results):
    """Function (path below the folder `results`) -> data frame; each file is read once."""

    @cache
    def read(path):
        path = Path(results) / path
        if not path.exists():
            raise FileNotFoundError(errno.ENOENT, "no result", str(path))
        return pd.read_parquet(path)

    return read


def pattern(text):
    """What finds a claim's text and its numbers; spaces stand for any white space."""
    pieces = [r"\s+".join(map(re.escape, piece.split(" "))) for piece in text.split("{}")]
    return re.compile(NUMBER.join(pieces))


def place_of(claim, markdown):
    """The one place of a claim in a Markdown text; None if it is not there, or there twice."""
    places = list(pattern(claim.text).finditer(markdown))
    return places[0] if len(places) == 1 else None


def off(shown, value, tolerance):
    """Whether a number as written is neither the value, rounded as it is, nor within tolerance."""
    decimals = len(shown.partition(".")[2])
    return abs(float(shown.replace(",", "")) - value) > 0.5 * 10**-decimals + tolerance + 1e-9


def renewed(shown, value):
    """The value, written with as many decimals as the number has."""
    return f"{value:,.{len(shown.partition('.')[2])}f}"


def check_claim(claim, markdown, read):
    """(problem or None, the Markdown with the claim's numbers renewed).

    Raises FileNotFoundError if a result is not there.
    """
    place = place_of(claim, markdown)
    if place is None:
        return "is not in the text (once), so nothing was compared", markdown
    values = claim.numbers(read)
    shown = place.groups()
    limits = claim.tolerance or (0,) * len(shown)
    numbers = enumerate(zip(shown, values, limits, strict=True), 1)
    wrong = [(i, old, renewed(old, value)) for i, (old, value, limit) in numbers
             if off(old, value, limit)]  # fmt: skip
    for i, _, new in reversed(wrong):
        markdown = markdown[: place.start(i)] + new + markdown[place.end(i) :]
    problem = ", ".join(f"{old} should be {new}" for _, old, new in wrong)
    return problem or None, markdown


def drawn(picture, results):
    """The picture as its figure shows it now. Raises FileNotFoundError."""
    figure = Image.open(Path(results) / picture.figure)
    return figure.crop((0, 0, figure.width, picture.height or figure.height))


def is_same(one, other):
    """Whether two pictures have the same pixels."""
    one, other = one.convert("RGBA"), other.convert("RGBA")
    return one.size == other.size and np.array_equal(np.asarray(one), np.asarray(other))


def check(root, results, claims=CLAIMS, pictures=PICTURES, write=False):
    """Compare the documentation below `root` with `results`: lists of what differs, each "file:
    what", and of what has no result yet. write: renew what differs."""
    differing, missing = [], []
    read = reader(results)
    for claim in claims:
        path = root / claim.file
        text = path.read_text("utf-8")
        try:
            problem, now = check_claim(claim, text, read)
        except FileNotFoundError as error:
            missing.append(f"{claim.file}: {claim.text!r} ({error.filename})")
            continue
        if problem:
            differing.append(f"{claim.file}: {claim.text!r}: {problem}")
        if write and now != text:
            path.write_text(now, "utf-8")
    for picture in pictures:
        try:
            now = drawn(picture, results)
        except FileNotFoundError as error:
            missing.append(f"{picture.file} ({error.filename})")
            continue
        if not is_same(now, Image.open(root / picture.file)):
            differing.append(f"{picture.file}: is not the top of results/{picture.figure}")
            if write:
                now.save(root / picture.file, optimize=True)
    return differing, missing


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--results", type=Path, default=ROOT / "results")
    parser.add_argument("--all", action="store_true", help="what has no result is a failure")
    parser.add_argument("--write", action="store_true", help="renew what differs")
    arguments = parser.parse_args()
    differing, missing = check(ROOT, arguments.results, write=arguments.write)
    for line in missing:
        print(f"no result   {line}")
    for line in differing:
        print(f"{'renewed' if arguments.write else 'differs':11} {line}")
    total = len(CLAIMS) + len(PICTURES)
    equal = total - len(differing) - len(missing)
    print(f"{equal} of {total} claims and pictures are as the results say.")
    failed = (differing and not arguments.write) or (missing and arguments.all)
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
