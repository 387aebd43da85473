"""Config blocks of the comparison with published values."""

from typing import Annotated

from pydantic import Field

from workflow_scripts.lib.config.base import Block, OneOrMoreNamed, number
from workflow_scripts.lib.config.names import Names

Points = number(ge=0)


class Counterpart(Block):
    """The scores of a study that stand for a published method."""

    detector: Annotated[str, Names("detectors")] = Field(description="Detector of the study.")
    negatives: Annotated[str, Names("negatives")] | None = Field(
        None, description="Negatives of the study; null for a detector that needs none."
    )


class Reproduction(Block):
    """Published values beside those of a study."""

    study: Annotated[str, Names("studies")] = Field(
        description="The study; its first encoder counts, and the mean over its seeds."
    )
    published: str = Field(
        "config/published.csv",
        description="CSV of published values with the columns method, id, ood_set, metric, value "
        "(percent) and source. id and ood_set are image sets; several, joined by +, mean their "
        "average. Rows whose id is the study's test set are compared.",
    )
    mining: Annotated[str, Names("minings")] = Field(
        "ground_truth", description="Mining of the study that the published values are for."
    )
    methods: OneOrMoreNamed[Counterpart] = Field(
        description="Method of the CSV -> what stands for it in the study."
    )
    tolerance: Points = Field(
        1.6, description="Largest difference of one OOD set's value, in percentage points."
    )
    tolerance_of_means: Points = Field(
        0.3, description="Largest difference of a mean over OOD sets, in percentage points."
    )
