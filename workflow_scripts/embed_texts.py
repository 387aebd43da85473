"""Embed a concept table: one unit-norm embedding per concept, the mean of its prompts."""

import numpy as np

from workflow_scripts.lib.artifacts import read_table, write_array, write_table
from workflow_scripts.lib.encoders.loading import PINNED, load_encoder, with_weights
from workflow_scripts.lib.job import job, progress
from workflow_scripts.lib.texts.prompts import apply_prompts, check_parts

BLOCK = 4096  # concepts whose prompts and their embeddings are held at once


def embed_texts(corpus, weights, cfg, embeddings, index, threads=1, pins=None):
    """Write float16 [V, d] and its index, the concept table with what made the embeddings.

    corpus: Parquet with columns concept, pos, source. weights: the files of a local encoder
    (see `with_weights`). cfg: {"encoder": see `load_encoder`, "prompts": see `apply_prompts`}.
    pins: see `load_encoder`. Warns of templates that no concept has (see `check_parts`).
    """
    table = read_table(corpus, columns=["concept", "pos", "source"])
    concepts, pos = table["concept"].to_pylist(), table["pos"].to_pylist()
    check_parts(set(pos), cfg["prompts"], corpus)
    encoder = load_encoder(with_weights(cfg["encoder"], weights), threads, pins=pins)
    rows = np.empty((len(concepts), encoder.dim), np.float16)
    for start in progress(range(0, len(concepts), BLOCK), unit="blocks"):
        part = slice(start, start + BLOCK)
        prompts = apply_prompts(concepts[part], pos[part], cfg["prompts"])
        rows[part] = encoder.encode_prompts(prompts)
    meta = {"encoder": encoder.describe(), "params": cfg}
    meta["array"] = write_array(embeddings, rows)
    write_table(index, table, meta)


if __name__ == "__main__":
    with job(snakemake):
        embed_texts(
            snakemake.input.corpus,
            snakemake.input.weights,
            snakemake.params.cfg,
            snakemake.output.embeddings,
            snakemake.output.index,
            snakemake.threads,
            pins=PINNED,
        )
