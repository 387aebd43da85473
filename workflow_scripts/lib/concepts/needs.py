"""What each mining works on.

"clusters", "centres" (with the embeddings of the concepts) and "labels" are fields of the
`evidence.Evidence`, "seed" is an argument. The rules read this at every start, the jobs when they
mine; so it stands apart from the functions, which import NumPy, and from the config's models, whose
wording must not re-run a job.
"""

NEEDS = {
    "clustermine": ("clusters",),
    "frequency": (),
    "random": ("clusters", "seed"),
    "centroid": ("clusters", "centres"),
    "scd": ("clusters",),
    "tac": ("clusters", "centres"),
    "ground_truth": ("labels",),
    "ground_truth_and_mined": ("clusters", "labels"),
}
