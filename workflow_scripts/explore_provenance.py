"""Write the page that says what a study's results were made of.

Out: an HTML file: config, versions, the user's files with SHA-256, seconds and memory per stage.
Unlike all other files of the workflow it has times in it, so it differs from run to run.
"""

import yaml

from workflow_scripts.lib.explore.pages import write_page
from workflow_scripts.lib.explore.provenance import sources, stages, versions
from workflow_scripts.lib.job import job


def explore_provenance(cfg, output):
    """cfg: study, pages and config (the study and the blocks that it names, with all defaults)."""
    times = stages("results/logs")
    write_page(
        output,
        "provenance.html",
        cfg,
        stages=times.assign(
            seconds=[f"{value:,.1f}" for value in times["seconds"]],
            memory=[
                "" if value != value else f"{value:,.0f}" for value in times["memory"].astype(float)
            ],
        ),
        versions=versions(),
        sources=sources("results/sources.json"),
        config=yaml.safe_dump(cfg["config"], sort_keys=False, allow_unicode=True, width=100),
    )


if __name__ == "__main__":
    with job(snakemake):
        explore_provenance(snakemake.params.cfg, snakemake.output[0])
