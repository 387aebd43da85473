"""A Markdown text as a page that Snakemake's report can show."""

import html

from markdown_it import MarkdownIt

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


def page(markdown):
    """An HTML page of a Markdown text with tables, without scripts and links to other files.

    Its title is the first heading. HTML in the text is shown, not obeyed.
    """
    title = markdown.partition("\n")[0].lstrip("# ")
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    return PAGE.format(title=html.escape(title), body=parser.render(markdown))
