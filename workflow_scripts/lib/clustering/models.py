"""Config blocks of the clusterings."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StrictBool, model_validator

from workflow_scripts.lib.config.base import (
    Block,
    Count,
    Natural,
    Number,
    Several,
    number,
    number_or,
    one_of,
    optional,
    whole,
)
from workflow_scripts.lib.config.messages import wrong
from workflow_scripts.lib.config.names import Names

METHOD = Field(description="Kind of clustering.")
INIT = Field("kmeans++", description="First centroids, random or by k-means++ (scikit-learn's).")
SAMPLE = Field(
    0, description="Fit on this many random images; 0 uses all. All images are assigned."
)
PRECISION = Field(
    "auto",
    description="Numbers that images are assigned in while it trains; auto is bfloat16 where "
    "processor or GPU have it, else float32. The result is always assigned in float32.",
)
PROCESSES = Field(
    1, description="Processes that share the images and the threads of one job, by torchrun."
)


def _word_or_file(init):
    if init not in ("kmeans++", "random", "two_level") and not init.endswith(".npy"):
        raise wrong(
            f": {init!r} is neither random, kmeans++, two_level nor a .npy file of centroids"
        )
    return init


class Clustering(Block):
    """A way to cluster the images of a set."""

    method: str = METHOD
    k: number_or(Count, "classes", "auto") = Field(
        description='Number of clusters; "classes" for the number of distinct labels (the '
        'protocol of papers that compare clusterings); "auto" for the number that `sweep` finds.'
    )
    encoder: Annotated[str, Names("encoders")] = optional(
        "Encoder whose embeddings are clustered, e.g. an image model without texts; without the "
        "key the encoder of the study or the benchmark."
    )
    threads: Count = Field(8, description="CPU threads of one job.")


class Centroids(Clustering):
    """What k-means and its mini-batch variant share."""

    spherical: StrictBool = Field(True, description="Cosine instead of Euclidean.")
    restarts: Count = Field(5, description="Starts; the best objective wins.")


class KMeans(Centroids):
    """k-means on the embeddings."""

    method: Literal["kmeans"] = METHOD
    iterations: Count = Field(30, description="Iterations per start, at most.")
    init: Annotated[str, AfterValidator(_word_or_file)] = Field(
        "kmeans++",
        description="First centroids: random images, by k-means++ (scikit-learn's), two_level "
        "(k-means in the parts of a coarse one, for 10,000 clusters and more), or a .npy file of "
        "[k, dimensions], for a single start.",
    )
    sample: Natural = SAMPLE
    precision: Literal["auto", "float32", "bfloat16"] = PRECISION
    processes: Count = PROCESSES


class Faiss(Centroids):
    """k-means of faiss, for comparison: the same algorithm with all images in memory."""

    method: Literal["faiss"] = METHOD
    iterations: Count = Field(30, description="Iterations per start.")
    init: Literal["kmeans++", "random"] = INIT
    sample: Natural = SAMPLE


class MiniBatch(Centroids):
    """Mini-batch k-means (scikit-learn), for embeddings that do not fit in memory."""

    method: Literal["minibatch"] = METHOD
    restarts: Count = Field(3, description="Starts; the best objective wins.")
    passes: Count = Field(10, description="Passes over all images per start.")
    batch_size: Count = Field(4096, description="Images per step; at least k.")


class Hierarchical(Clustering):
    """Two-level spherical k-means: many small clusters, then clusters of their centroids."""

    method: Literal["hierarchical"] = METHOD
    fine: number_or(Count, "auto") = Field(
        "auto",
        description='Number of small clusters; "auto" is 20 k, at most a fifth of the images.',
    )
    weighted: StrictBool = Field(
        False, description="Weigh a small cluster by its images, instead of all alike."
    )
    restarts: Count = Field(10, description="Starts of the second level; the best objective wins.")
    iterations: Count = Field(30, description="Iterations per start, of both levels.")
    init: Literal["kmeans++", "random"] = INIT
    sample: Natural = SAMPLE
    precision: Literal["auto", "float32", "bfloat16"] = PRECISION
    processes: Count = PROCESSES


class Trained(Clustering):
    """What the clusterings share that torch trains."""

    precision: Literal["float32", "bfloat16", "auto"] = Field(
        "auto",
        description="Numbers of the matrix products in training; auto is bfloat16 where the "
        "processor or the card has it. Weights, softmax and losses are float32 always.",
    )
    processes: Count = PROCESSES


class Distillation(Trained):
    """What TEMI and SCAN share, heads trained on pairs of neighbours."""

    neighbours: Count = Field(50, description="Nearest neighbours per image.")
    heads: Count = Field(16, description="Heads trained in parallel.")
    hidden: Count = Field(512, description="Width of the hidden layer.")
    bottleneck: Count = Field(256, description="Width before the clusters.")
    steps: Count = Field(100_000, description="Optimiser steps.")
    warmup_steps: Natural = Field(20_000, description="Steps of warm-up.")
    batch_size: whole(ge=2) = Field(1024, description="Pairs per step.")
    base_lr: Number = Field(1e-4, description="Learning rate per 256 pairs, after the warm-up.")
    final_lr: number(ge=0) = optional(
        "The same at the end, after a cosine decay; without the key the rate stays constant, as in "
        "TEMI's public commands."
    )
    standardise: StrictBool = Field(
        False,
        description="Embeddings of mean 0 and deviation 1 per dimension (--embed_norm of TEMI's "
        "public code) instead of unit norm.",
    )
    temperature: Number = Field(0.1, description="Temperature of the softmax.")
    teacher_momentum: Number = Field(0.996, description="Momentum of the teacher.")


class Temi(Distillation):
    """TEMI (BMVC 2023), self-distillation between neighbours. Our schedule is in steps."""

    method: Literal["temi"] = METHOD
    beta: Number = Field(0.6, description="Exponent of the loss; 1 leaves clusters empty.")
    prior_momentum: Number = Field(0.9, description="Momentum of the class prior.")


class Scan(Distillation):
    """SCANv2, SCAN's loss with self-distillation (our reading). Schedule as in TEMI."""

    method: Literal["scan"] = METHOD
    entropy_weight: Number = Field(5.0, description="Weight of the entropy of the classes.")
    entropy_momentum: number(ge=0, le=0.8) = Field(
        0.0,
        description="Momentum of the class probabilities; raise it if k is above the batch size.",
    )


class Turtle(Trained):
    """TURTLE (ICML 2024), clusters that linear classifiers learn easily (re-derived).

    Steps, inner steps, batch size and gamma are the public code's; the rest is ours.
    """

    method: Literal["turtle"] = METHOD
    spaces: Several[Annotated[str, Names("encoders")]] = optional(
        "Encoders whose embeddings are clustered together, each once, in place of `encoder`; the "
        "clusters are in the folder of the first."
    )
    heads: Count = Field(4, description="Task encoders trained in parallel.")
    steps: Count = Field(6000, description="Outer steps.")
    inner_steps: Count = Field(10, description="Steps of the classifiers per outer step.")
    batch_size: whole(ge=2) = Field(10_000, description="Images per step.")
    inner_lr: Number = Field(0.1, description="Learning rate of the classifiers.")
    outer_lr: Number = Field(0.01, description="Learning rate of the task encoder.")
    gamma: Number = Field(10.0, description="Weight of the entropy of the classes.")
    temperature: Number = Field(0.1, description="Temperature of the task encoder's softmax.")
    warm_start: StrictBool = Field(False, description="Keep the classifiers between outer steps.")

    @model_validator(mode="after")
    def _has_spaces(self):
        if self.spaces is not None and len(set(self.spaces)) < max(2, len(self.spaces)):
            raise wrong(".spaces: name two or more encoders, each once")
        if self.spaces is not None and self.encoder is not None:
            raise wrong(": give encoder or spaces, not both")
        return self


class Ensemble(Clustering):
    """What several clusterings agree on, by the co-association of images (k-means-based consensus).

    Its encoders are those of its members.
    """

    method: Literal["ensemble"] = METHOD
    of: list[Annotated[str, Names("clusterings")]] = Field(
        min_length=1,
        description="The members, clusterings of any k; their encoders are named by all or none.",
    )
    runs: Count = Field(8, description="Seeds of every member; seed s of the ensemble has its own.")
    restarts: Count = Field(10, description="Starts; the best objective wins.")
    iterations: Count = Field(100, description="Iterations per start, at most.")

    @model_validator(mode="after")
    def _has_no_encoder(self):
        if self.encoder is not None:
            raise wrong(".encoder: an ensemble takes those of its members (of); leave it out")
        return self


class Sweep(Block):
    """How `k: auto` is found: k-means with several numbers of clusters, the most stable wins."""

    first: whole(ge=2) = Field(2, alias="from", description="Fewest clusters.")
    to: whole(ge=2) = Field(500, description="Most clusters; cut to a fifteenth of the sample.")
    steps: whole(ge=2) = Field(12, description="Values of k, on a geometric grid.")
    sample: Natural = Field(10_000, description="Random images to cluster; 0 uses all.")
    seeds: whole(ge=2) = Field(5, description="Repetitions for every k.")


class Neighbours(Block):
    """How the nearest neighbours of every image are found, which TEMI and SCANv2 learn from."""

    exact: Natural = Field(
        2_000_000,
        description="Compare all images with all up to this many; above, only those of near cells, "
        "with the recall in the log and in results/neighbours/.",
    )
    probes: Count = Field(32, description="Cells that are searched for the images of one cell.")


AnyClustering = one_of(KMeans, Faiss, MiniBatch, Hierarchical, Temi, Scan, Turtle, Ensemble)
