"""The mining methods and what each works on; its function of the same name is in `mining`.

"clusters", "centres" (with the embeddings of the concepts) and "labels" are fields of the
`evidence.Evidence`; "seed" and "names" (ids of the concepts in a file) are arguments. The rules
read this table at every start, so nothing here imports NumPy.
"""

METHODS = {
    "clustermine": ("clusters",),
    "frequency": (),
    "union": ("clusters",),
    "given": ("names",),
    "random": ("clusters", "seed"),
    "centroid": ("clusters", "centres"),
    "scd": ("clusters",),
    "tac": ("clusters", "centres"),
    "ground_truth": ("labels",),
    "ground_truth_and_mined": ("clusters", "labels"),
}
