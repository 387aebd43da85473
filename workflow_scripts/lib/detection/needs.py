"""What each detector compares images with, in the order of its arguments.

The rules read this at every start, the jobs when they score; so it stands apart from the functions,
which import NumPy, and from the config's models, whose wording must not re-run a job.
"""

NEEDS = {
    "mcm": ("positives",),
    "max_logit": ("positives",),
    "energy": ("positives",),
    "entropy": ("positives",),
    "neglabel": ("positives", "negatives"),
    "negrefine": ("positives", "negatives"),
    "adaneg": ("positives", "negatives"),
    "knn": ("train",),
    "mahalanobis": ("train", "clusters"),
}
