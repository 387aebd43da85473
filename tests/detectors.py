"""The miniature project with all detectors, and a detector stored, for the tests of both."""

import pandas as pd
from projects import MINI

from workflow_scripts.lib.detection import load_detector
from workflow_scripts.lib.embeddings import open_embeddings

DETECTORS = {
    "mcm": {"method": "mcm"},
    "max_logit": {"method": "max_logit"},
    "energy": {"method": "energy", "temperature": "encoder"},
    "entropy": {"method": "entropy"},
    "neglabel": {"method": "neglabel", "groups": 2},
    "negrefine": {"method": "negrefine", "groups": 2},
    "adaneg": {"method": "adaneg"},
    "knn": {"method": "knn", "k": 2},
    "mahalanobis": {"method": "mahalanobis"},
}
COLUMNS = ["mcm", "max_logit", "energy", "entropy", "neglabel:rest", "negrefine:rest"]
NAMES = "mini/tinyclip/kmeans_3/clustermine/seed0"
FOLDER = f"results/detectors/{NAMES}"
SCORES = f"results/scores/{NAMES}.parquet"
CLUSTER_SCORES = "results/scores/mini/tinyclip/kmeans_3/none/seed0.parquet"
CLUSTERS = "results/clusters/tinyclip/photos/kmeans_3/seed0"
TEXTS = "results/embeddings/tinyclip/texts/words"


def store(project):
    study = MINI["studies"]["mini"] | {"detectors": list(DETECTORS)}
    project.write_config(MINI | {"studies": {"mini": study}, "detectors": DETECTORS})
    temi = FOLDER.replace("kmeans_3", "temi_3")
    stored = [f"{folder}/detector.json" for folder in (FOLDER, temi)]
    project.run("--cores", "1", *stored, SCORES, CLUSTER_SCORES)


def detector_of(project, **options):
    checkpoint = str(project.folder / "config/demo/tinyclip")
    options = {"encoder": {"method": "open_clip", "checkpoint": checkpoint}} | options
    return load_detector(project.folder / FOLDER, **options)


def embeddings_of(project, image_set, shards=1):
    stems = [
        f"{project.folder}/results/embeddings/tinyclip/images/{image_set}/{shard:05d}"
        for shard in range(shards)
    ]
    return open_embeddings([f"{s}.npy" for s in stems], [f"{s}.parquet" for s in stems])


def scores_of(project):
    tables = [pd.read_parquet(project.folder / path) for path in (SCORES, CLUSTER_SCORES)]
    return tables[0].assign(mahalanobis=tables[1]["mahalanobis"])
