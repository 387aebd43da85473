"""The whole config, section by section."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from workflow_scripts.lib.benchmarks.models import Benchmark
from workflow_scripts.lib.clustering.models import AnyClustering, Neighbours, Sweep
from workflow_scripts.lib.concepts.models import AnyMining, AnyNegatives
from workflow_scripts.lib.config.base import Block, Named, OneOrMore, Several, optional
from workflow_scripts.lib.config.names import Names
from workflow_scripts.lib.demo.models import DemoImages, TinyClip
from workflow_scripts.lib.detection.models import (
    Ablation,
    AnyContamination,
    AnyDetector,
    Study,
    no_columns,
)
from workflow_scripts.lib.encoders.models import AnyEncoder
from workflow_scripts.lib.images.models import ImageSet, Shards
from workflow_scripts.lib.report.models import Reproduction
from workflow_scripts.lib.texts.models import Corpus


class Config(Block):
    """Named blocks; the names become folders under results/. Unknown keys are refused."""

    run: OneOrMore[Annotated[str, Names("studies")]] = Field(
        description="The studies that `snakemake` computes and whose rows fill results/tables."
    )
    ablate: Several[Annotated[str, Names("ablations")]] = Field(
        [], description="The ablations that `snakemake ablations` computes."
    )
    ablations: Named[Ablation] = Field(
        {}, description="Studies that differ in one key, for one table and one plot."
    )
    compare: Several[Annotated[str, Names("benchmarks")]] = Field(
        [], description="The benchmarks that `snakemake deep_clustering` computes."
    )
    benchmarks: Named[Benchmark] = Field(
        {}, description="Comparisons of clusterings on several image sets."
    )
    reproduce: Several[Annotated[str, Names("reproductions")]] = Field(
        [], description="The reproductions that `snakemake reproduce` computes."
    )
    reproductions: Named[Reproduction] = Field(
        {}, description="Published values beside those of a study."
    )
    data: str = Field(
        "data",
        description="Folder that `{data}` stands for at the start of any path of the config, e.g. "
        "of the image sets in config/benchmark_sets.yaml.",
    )
    check: Literal["in_use", "all"] = Field(
        "in_use",
        description="What `snakemake check_image_sets` counts, the image sets in use or all there "
        "are.",
    )
    encoders: Named[AnyEncoder] = Field(
        description="Models that turn images and texts into embeddings."
    )
    image_sets: Named[ImageSet] = Field(
        {}, description="Sets of images on disk (or only named, for precomputed embeddings)."
    )
    corpora: Named[Corpus] = Field(
        {}, description="Lists of words and names (concepts) that images are matched to."
    )
    clusterings: Named[AnyClustering] = Field(
        {}, description="Ways to cluster the training images."
    )
    neighbours: Neighbours = Field(
        {}, validate_default=True, description="How the nearest neighbours of images are found."
    )
    sweep: Sweep = Field(
        {}, validate_default=True, description="How the number of clusters is found for `k: auto`."
    )
    minings: Named[AnyMining] = Field(
        {},
        description="Ways to find the positives, the names of what the training images show.",
    )
    negatives: Named[AnyNegatives] = Field(
        {},
        description="Ways to find the negatives, names of what the training images do not show.",
    )
    detectors: Annotated[Named[AnyDetector], AfterValidator(no_columns)] = Field(
        {}, description="Scores of how much an image belongs to the positives."
    )
    contaminations: Named[AnyContamination] = Field(
        {},
        description="Ways to flag OOD images that show an ID class, for a second table without "
        "them.",
    )
    studies: Named[Study] = Field(description="Experiments, each a choice of the blocks above.")
    demo_images: Named[DemoImages] = Field(
        {},
        description="Image folders that the workflow renders itself, under results/demo/images.",
    )
    demo_encoders: Named[TinyClip] = Field(
        {"tinyclip": {}},
        validate_default=True,
        description="Tiny CLIPs that the workflow trains itself, under results/demo/encoders; the "
        "first is shipped in config/demo.",
    )
    detector: str = optional(
        "Detector that `snakemake score` uses: a folder of results/detectors, or a copy of one. "
        "The images are those of folder, list, tar or parquet, or embeddings that you have."
    )
    decide_by: str = optional(
        "Score that ranks and flags the images, e.g. mcm or neglabel:rest; else the detector's own."
    )
    name: str = optional("Name of the scores' folder; else the last part of the images' path.")
    shards: Shards = optional("Number of parts of the scored images; else 1.")
    folder: str = optional("Folder of the images to score.")
    tar: str = optional("Archive, or folder of archives, of the images to score.")
    parquet: str = optional("Parquet file, or folder of such, of the images to score.")
    list: str = optional("Table of the images to score.")
    embeddings: str = optional(
        "File .npy of the images to score, [images, dimensions], for a detector of embeddings that "
        "were computed elsewhere."
    )
    index: str = optional("Parquet file of the same rows, with the column image_id.")
    clip_retrieval: str = optional(
        "In place of these two, a folder of clip-retrieval with metadata and img_emb."
    )
