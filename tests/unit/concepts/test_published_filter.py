"""The filters by WordNet beside the decisions that NegRefine's language model published."""

from pathlib import Path

import pytest

from workflow_scripts.lib.concepts.negatives import common, unrelated
from workflow_scripts.lib.texts.trees import read_trees

PUBLISHED = Path(__file__).parents[4] / "shared/data/published"
WORDNET = Path("/usr/share/wordnet")
pytestmark = [
    pytest.mark.skipif(not PUBLISHED.is_dir(), reason="needs the published lists"),
    pytest.mark.skipif(not WORDNET.is_dir(), reason="needs Debian's wordnet-base"),
]


def published(name):
    """The names of a list without apostrophes, which NegRefine's kept names lost."""
    return {line.replace("'", "") for line in (PUBLISHED / name).read_text("utf-8").splitlines()}


@pytest.fixture(scope="module")
def decided():
    """The nouns before NegRefine's decisions, those it dropped, and those that ours drop: proper
    nouns, and relatives of ImageNet's classes by CLIP's names."""
    from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES

    listed = (PUBLISHED / "negrefine_initial_neg_labels_noun.txt").read_text("utf-8").splitlines()
    kept, trees = published("negrefine_neg_labels_noun.txt"), read_trees(WORDNET)
    proper, related = common(trees), unrelated(trees, IMAGENET_CLASSNAMES)
    return {
        "all": set(listed),
        "theirs": {name for name in listed if name.replace("'", "") not in kept},
        "proper": {name for name in listed if not proper(name, "noun")},
        "related": {name for name in listed if not related(name, "noun")},
    }


def proper_in_files(names):
    """Those of the names that only instances bear, read from WordNet's files line by line."""
    senses, instances = {}, set()
    for line in (WORDNET / "data.noun").read_text("utf-8").splitlines():
        if line[0] == " ":
            continue
        fields = line.partition(" | ")[0].split()
        instances |= {fields[0]} if "@i" in fields else set()
        for word in fields[4 : 4 + 2 * int(fields[3], 16) : 2]:
            senses.setdefault(word.lower().replace("_", " "), set()).add(fields[0])
    return {name for name in names if senses.get(name, {"unknown"}) <= instances}


def test_proper_nouns_are_those_of_wordnets_files(decided):
    assert decided["proper"] == proper_in_files(decided["all"])


def test_proper_nouns_are_mostly_those_of_the_language_model(decided):
    """It drops proper nouns and sub-categories, and the lists do not say which was which."""
    both = decided["proper"] & decided["theirs"]
    assert len(both) > 0.95 * len(decided["proper"])
    assert 0.5 * len(decided["theirs"]) < len(both) < 0.65 * len(decided["theirs"])


def test_sub_categories_are_mostly_not(decided):
    """Which is why the docs call the filter by WordNet another one."""
    rest = decided["theirs"] - decided["proper"]
    both = decided["related"] & rest
    assert 0 < len(both) < 0.15 * len(rest)
    ours = decided["proper"] | decided["related"]
    differ = len(ours ^ decided["theirs"]) / len(decided["all"])
    assert 0.1 < differ < 0.15
