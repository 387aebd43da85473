"""Count the images of the sets in use and compare with what is expected, before anything runs.

Names, sizes and headers are read, images are not. Prints a table of the image sets and one of the
further files that a run needs; ends with an error if something is missing or a count differs.
"""

import logging
from pathlib import Path

import pandas as pd

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images.inventory import OK, check_set
from workflow_scripts.lib.job import job

COLUMNS = ["set", "path", "kind", "images", "expected", "classes", "expected classes", "verdict"]


def check_image_sets(image_sets):
    """A row of text per image set, with the COLUMNS.

    image_sets: name -> arguments of `check_set`.
    """
    rows = []
    for name, block in image_sets.items():
        images, classes, verdict = check_set(**block)
        logging.info("%s: %s", name, verdict)
        expected = block["expected"]
        counts = [images, expected.get("images"), classes, expected.get("classes")]
        shown = ["" if count is None else f"{count:,}" for count in counts]
        if images and not classes:
            shown[2] = "no labels"
        rows.append([name, block["options"]["path"], block["kind"], *shown, verdict])
    return pd.DataFrame(rows, columns=COLUMNS, dtype=str)


def check_files(files):
    """A row of text per file or folder: key, path and verdict. files: key of the config -> path."""
    rows = [[key, path, OK if Path(path).exists() else "missing"] for key, path in files.items()]
    return pd.DataFrame(rows, columns=["key", "path", "verdict"], dtype=str)


if __name__ == "__main__":
    with job(snakemake):
        sets = check_image_sets(snakemake.params.cfg["image_sets"])
        files = check_files(snakemake.params.cfg["files"])
        tables = [frame.to_markdown(index=False, disable_numparse=True) for frame in (sets, files)]
        print(*tables, sep="\n\n", flush=True)
        wrong = [*sets["set"][sets["verdict"] != OK], *files["key"][files["verdict"] != OK]]
        if wrong:
            named = ", ".join(wrong[:10]) + (", ..." if len(wrong) > 10 else "")
            raise InputError(f"{len(wrong)} of {len(sets) + len(files)} are wrong: {named}")
        print(f"\nAll {len(sets)} image sets and {len(files)} further files are as they should be.")
