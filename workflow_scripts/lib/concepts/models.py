"""Config blocks of the mining methods, which find positives, and of the negatives."""

from typing import Annotated, Literal

from pydantic import Field, StrictBool, model_validator

from workflow_scripts.lib.config.base import (
    Block,
    Count,
    Number,
    Positive,
    Several,
    Share,
    number,
    one_of,
    or_path,
)
from workflow_scripts.lib.config.messages import wrong
from workflow_scripts.lib.config.names import Names
from workflow_scripts.lib.texts.models import TREE
from workflow_scripts.lib.texts.word_lists import DEFAULTS

Weight = number(ge=0)
MINING = Field(description="Kind of mining.")
NEGATIVES = Field(description="Kind of negatives.")


class NameList(Block):
    """A file of names. A plain string is the path."""

    path: str = Field(description="A list (.txt) or a table (.csv, .tsv, .parquet).")
    column: str = Field(DEFAULTS["column"], description="Column of the names in a table.")
    format: Literal["names", "synset_mapping"] = Field(
        DEFAULTS["format"],
        description="names, or of a .txt file synset_mapping (a WordNet id, then names).",
    )


FILE = Field(description="File of the names, which the corpus must have too.")
MISSING = Field(
    "error", description="What becomes of names that the corpus lacks, an error or `skip`."
)


class Votes(Block):
    """What mining methods by the vote of a cluster's images share."""

    method: str = MINING
    top_m: Count = Field(
        1,
        description="Best concepts per image that share its vote; 1 is the hard vote. At most the "
        "corpus's top_concepts.",
    )
    temperature: Positive = Field(
        0.01,
        description="Temperature of the shares; 0.01 is softmax(100 cosine). Unused if top_m is 1.",
    )


class NamesByVote(Votes):
    """What ClusterMine's votes name."""

    minimum_purity: Share = Field(
        0.0, description="Least share of the votes in a cluster for its name to count."
    )
    minimum_size: Count = Field(1, description="Least images in a cluster.")
    names_per_cluster: Count = Field(1, description="Names per cluster.")


class ClusterMine(NamesByVote):
    """ClusterMine, the majority vote of each cluster's images."""

    method: Literal["clustermine"] = MINING


class Frequency(Block):
    """Baseline without clusters, the names that many images choose."""

    method: Literal["frequency"] = MINING
    minimum_count: Count = Field(1, description="Least images per name.")
    top_n: Count | None = Field(
        None, description="At most this many names, those with the most images."
    )


class Union(NamesByVote):
    """The names of ClusterMine and of Frequency together (ours)."""

    method: Literal["union"] = MINING
    minimum_count: Count = Field(2, description="Least images per name that no cluster votes for.")
    minimum_share: Weight = Field(
        0.5,
        description="Least images of such a name, as a share of those that the name of the median "
        "cluster has.",
    )


class Given(Block):
    """The names of a file, e.g. a published list or your own."""

    method: Literal["given"] = MINING
    file: or_path(NameList) = FILE
    missing: Literal["error", "skip"] = MISSING


class GroundTruth(Block):
    """Oracle, the true class names of the training images found in the corpus."""

    method: Literal["ground_truth"] = MINING


class GroundTruthAndMined(NamesByVote):
    """The oracle's names and ClusterMine's together."""

    method: Literal["ground_truth_and_mined"] = MINING


class Random(Block):
    """Baseline, random names of the corpus, drawn by the study's seeds."""

    method: Literal["random"] = MINING
    n: Count | None = Field(
        None, description="Number of names; null takes as many as there are clusters."
    )


class Centroid(Block):
    """Baseline, the name nearest to each cluster's mean embedding."""

    method: Literal["centroid"] = MINING


class Scd(Votes):
    """One-to-one naming of clusters by votes, iterated (our reading of SCD)."""

    method: Literal["scd"] = MINING


class Tac(Block):
    """Names that tell the cluster centres apart (our reading of TAC's choice of nouns)."""

    method: Literal["tac"] = MINING
    names_per_cluster: Count = Field(5, description="Names per cluster.")
    temperature: Positive = Field(
        1.0,
        description="Temperature on cosines of the softmax over centres; public code uses 1.",
    )


AnyMining = one_of(
    ClusterMine,
    Frequency,
    Union,
    Given,
    GroundTruth,
    GroundTruthAndMined,
    Random,
    Centroid,
    Scd,
    Tac,
)


class Negatives(Block):
    """Which concepts are candidates."""

    method: str = NEGATIVES
    quantile: Share = Field(
        0.99,
        description="Quantile over the positives that measures the distance of a candidate; 1 is "
        "the nearest positive (NegRefine), 0.95 NegLabel's. `rest` and `given` only record it.",
    )
    distance_to: Literal["positives", "images"] = Field(
        "positives",
        description="What the quantile is over, the positives or the training images (at most "
        "20,000 of them at random; after InterNeg).",
    )
    limit: Number | None = Field(
        None,
        description="Candidates closer than this cosine to a positive are dropped (CSP takes "
        "0.95).",
    )
    corpora: Several[Annotated[str, Names("corpora")]] = Field(
        [], description="Corpora whose concepts are candidates; empty takes the study's corpus."
    )
    parts: Several[str] = Field(
        [], description="Parts of speech of the candidates; empty takes all."
    )
    tree: str | None = Field(None, description=f"{TREE}.")
    exclude_positives: StrictBool = Field(
        True,
        description="Positives are no candidates (ours); false as in NegLabel's public code.",
    )
    related: StrictBool = Field(
        True,
        description="Keep synonyms, hyponyms and hypernyms of positives (false needs `tree`).",
    )
    proper: StrictBool = Field(True, description="Keep proper nouns (false needs `tree`).")
    drop_files: Several[str] = Field(
        [],
        description="WordNet lexicographer files to drop, e.g. noun.person (needs `tree`). Phrases "
        "of a conjugate corpus are in no tree: drop their adjectives where they are read.",
    )

    @model_validator(mode="after")
    def _has_tree(self):
        if not self.tree and not (self.related and self.proper and not self.drop_files):
            raise wrong(": related, proper and drop_files need the key 'tree'")
        return self


class NegLabelNegatives(Negatives):
    """NegLabel's selection, the concepts farthest from the positives."""

    method: Literal["neglabel"] = NEGATIVES
    share: number(gt=0, le=1) = Field(
        0.15, description="Share of the candidates kept, per part of speech."
    )


class Rest(Negatives):
    """All concepts of the corpus that are no positives."""

    method: Literal["rest"] = NEGATIVES


class GivenNegatives(Negatives):
    """The names of a file in its order, e.g. a published list, as far as they are candidates."""

    method: Literal["given"] = NEGATIVES
    file: or_path(NameList) = FILE
    missing: Literal["error", "skip"] = MISSING


AnyNegatives = one_of(NegLabelNegatives, Rest, GivenNegatives)
