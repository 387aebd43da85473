"""Derive a corpus: each adjective of another corpus joined to a random superclass (CSP).

Out: a concept table as of build_corpus; part of speech and source are "conjugated".
"""

from workflow_scripts.lib.artifacts import read_table, write_table
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.job import job
from workflow_scripts.lib.texts.conjugation import conjugate
from workflow_scripts.lib.texts.entries import Entry, corpus_table


def conjugate_corpus(source, cfg, output):
    """source: the concept table with the adjectives.

    cfg: {"corpus": its name, for messages, "superclasses": names, "seed": of the draw}.
    """
    table = read_table(source, ["concept", "pos"])
    pairs = zip(table["concept"].to_pylist(), table["pos"].to_pylist(), strict=True)
    adjectives = [concept for concept, pos in pairs if pos == "adjective"]
    if not adjectives:
        raise InputError(f"corpora.{cfg['corpus']} has no adjectives (column pos) to conjugate")
    phrases = list(dict.fromkeys(conjugate(adjectives, cfg["superclasses"], cfg["seed"])))
    entries = [Entry(phrase, "conjugated", "conjugated") for phrase in phrases]
    write_table(output, corpus_table(entries), meta=cfg)


if __name__ == "__main__":
    with job(snakemake):
        conjugate_corpus(snakemake.input[0], snakemake.params.cfg, snakemake.output[0])
