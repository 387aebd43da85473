"""Concepts and outliers of image collections: ClusterMine and deep clustering, stage by stage.

Image sets and corpora -> embeddings -> clusters -> mined concepts -> OOD tables (README.md shows the graph).
"""

from snakemake.utils import min_version

min_version("9.27")


report: "rules/captions/workflow.rst"


configfile: workflow.source_path("config/config.yaml")
configfile: workflow.source_path("config/benchmark_sets.yaml")
configfile: workflow.source_path("config/ablations.yaml")
configfile: workflow.source_path("config/deep_clustering.yaml")


include: "rules/common.smk"
include: "rules/demo.smk"
include: "rules/images.smk"
include: "rules/derived.smk"
include: "rules/texts.smk"
include: "rules/clustering.smk"
include: "rules/concepts.smk"
include: "rules/detection.smk"
include: "rules/contamination.smk"
include: "rules/decisions.smk"
include: "rules/descriptions.smk"
include: "rules/detectors.smk"
include: "rules/explore.smk"
include: "rules/map.smk"
include: "rules/report.smk"
include: "rules/summary.smk"
include: "rules/ablations.smk"
include: "rules/benchmarks.smk"
include: "rules/reproduction.smk"
include: "rules/start.smk"


rule all:
    default_target: True
    input:
        all_results,


rule ablations:
    input:
        all_ablations,


rule deep_clustering:
    input:
        all_comparisons,


rule reproduce:
    input:
        all_reproductions,


rule score:
    input:
        scored_images,
