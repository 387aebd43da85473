"""Published values beside those of studies: published, ours, difference, within tolerance or not.

Methods that learn from the test images have a table of their own in the Markdown.
"""

import pandas as pd

from workflow_scripts.lib import artifacts
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.job import job
from workflow_scripts.lib.report.published import compare, read_published
from workflow_scripts.lib.report.tables import (
    markdown,
    read_frame,
    write_frame,
    write_markdown,
)

VERDICTS = {True: "yes", False: "no", pd.NA: "not in the study"}
NOTES = """\
Values are in percent, differences in percentage points. `ours` is the mean over the study's seeds;
an OOD set of several, joined by +, is the mean over these. The sources, and every digit, are in
reproduction.csv."""


def compare_published(ood, published, cfg, parquet, csv, md, html):
    """ood, published: for each reproduction the study's OOD table and the file of published values.

    cfg: reproduction -> "study" and the further arguments of `compare`, "compare".
    """
    frames = []
    for table, values, (name, block) in zip(ood, published, cfg.items(), strict=True):
        try:
            frame = compare(read_published(values), read_frame(table), **block["compare"])
        except InputError as error:
            raise InputError(f"reproductions.{name} ({values}): {error}") from error
        frame.insert(0, "reproduction", name)
        frame.insert(1, "study", block["study"])
        frames.append(frame)
    frame = pd.concat(frames, ignore_index=True)
    write_frame(parquet, frame)
    artifacts.write_text(csv, frame.to_csv(index=False))
    write_markdown(md, html, "\n".join(readable(frame)))


def readable(frame):
    """Lines of Markdown: how many values are within tolerance, and the tables."""
    known = frame["within_tolerance"].dropna()
    lines = ["# Published values and ours", ""]
    lines += [f"{int(known.sum())} of {len(known)} values are within tolerance.", ""]
    parts = {
        "Every image is scored by itself": frame[~frame["test_time"]],
        "Methods that learn from the test images": frame[frame["test_time"]],
    }
    for title, rows in parts.items():
        if len(rows):
            shown = rows.drop(columns=["test_time", "source"])
            shown["within_tolerance"] = [VERDICTS[value] for value in shown["within_tolerance"]]
            shown = shown.rename(columns={"within_tolerance": "within tolerance"})
            lines += [f"## {title}", "", markdown(shown, 2), ""]
    return [*lines, NOTES, ""]


if __name__ == "__main__":
    with job(snakemake):
        compare_published(
            snakemake.input.ood,
            snakemake.input.published,
            snakemake.params.cfg,
            *snakemake.output,
        )
