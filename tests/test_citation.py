"""CITATION.cff and the BibTeX of the README say the same; the version is that of the project."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))


def bibtex():
    """The entries of the README: a dict of their fields each, without braces."""
    text = (ROOT / "README.md").read_text("utf-8")
    block = re.search(r"```bibtex\n(.*?)```", text, re.DOTALL).group(1)
    return [
        {key: value.replace("{", "").replace("}", "") for key, value in fields}
        for fields in (
            re.findall(r"^ +(\w+) += \{(.*)\},?$", entry, re.MULTILINE)
            for entry in block.split("\n}\n")
            if entry
        )
    ]


def test_the_version_is_that_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for key in ("version", "license"):
        assert CITATION[key] == project[key]
    assert CITATION["title"] == project["name"]


def test_the_papers_are_those_of_the_readme():
    papers = [
        {
            "title": paper["title"],
            "year": str(paper["year"]),
            "author": " and ".join(
                f"{author['family-names']}, {author['given-names']}" for author in paper["authors"]
            ),
        }
        for paper in CITATION["references"]
    ]
    shown = bibtex()
    assert [{key: entry[key] for key in papers[0]} for entry in shown] == papers
    for paper, entry in zip(CITATION["references"], shown, strict=True):
        (identifier,) = paper["identifiers"]
        assert identifier["value"] in entry.get("note", "") + entry.get("journal", "")
        assert paper["url"].endswith(identifier["value"].removeprefix("arXiv:"))
