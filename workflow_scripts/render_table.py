"""A Markdown table or summary as a page that Snakemake's report can show.

Out: HTML in one file, without scripts and links to other files.
"""

import html
from pathlib import Path

from markdown_it import MarkdownIt

from workflow_scripts.lib.artifacts import write_text
from workflow_scripts.lib.job import job

PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font: 14px/1.5 "DejaVu Sans", Verdana, sans-serif; margin: 1.5em; background: #fff }}
table {{ border-collapse: collapse; margin: 1em 0 }}
th, td {{ padding: 0.2em 0.7em; border-bottom: 1px solid #ddd; text-align: left }}
td {{ vertical-align: top }}
th {{ position: sticky; top: 0; background: #fff }}
</style>
</head>
<body>
{body}
</body>
</html>
"""


def page(markdown, title):
    """An HTML page of a Markdown text with tables; HTML in the text is shown, not obeyed."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    return PAGE.format(title=html.escape(title), body=parser.render(markdown))


def render_table(md, title, output):
    """md, output: paths of the Markdown and of the page."""
    write_text(output, page(Path(md).read_text("utf-8"), title))


if __name__ == "__main__":
    with job(snakemake):
        render_table(snakemake.input.md, snakemake.wildcards.table, snakemake.output.html)
