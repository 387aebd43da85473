"""Mine the positives: the concepts of a corpus that the unlabelled training images show.

Reads the similarity pass and, for methods that need them, clusters and their centres; never labels,
test or OOD images. The clusters may be of another encoder. Out: one row per concept with votes,
purity, size, runner-up and example images; the metadata name both encoders, and of a given list the
number of names that the corpus lacks (lacking).
"""

from workflow_scripts.lib.artifacts import read_meta, read_table
from workflow_scripts.lib.concepts import mining
from workflow_scripts.lib.concepts.given import given_rows
from workflow_scripts.lib.concepts.methods import METHODS
from workflow_scripts.lib.concepts.positives import read_evidence, write_positives
from workflow_scripts.lib.job import job

NOT_PARAMETERS = ("method", "file", "missing")  # keys of a config block that no function takes


def mine_concepts(similarity, concepts, clusters, centres, given, cfg, meta, output):
    """centres: of the cluster centres and the text embeddings the arrays, and the file beside the
    first; or none. given: the file of the method `given`, in a list, or none. cfg: the mining's
    block."""
    names = read_table(concepts, ["concept"])["concept"].combine_chunks()
    parameters = {key: value for key, value in cfg.items() if key not in NOT_PARAMETERS}
    meta |= {"method": cfg["method"]}
    if "seed" in METHODS[cfg["method"]]:
        parameters["seed"] = meta["seed"]
    if "names" in METHODS[cfg["method"]]:
        parameters["names"], meta["lacking"] = given_rows(
            given[0], cfg, names.to_pylist(), [meta["corpus"]]
        )
    if centres:
        array, about, texts = centres
        centres = [(array, about), (texts, concepts)]
    evidence, image_ids = read_evidence(similarity, len(names), clusters, centres=centres)
    columns = getattr(mining, cfg["method"])(evidence, **parameters)
    if clusters:
        meta["clustering_encoder"] = read_meta(clusters)["encoder"]
    write_positives(output, columns, names, image_ids, meta)


if __name__ == "__main__":
    with job(snakemake):
        mine_concepts(
            snakemake.input.similarity,
            snakemake.input.concepts,
            snakemake.input.clusters or None,
            snakemake.input.centres,
            snakemake.input.given,
            snakemake.params.cfg,
            {**snakemake.wildcards, "seed": int(snakemake.wildcards.seed)},
            snakemake.output[0],
        )
