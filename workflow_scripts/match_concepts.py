"""Match every image to its best concepts: the one pass over image-text similarities.

Out: Parquet, one row per image in the order of the embeddings: image_id, concept_ids (int32
rows of the corpus, best first) and cosines (float32). ClusterMine step 2.
"""

import pyarrow as pa

from workflow_scripts.lib import artifacts
from workflow_scripts.lib.concepts.similarity import top_concepts
from workflow_scripts.lib.device import placed
from workflow_scripts.lib.embeddings import check_same_encoder, open_embeddings, read_texts
from workflow_scripts.lib.job import job, progress


def match_concepts(embeddings, index, texts, concepts, top, output):
    images = open_embeddings(embeddings, index)
    meta = artifacts.read_meta(concepts)
    check_same_encoder(images.meta, meta)
    vectors = read_texts(texts, concepts)
    blocks = progress(images.blocks(), unit="block")
    ids, cosines = top_concepts(blocks, placed(vectors), min(top, len(vectors)))
    columns = {
        "image_id": images.ids,
        "concept_ids": pa.FixedSizeListArray.from_arrays(ids.ravel(), ids.shape[1]),
        "cosines": pa.FixedSizeListArray.from_arrays(cosines.ravel(), cosines.shape[1]),
    }
    artifacts.write_table(output, columns, meta={"concepts": len(vectors), "top": ids.shape[1]})


if __name__ == "__main__":
    with job(snakemake):
        match_concepts(
            snakemake.input.embeddings,
            snakemake.input.index,
            snakemake.input.texts,
            snakemake.input.concepts,
            snakemake.params.cfg["top"],
            snakemake.output[0],
        )
