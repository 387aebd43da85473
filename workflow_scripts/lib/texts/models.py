"""Config blocks of the corpora and their word lists; prompts."""

from typing import Annotated, Literal

from pydantic import Field, StrictBool, model_validator

from workflow_scripts.lib.config.base import (
    Block,
    Count,
    Natural,
    OneOrMore,
    Several,
    optional,
    or_path,
)
from workflow_scripts.lib.config.messages import wrong
from workflow_scripts.lib.config.names import Names
from workflow_scripts.lib.texts.word_lists import DEFAULTS

TREE = "WordNet's database folder, or a table with columns child, parent"
# Part of speech -> templates with one {}; `default` serves the other parts. The embedding of a
# concept is the mean over its templates.
Prompts = Annotated[dict[str, OneOrMore[str]], Field(min_length=1)]


class WordList(Block):
    """A source of concepts. A plain string is the path."""

    path: str = Field(
        description="A list (.txt), a table (.csv, .tsv, .parquet) or WordNet's database folder."
    )
    column: str = Field(DEFAULTS["column"], description="Column of the concepts in a table.")
    format: Literal["names", "synset_mapping", "captions"] = Field(
        DEFAULTS["format"],
        description="names, captions (their noun phrases are the concepts; needs TextBlob), or of "
        "a .txt file synset_mapping (a WordNet id, then names).",
    )
    minimum_count: Count = Field(
        DEFAULTS["minimum_count"], description="Least number of captions that hold a phrase."
    )
    top: Count | None = Field(
        DEFAULTS["top"],
        description="Number of phrases of captions kept, the most frequent; null keeps all.",
    )
    senses: Literal["first", "all_lemmas"] = Field(
        DEFAULTS["senses"], description="Of WordNet; the first word of each synset, or all."
    )
    drop_files: Several[str] = Field(
        DEFAULTS["drop_files"],
        description="WordNet's lexicographer files to leave out, e.g. noun.person.",
    )
    proper: StrictBool = Field(DEFAULTS["proper"], description="Keep WordNet's proper nouns.")
    pos: str = Field(
        DEFAULTS["pos"], description="Part of speech of the words, where the file does not say."
    )


class Conjugate(Block):
    """A corpus derived from another one: each adjective with a random superclass (CSP)."""

    corpus: Annotated[str, Names("corpora")] = Field(description="Corpus of the adjectives.")
    superclasses: OneOrMore[str] = Field(
        ["environment", "space", "object", "scene", "place", "item", "area", "view", "thing",
         "pattern", "structure", "landscape", "vista", "creature"],
        description="Words that the adjectives are joined to.",
    )  # fmt: skip
    seed: Natural = Field(0, description="Seed of the draw.")


class Corpus(Block):
    """A list of concepts, from files or derived from another corpus."""

    conjugate: Conjugate = optional(
        "Derive the corpus, each adjective of another one with a random superclass (CSP)."
    )
    files: OneOrMore[or_path(WordList)] = optional(
        "Word lists, captions and WordNet, joined in this order."
    )
    exclude: Several[or_path(WordList)] = Field(
        [], description="Word lists and the like whose names are left out, e.g. the true names."
    )
    prompts: Prompts = Field(
        {"default": ["a photo of a {}."]},
        description="Templates of the corpus's names, with one {} each, by part of speech (noun, "
        "adjective, ...); `default` serves the others. The embedding of a concept is the mean over "
        "its templates. An encoder's own `prompts` come before them, part of speech by part of "
        "speech.",
    )
    top_concepts: Count = Field(
        5, description="Best concepts kept per image by the similarity pass."
    )

    @model_validator(mode="after")
    def _from_one_place(self):
        """Words come from files or from another corpus, and names are left out of files."""
        if self.conjugate and self.files:
            raise wrong(": give one of conjugate, files, not both")
        if self.conjugate and self.exclude:
            raise wrong(
                f".exclude: leaves names out of files; put it at corpora.{self.conjugate.corpus}, "
                "which is conjugated"
            )
        return self
