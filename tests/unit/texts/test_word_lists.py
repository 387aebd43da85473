import json
import subprocess
import sys

import pytest

from workflow_scripts.lib.texts.word_lists import kind_of

SOURCES = "workflow_scripts.lib.texts.sources"


def output_of(code):
    """What Python code prints as JSON in an interpreter of its own."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("path", "block", "expected"),
    [
        ("a.txt", {}, "names"),
        ("a.csv", {"format": "names"}, "names"),
        ("a.txt", {"format": "synset_mapping"}, "synset_mapping"),
        ("a.tsv", {"format": "captions"}, "captions"),
        ("nowhere/data.noun", {}, "wordnet"),
        ("nowhere/data.adj", {"format": "names"}, "wordnet"),
        (".", {}, "wordnet"),
    ],
)
def test_kind_of(tmp_path, path, block, expected):
    assert kind_of(path if path != "." else tmp_path, block) == expected


@pytest.mark.parametrize(
    ("block", "content", "kind"),
    [({}, "fox", "names"), ({"format": "synset_mapping"}, "n01440764 tench", "synset_mapping")],
)
def test_a_word_list_is_read_by_the_module_of_its_kind_alone(tmp_path, block, content, kind):
    """So an edit of captions.py changes no code digest of a corpus without captions."""
    path = tmp_path / "x.txt"
    path.write_text(content)
    loaded = output_of(
        "import sys, json, workflow_scripts.build_corpus\n"
        "from workflow_scripts.lib.texts.corpora import read_corpus\n"
        f"read_corpus([{str(path)!r}], [{block!r}])\n"
        f"print(json.dumps([m for m in sys.modules if m.startswith('{SOURCES}.')]))"
    )
    assert loaded == [f"{SOURCES}.{kind}"]


def test_the_rules_learn_the_kind_without_a_heavy_import():
    loaded = output_of(
        "import sys, json, workflow_scripts.lib.texts.word_lists\n"
        "print(json.dumps([m for m in ('numpy', 'pyarrow', 'torch') if m in sys.modules]))"
    )
    assert loaded == []
