"""Config blocks of image sets derived from others, and of the benchmarks of clusterings."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from workflow_scripts.lib.config.base import (
    Block,
    Count,
    Natural,
    OneOrMore,
    OneOrMoreNamed,
    distinct_values,
    number,
    one_of,
    optional,
    whole,
)
from workflow_scripts.lib.config.messages import wrong
from workflow_scripts.lib.config.names import Names
from workflow_scripts.lib.texts.models import TREE

METHOD = Field(description="Kind of derivation.")


class Derivation(Block):
    """A way to derive an image set from another one."""

    method: str = METHOD
    source: Annotated[str, Names("image_sets")] = Field(
        alias="from",
        description="Image set; all methods but `sample` and `holdout` need its labels.",
    )


class Draw(Derivation):
    """A derivation with a random choice of images."""

    seed: Natural = Field(0, description="Seed of all draws.")


class Sample(Draw):
    """Random images."""

    method: Literal["sample"] = METHOD
    images: Count = Field(description="Number of images.")


class Holdout(Draw):
    """One of two parts of a set. An image's part depends on its id and the seed alone."""

    method: Literal["holdout"] = METHOD
    share: number(gt=0, lt=1) = Field(description="Expected share of the part `calibration`.")
    part: Literal["fit", "calibration"] = Field(description="Which of the parts.")


class Imbalance(Draw):
    """The classes whose numbers of images lie around the median."""

    method: Literal["imbalance"] = METHOD
    half_width: number(ge=0, le=50) = Field(
        description="Percentiles of the numbers of images kept below and above the median."
    )
    control: Literal["none", "equal_size", "same_shares"] = Field(
        "none",
        description="equal_size cuts all classes to one size; same_shares draws as many images as "
        "equal_size does, but keeps the imbalance.",
    )


class LongTail(Draw):
    """A long-tailed subset of a balanced set."""

    method: Literal["long_tail"] = METHOD
    ratio: number(ge=1) = Field(description="Images of the largest class over the smallest.")
    shape: Literal["exponential", "pareto"] = Field(
        "exponential", description="How class sizes fall."
    )


class Difficulty(Draw):
    """Easy, hard or random classes by held-out accuracy, all with equal class sizes."""

    method: Literal["difficulty"] = METHOD
    which: Literal["easy", "hard", "random"] = Field(description="Which classes.")
    share: number(gt=0, le=1) = Field(0.2, description="Share of the classes.")
    classifier: Literal["knn", "linear"] = Field("knn", description="What judges.")
    per_class: whole(ge=2) | None = Field(
        100, description="Images per class that judge; null takes all."
    )
    minimum_count: Count = Field(1, description="Least images of a class.")


class Granularity(Derivation):
    """All images of a set, with coarser labels from a tree."""

    method: Literal["granularity"] = METHOD
    tree: str = Field(description=f"{TREE}.")
    depth: Natural = optional("Depth of the labels below the root. Or give `leaves`.")
    leaves: Count = optional("At most this many labels.")

    @model_validator(mode="after")
    def _one_way(self):
        if (self.depth is None) == (self.leaves is None):
            raise wrong(": give either depth or leaves")
        return self


AnyDerivation = one_of(Sample, Holdout, Imbalance, LongTail, Difficulty, Granularity)


class Benchmark(Block):
    """Clusterings compared on labelled image sets."""

    axis: Literal[
        "none", "imbalance", "granularity", "easy_classes", "multiple_classes", "unknown_number"
    ] = Field(description="The question that the benchmark asks; none just compares.")
    encoders: OneOrMore[Annotated[str, Names("encoders")]] = Field(
        description="Encoders of the images."
    )
    levels: Annotated[
        OneOrMoreNamed[Annotated[str, Names("image_sets")]], AfterValidator(distinct_values)
    ] = Field(description="Level of the axis -> image set.")
    clusterings: OneOrMore[Annotated[str, Names("clusterings")]] = Field(
        description="Clusterings to compare."
    )
    seeds: OneOrMore[Natural] = Field([0], description="Seeds of the clusterings.")
    predictions: Count = Field(
        3, description="Clusters per image to look at, for the axis multiple_classes."
    )
    tree: str | None = Field(None, description="Tree of the labels, for the axis multiple_classes.")

    @model_validator(mode="after")
    def _has_tree(self):
        if self.axis == "multiple_classes" and not self.tree:
            raise wrong(": multiple_classes needs the key 'tree'")
        return self
