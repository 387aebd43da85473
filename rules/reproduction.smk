"""Published values and those of studies -> results/tables/reproduction.{parquet,csv,md,html}."""

from workflow_scripts.lib.detection.methods import METHODS as DETECTORS


def published_and_ours(wildcards):
    """The OOD table and the published values of every reproduction in `reproduce`. Ends with an
    error if there is none."""
    if not CONFIG["reproduce"]:
        raise WorkflowError(
            "config: reproduce is empty; give a config that names what to reproduce, e.g. "
            "--configfile config/imagenet1k.yaml"
        )
    blocks = [CONFIG["reproductions"][name] for name in CONFIG["reproduce"]]
    return {
        "ood": [f"results/studies/{block['study']}/ood.parquet" for block in blocks],
        "published": in_place(source(block["published"]) for block in blocks),
    }


def reproduction_config(name):
    """A study, and what its values are compared with (`lib/report/published.py`)."""
    block = CONFIG["reproductions"][name]
    study = CONFIG["studies"][block["study"]]
    methods = {method: counterpart(one, block, study) for method, one in block["methods"].items()}
    keys = ("tolerance", "tolerance_of_means")
    return {
        "study": block["study"],
        "compare": {"test": study["test"], "methods": methods} | {key: block[key] for key in keys},
    }


def counterpart(method, block, study):
    """Which rows of the OOD table stand for a method, and whether its scores depend on others."""
    kind = detector_needs(method["detector"])
    mining = block["mining"] if kind == "positives" else "none"
    clustered = kind == "clusters" or "clusters" in needs("minings", block["mining"])
    clustered = clustered and kind != "train"
    rows = {
        "encoder": study["encoders"][0],
        "clustering": study["clusterings"][0] if clustered else "none",
        "mining": mining,
        "negatives": method["negatives"] or "none",
        "detector": method["detector"],
    }
    detector = CONFIG["detectors"][method["detector"]]["method"]
    return {"rows": rows, "test_time": DETECTORS[detector].stateful}


rule compare_published:
    input:
        unpack(published_and_ours),
    output:
        **table("results/tables/reproduction", "reproduction"),
    log:
        "results/logs/compare_published.log",
    localrule: True
    conda:
        "../envs/workflow.yaml"
    params:
        cfg={name: reproduction_config(name) for name in CONFIG["reproduce"]},
        code=code("compare_published"),
        above=above("compare_published"),
    script:
        "../workflow_scripts/compare_published.py"


def all_reproductions(wildcards):
    """What `snakemake reproduce` makes."""
    return [f"results/tables/reproduction.{ending}" for ending in TABLE_ENDINGS]
