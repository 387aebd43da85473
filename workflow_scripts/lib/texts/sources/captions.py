"""Noun phrases of image captions, by how many captions hold them: a corpus from what people write.

TextBlob tags and chunks, by rules and a lexicon of English that come with it. It is an optional
package.
"""

import logging
import re
from collections import Counter
from itertools import groupby

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.job import progress
from workflow_scripts.lib.texts.entries import Entry
from workflow_scripts.lib.texts.files import read_texts
from workflow_scripts.lib.texts.names import BAD_CHARACTERS, MAX_CHARACTERS, normalise

# Words at which a phrase ends (Penn Treebank tags): determiners, numbers, pronouns, conjunctions.
BREAKS = {"DT", "PDT", "CD", "PRP", "PRP$", "CC"}
# Contractions, of whose rests TextBlob makes nouns ("re", "t"). 's is one after these words only.
CONTRACTIONS = re.compile(
    r"\b(?:it|he|she|that|this|there|here|what|who|where|how|let)'s\b|n't\b|'(?:m|re|ve|ll|d)\b",
    re.IGNORECASE,
)
# Another apostrophe within a word would be a word of its own, this letter (U+02BC) is not.
LETTER_APOSTROPHE = "\u02bc"
# What no text encoder would read as meant, and the signs of markup, addresses and code.
NO_NAME = re.compile(BAD_CHARACTERS.pattern + r"|[<>{}|\\=@]|://|\bwww\.")


def read(path, options):
    """Iterate over the Entries of the noun phrases, most frequent first; see `frequent_phrases`.

    path: a .txt file with a caption a line, or a .csv, .tsv or .parquet table.
    options: column, pos, minimum_count, top; see `corpora.read_corpus`. Raises InputError.
    """
    captions = (text for _, text, _ in read_texts(path, options["column"], several_lines=True))
    for phrase, count in frequent_phrases(captions, options["minimum_count"], options["top"]):
        yield Entry(phrase, options["pos"], path.stem, count=count)


def phrase_finder():
    """A function from a caption to the set of its normalised noun phrases.

    A phrase is a chunk of a noun phrase without determiners, numbers and pronouns: "a brown dog"
    gives "brown dog". Our choice: such words and "and" end a phrase, so that phrases stand in the
    caption as they are; signs without letter or digit do, too; and phrases without a noun are
    dropped. Words keep their number, "dogs" is another phrase than "dog". A contraction ends a
    phrase ("they're dogs" gives "dogs"); a possessive is part of one ("happy father's day"), but
    for an 's at its end, which may be a verb ("the dog's asleep" gives "dog").
    Raises InputError if TextBlob is not installed.
    """
    try:
        from textblob.en import parse
    except ImportError as error:
        raise InputError(
            "captions need TextBlob: .venv/bin/uv pip install --python .venv/bin/python "
            "'textblob>=0.20'"
        ) from error

    def noun_phrases(caption):
        text = CONTRACTIONS.sub(" ; ", " ".join(caption.replace("’", "'").split()))
        text = re.sub(r"(?<=\w)'(?=\w)", LETTER_APOSTROPHE, text)
        # Sentences of words with their tag, chunk and role.
        sentences = parse(text, collapse=False) if text else []
        return {name for sentence in sentences for name in _phrases(sentence)}

    return noun_phrases


def _phrases(words):
    """Iterate over the noun phrases of one sentence of (word, tag, chunk, role)."""
    number, numbered = 0, []
    for word, tag, chunk, _ in words:
        inside = chunk in ("B-NP", "I-NP") and tag not in BREAKS and any(map(str.isalnum, word))
        number += not inside or chunk == "B-NP"
        if inside:
            numbered.append((number, word, tag))
    for _, group in groupby(numbered, key=lambda item: item[0]):
        _, chosen, tags = zip(*group, strict=True)
        if any(tag.startswith("NN") for tag in tags):
            yield normalise(" ".join(chosen).replace(LETTER_APOSTROPHE, "'")).removesuffix("'s")


def frequent_phrases(captions, minimum_count=1, top=None):
    """The noun phrases of captions with the number of captions that hold each.

    captions: an iterable of texts, read once; None and "" count as captions without phrases.
    minimum_count: least number of captions. top: the number of phrases kept, the most frequent;
        None keeps all.

    Returns a list of (phrase, count), most frequent first, equally frequent ones by name. Phrases
    that are too long or no names (control characters, markup, addresses: `NO_NAME`) are left out.
    """
    noun_phrases, counts = phrase_finder(), Counter()
    for caption in progress(captions, unit=" captions"):
        counts.update(noun_phrases(caption or ""))
    bad = [p for p in counts if len(p) > MAX_CHARACTERS or NO_NAME.search(p)]
    for phrase in bad:
        del counts[phrase]
    found = [item for item in counts.items() if item[0] and item[1] >= minimum_count]
    logging.info(
        "%d noun phrases, %d of them in %d captions or more; %d left out: too long or no names",
        len(counts), len(found), minimum_count, len(bad),
    )  # fmt: skip
    return sorted(found, key=lambda item: (-item[1], item[0]))[:top]
