"""Choose the number of clusters of an image set, by how stable they are (lib/clustering/number.py).

Out: the sweep, a row per number of clusters (Parquet and CSV, exact; Markdown and HTML, to read);
the choice, JSON {"k": int}; the clusters by the first seed, one row per image of the sample:
image_id, and an int32 column for every number of clusters, named by it. No label is read.
"""

import json

from workflow_scripts.lib.artifacts import write_table, write_text
from workflow_scripts.lib.clustering.number import choose, sweep
from workflow_scripts.lib.clustering.rows import sample_numbers
from workflow_scripts.lib.embeddings import open_embeddings
from workflow_scripts.lib.job import job
from workflow_scripts.lib.report.tables import write_tables


def choose_k(embeddings, index, cfg, wildcards, outputs):
    """cfg: sample (number of images, 0: all), and that of `sweep`. outputs: parquet, csv, md, html,
    choice, clusters."""
    images = open_embeddings(embeddings, index)
    rows = sample_numbers(images.rows, cfg["sample"], seed=0)
    frame, clusters = sweep(images.array(rows), cfg)
    k = choose(frame)
    title = f"Number of clusters of {wildcards.image_set} by {wildcards.encoder}: {k} chosen"
    write_tables(frame, outputs.parquet, outputs.csv, outputs.md, outputs.html, title)
    write_text(outputs.choice, json.dumps({"k": k}) + "\n")
    columns = {"image_id": images.index["image_id"].take(rows)}
    write_table(outputs.clusters, columns | {str(k): clusters[k] for k in clusters}, {})


if __name__ == "__main__":
    with job(snakemake):
        choose_k(
            snakemake.input.embeddings,
            snakemake.input.index,
            snakemake.params.cfg,
            snakemake.wildcards,
            snakemake.output,
        )
