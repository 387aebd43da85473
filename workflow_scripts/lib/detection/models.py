"""Config blocks of the detectors and contaminations, and of the studies and their ablations."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from workflow_scripts.lib.config.base import (
    Block,
    Count,
    Natural,
    OneOrMore,
    OneOrMoreNamed,
    Positive,
    Several,
    Share,
    number,
    number_or,
    one_of,
    optional,
    or_text,
)
from workflow_scripts.lib.config.messages import wrong
from workflow_scripts.lib.config.names import Names
from workflow_scripts.lib.texts.models import TREE

SCORE = Field(description="Kind of score.")
RULE = Field(description="Kind of rule.")
Weight = number(ge=0)
Temperature = number_or(Positive, "encoder")


class Softmax(Block):
    """What detectors with a softmax over cosines share."""

    method: str = SCORE
    temperature: Temperature = Field(
        0.01,
        description="Temperature on cosines; 0.01 is CLIP's logit scale of 100. The word `encoder` "
        "is 1 / the logit scale of the encoder that made the embeddings.",
    )


class Mcm(Softmax):
    """MCM, the largest softmax probability over the positives."""

    method: Literal["mcm"] = SCORE
    temperature: Temperature = Field(
        1.0, description="Temperature on cosines (the authors' code uses 1), or `encoder`."
    )


class MaxLogit(Block):
    """MaxLogit, the largest cosine to a positive."""

    method: Literal["max_logit"] = SCORE


class Energy(Softmax):
    """Energy score, temperature times log-sum-exp over the positives."""

    method: Literal["energy"] = SCORE


class Entropy(Softmax):
    """Negative entropy of the softmax over the positives."""

    method: Literal["entropy"] = SCORE


class Grouped(Softmax):
    """What detectors that split the negatives into groups share."""

    groups: Count = Field(100, description="Groups of negatives.")
    seed: Natural = Field(0, description="Seed of the grouping.")


class NegLabel(Grouped):
    """NegLabel, the softmax mass on positives against groups of negatives."""

    method: Literal["neglabel"] = SCORE


class NegRefine(Grouped):
    """NegRefine's multi-matching of positives and negatives on top of NegLabel (our reading)."""

    method: Literal["negrefine"] = SCORE
    top: Count = Field(5, description="Positives and negatives that are paired.")
    weight: Weight = Field(2.0, description="Weight of multi-matching.")


class AdaNeg(Grouped):
    """AdaNeg, a memory filled at test time; scores depend on the order of the images."""

    method: Literal["adaneg"] = SCORE
    groups: Count = Field(5, description="Groups of negatives.")
    memory: Count = Field(10, description="Slots per label, the first its text.")
    threshold: Share = Field(0.5, description="NegLabel score between OOD and ID.")
    gap: Share = Field(0.5, description="Share around the threshold that is not written.")
    weight: Weight = Field(0.1, description="Weight of NegLabel on texts.")


class Knn(Block):
    """Cosine to the k-th nearest training image; no names."""

    method: Literal["knn"] = SCORE
    k: Count = Field(10, description="Neighbour; keep it below the images of a class.")


class Mahalanobis(Block):
    """Mahalanobis distance to the nearest cluster mean; no names."""

    method: Literal["mahalanobis"] = SCORE
    shrinkage: Share = Field(0.01, description="Share of the identity in the covariance.")


AnyDetector = one_of(Mcm, MaxLogit, Energy, Entropy, NegLabel, NegRefine, AdaNeg, Knn, Mahalanobis)
# Columns of the tables with a row per image, where the scores of a detector have its name.
IMAGE_COLUMNS = {
    "image_set", "image_id", "path", "member", "rank", "score", "p_value", "flagged", "discovery",
    "concept", "concepts", "cosine", "cluster", "cluster_name",
    "training_image", "training_id", "training_cosine",
}  # fmt: skip


def no_columns(detectors):
    """The detectors, if none is called as a column that tables of images have anyway."""
    for name in detectors:
        if name in IMAGE_COLUMNS:
            raise wrong(f".{name}: tables of images have a column {name}; choose another name")
    return detectors


class Match(Block):
    """Flag images whose best concept of the corpus is a true name; needs no labels."""

    method: Literal["match"] = RULE
    encoder: Annotated[str, Names("encoders")] | None = Field(
        None, description="Encoder that judges; null takes the study's first."
    )
    margin: Weight = Field(
        0.0, description="Least lead in cosine over the best concept that is no true name."
    )


class Label(Block):
    """Flag images whose own label is a true name, or with the study's tree a synonym."""

    method: Literal["label"] = RULE


AnyContamination = one_of(Match, Label)

ImageSets = Several[Annotated[str, Names("image_sets")]]


class Calibration(Block):
    """In-distribution images that are scored, but neither clustered nor mined."""

    share: number(gt=0, lt=1) = optional("Share of the training images that is held out.")
    seed: Natural = Field(0, description="Seed of the choice of these images.")
    set: Annotated[str, Names("image_sets")] = optional("Or an image set of its own.")

    @model_validator(mode="after")
    def _one_way(self):
        if (self.share is None) == (self.set is None):
            raise wrong(": give either share or set")
        return self


class DecideBy(Block):
    """The scores that decide which images do not belong. A plain string is the detector."""

    detector: Annotated[str, Names("detectors")] | None = Field(
        None,
        description="Detector of the study; null takes the first that can score, in the order of "
        "config/README.md.",
    )
    negatives: Annotated[str, Names("negatives")] | None = Field(
        None, description="Negatives of the study; null takes the first that can be scored with."
    )
    encoder: Annotated[str, Names("encoders")] | None = Field(
        None, description="Encoder of the study; null takes the first."
    )
    clustering: Annotated[str, Names("clusterings")] | None = Field(
        None, description="Clustering of the study; null takes the first."
    )
    mining: Annotated[str, Names("minings")] | None = Field(
        None, description="Mining of the study; null takes the first that reads no labels."
    )
    seed: Natural | None = Field(None, description="Seed of the study; null takes the first.")


class Map(Block):
    """The map of a study's images. A plain string is the projection."""

    projection: Literal["pca", "umap", "tsne"] = Field(
        "pca", description="How embeddings come into the plane; umap and tsne are extras."
    )
    rows: Count = Field(
        100_000, description="Images that are shown at most; of more, a random sample."
    )


class Study(Block):
    """One experiment."""

    encoders: OneOrMore[Annotated[str, Names("encoders")]] = Field(
        description="Encoders to compare."
    )
    corpus: Annotated[str, Names("corpora")] | None = Field(
        None, description="The corpus; needed for `minings` and `contamination`."
    )
    train: Annotated[str, Names("image_sets")] = Field(
        description="Unlabelled in-distribution images that are clustered and mined."
    )
    test: Annotated[str, Names("image_sets")] | None = Field(
        None,
        description="In-distribution test images, or any images to look for outliers in. null "
        "takes the training images themselves.",
    )
    near: ImageSets = Field(
        [], description="Out-of-distribution sets close to the training images."
    )
    far: ImageSets = Field([], description="Out-of-distribution sets far from the training images.")
    shift: ImageSets = Field([], description="In-distribution test sets under covariate shift.")
    clusterings: Several[Annotated[str, Names("clusterings")]] = Field(
        [], description="Clusterings for the mining methods that need one."
    )
    minings: Several[Annotated[str, Names("minings")]] = Field(
        [],
        description="Mining methods to compare; none for encoders without a text model, and for "
        "detectors without names.",
    )
    negatives: Several[Annotated[str, Names("negatives")]] = Field(
        [], description="Negatives for the detectors that need them."
    )
    detectors: OneOrMore[Annotated[str, Names("detectors")]] = Field(
        description="Detectors to compare."
    )
    resamples: Natural = Field(
        1000,
        description="Bootstrap resamples of the images for intervals and p-values; 0 for none.",
    )
    reference: Annotated[str, Names("minings")] | None = Field(
        None, description="Mining that the p-values of the OOD table compare with."
    )
    tree: str | None = Field(
        None, description=f"{TREE}, for the agreement of mined and true names."
    )
    contamination: Annotated[str, Names("contaminations")] | None = Field(
        None, description="How OOD images that show an ID class are flagged, if they are."
    )
    near_duplicates: Share | None = Field(
        0.99,
        description="Least cosine of near duplicates by the first encoder (our choice for CLIP); "
        "null looks for exact copies only.",
    )
    seeds: OneOrMore[Natural] = Field([0], description="Seeds of the clusterings.")
    calibrate: Calibration | None = Field(
        None, description="Images that p-values and flags come from; null for none of these."
    )
    decide_by: or_text(DecideBy, "detector") = Field(
        {}, validate_default=True, description="What sorts the lists of outliers."
    )
    false_alarm_rate: number(gt=0, lt=1) = Field(
        0.05, description="Share of in-distribution images that may be flagged."
    )
    map: or_text(Map, "projection") = Field(
        {}, validate_default=True, description="How the map of the study's images is drawn."
    )

    @model_validator(mode="after")
    def _has_corpus(self):
        if self.corpus is None and (self.minings or self.contamination):
            raise wrong(" needs the key 'corpus' for its minings or its contamination")
        return self


def _one_or_more(value):
    if not isinstance(value, str | list):
        raise wrong(f": {value!r} is neither a name nor a list of names")
    return value


class Ablation(Block):
    """One key of a study, varied."""

    study: Annotated[str, Names("studies")] = Field(description="The study that is varied.")
    vary: Literal[
        "encoders", "corpus", "train", "clusterings", "minings", "negatives", "detectors"
    ] = Field(description="Key of the study.")
    axis: str = Field(description="What the plot's axis says.")
    values: OneOrMoreNamed[Annotated[str | list, BeforeValidator(_one_or_more)]] = Field(
        description="Name of a value -> the value of the key, a name or a list of names. Names "
        "that are numbers make a line plot."
    )
