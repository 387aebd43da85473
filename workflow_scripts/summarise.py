"""Write the one page to read first: every study in a few sentences and one table, no wider than a
terminal, and where to look."""

import re
import textwrap

from workflow_scripts.lib import artifacts
from workflow_scripts.lib.detection.decisions import what_decides
from workflow_scripts.lib.job import job
from workflow_scripts.lib.report.headline import StudyTables, headline, of_study
from workflow_scripts.lib.report.tables import markdown_text, read_frame, write_markdown

WIDTH = 100
# A line up to what would begin a list, a heading or a table there.
BEGINNING = re.compile(r"^\s*(?:1(?=[.)](?:\s|$))|(?=(?:\+|#{1,6}|=+|:?-+:?)(?:\s|$)))")
NOTE = (
    "AUROC is in percent, the mean over seeds of the best choice of negatives and clusterings. In "
    "tables a * marks the best of a detector without labels."
)


def wrapped(text, first="", rest=""):
    """A text as lines of at most WIDTH characters, all of one paragraph; words are never broken."""
    options = {"break_long_words": False, "break_on_hyphens": False}
    lines = textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=rest, **options)
    return lines[:1] + [BEGINNING.sub(r"\g<0>\\", line) for line in lines[1:]]


# ---- the table of a study -----------------------------------------------------------------------


def best_means(means):
    """AUROC by mining method and encoder (rows) and detector (columns), those of the best mean
    first: the best over the choices of negatives and clusterings."""
    best = means.groupby(["mining", "encoder", "detector"], sort=False)["auroc"].max().unstack()
    return best.loc[best.mean(axis=1).sort_values(ascending=False, kind="stable").index]


def row_names(best):
    """Names of the rows of `best_means`, with the encoder if there are several."""
    encoders = best.index.get_level_values("encoder")
    one = encoders.nunique() == 1
    return [mining if one else f"{mining}, {encoder}" for mining, encoder in best.index]


def marked(best, oracles):
    """The values of `best_means` in percent, as text; the best of a detector without labels has *.

    oracles: mining methods that read labels.
    """
    unlabelled = ~best.index.get_level_values("mining").isin(oracles)
    star = (best == best[unlabelled].max()) & unlabelled[:, None]
    shown = (100 * best).map(lambda value: "" if value != value else f"{value:.1f}")
    return shown + star.replace({True: "*", False: " "})


def narrow(first, columns):
    """Lines of Markdown tables without outer bars, none wider than WIDTH.

    first: texts of the first column, its title first; columns: lists of as many texts. Columns that
    do not fit go into further tables.
    """
    widths = [max(map(len, column)) for column in columns]
    lines, start = [], 0
    while start < len(columns):
        total, end = max(map(len, first)), start
        while end < len(columns) and (end == start or total + widths[end] + 3 <= WIDTH):
            total += widths[end] + 3
            end += 1
        shown = [[text.ljust(max(map(len, first))) for text in first]]
        shown += [
            [text.rjust(width) for text in column]
            for column, width in zip(columns[start:end], widths[start:end], strict=True)
        ]
        rule = [
            ["-" * len(shown[0][0]), *("-" * (len(column[0]) - 1) + ":" for column in shown[1:])]
        ]
        rows = [*zip(*shown, strict=True)]
        lines += [" | ".join(row).rstrip() for row in [rows[0], *rule, *rows[1:]]] + [""]
        start = end
    return lines


def matrix(best, oracles):
    """Lines: the AUROC of every mining method and detector.

    best: as `best_means` gives. oracles: as for `marked`.
    """
    texts = marked(best, oracles)
    return narrow(["names of", *row_names(best)], [[name, *texts[name]] for name in texts])


def in_words(best):
    """A sentence with the AUROC of every detector for each row of `best_means`."""
    for row, (_, values) in zip(row_names(best), best.iterrows(), strict=True):
        known = [f"{name} {100 * value:.1f}" for name, value in values.dropna().items()]
        if not known:
            continue
        mining, *encoder = row.split(", ")
        names = ", ".join(["without names" if mining == "none" else f"names of {mining}", *encoder])
        yield f"AUROC, {names}: {', '.join(known)}."


# ---- the page -----------------------------------------------------------------------------------


def tables_of(inputs):
    """The tables over all studies; those that the run lacks are empty."""
    paths = {name: path for name, path in inputs.items() if name not in ("means", "scores")}
    tables = StudyTables(**{name: read_frame(path) for name, path in paths.items()})
    tables.images = artifacts.read_meta(paths["quarantine"])["images"]
    return tables


def study_section(name, study, means, tables, scores):
    """Lines; study: as `headline` takes it, but with deciders (of `queries`) for what decides, and
    with image_sets, where its images come from. scores: the files of which one decides."""
    study = study | what_decides(scores, study["deciders"])
    sentences = headline(study, of_study(tables, name, study["image_sets"]))
    table = []
    named = best_means(means[means["mining"] != "none"])
    if len(named) > 1:
        table = matrix(named, study["oracles"])
    else:
        sentences += in_words(named)
    sentences += in_words(best_means(means[means["mining"] == "none"]))
    lines = [f"## Study {name}"]
    for sentence in sentences:
        lines += wrapped(markdown_text(sentence), "- ", "  ")
    return [*lines, "", *table]


def where_to_look(cfg):
    """Lines that name files that the run makes."""
    texts = [f"{', '.join(cfg['pages'])}: the study in a browser"] if cfg["pages"] else []
    texts.append(f"results/tables/ (.md to read, .csv, .parquet): {', '.join(cfg['tables'])}")
    if cfg["outliers"]:
        texts.append(f"{', '.join(cfg['outliers'])}: the images that belong least first")
    if cfg["figures"]:
        texts.append("; ".join(f"{path}: {what}" for path, what in cfg["figures"].items()))
    texts.append("results/README.md: every file, scores of single images too, and how to open it")
    return [line for text in texts for line in wrapped(text, "- ", "  ")]


def summarise(inputs, cfg, md, html):
    """inputs: a mapping from names of tables over all studies to their paths: means, and the frames
    of StudyTables that the run has; and scores, the files that tell what decides in the studies.

    cfg: studies, name -> what `study_section` needs; of what the run makes tables (names),
    outliers and pages (paths) and figures (path -> what it shows).
    """
    means, tables = read_frame(inputs["means"]), tables_of(inputs)
    lines = ["# Results"]
    if len(means):
        lines += wrapped(NOTE)
    lines.append("")
    scores = {path: artifacts.read_meta(path)["study"] for path in inputs["scores"]}
    for name, study in cfg["studies"].items():
        own = [path for path, of in scores.items() if of == name]
        lines += study_section(name, study, means[means["study"] == name], tables, own)
    lines += ["## Where to look", *where_to_look(cfg), ""]
    write_markdown(md, html, "\n".join(lines))


if __name__ == "__main__":
    with job(snakemake):
        summarise(dict(snakemake.input.items()), snakemake.params.cfg, *snakemake.output)
