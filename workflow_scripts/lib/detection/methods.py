"""The detectors: what each compares images with, and where its function is.

The rules read this table at every start, so nothing here imports NumPy. The function of a detector
has its name, in one of this room's modules; what it takes and returns is in `detectors`.
"""

from dataclasses import dataclass
from importlib import import_module

NAMES = ("positives", "negatives")
ALL = "(all)"  # name of the sample of all in-distribution test sets together


@dataclass(frozen=True)
class Method:
    """A detector.

    module: where its function is. needs: what it compares images with, in the order of its
    arguments: positives, negatives, train (the training images) or clusters (of these).
    fitted: the function prepares the score. stateful: scores depend on the images before, so every
    pair of in-distribution and OOD set is scored on its own.
    """

    module: str
    needs: tuple = ("positives",)
    fitted: bool = False
    stateful: bool = False


METHODS = {
    "max_logit": Method("texts"),
    "mcm": Method("texts"),
    "energy": Method("texts"),
    "entropy": Method("texts"),
    "neglabel": Method("texts", NAMES),
    "negrefine": Method("texts", NAMES, fitted=True),
    "adaneg": Method("adaptive", NAMES, fitted=True, stateful=True),
    "knn": Method("images", ("train",), fitted=True),
    "mahalanobis": Method("images", ("clusters",), fitted=True),
}

# Which detector of a study decides where its `decide_by` names none: the first of these; one that
# is not here comes last. config/README.md says what the order rests on. AdaNeg stands last since
# its scores depend on the other images.
DECIDING_ORDER = ("mahalanobis", "neglabel", "energy", "max_logit", "negrefine", "mcm", "knn")
DECIDING_ORDER += ("entropy", "adaneg")


def function_of(name):
    """The function of a detector."""
    module = import_module(f"workflow_scripts.lib.detection.{METHODS[name].module}")
    return getattr(module, name)


def deciding_rank(method):
    """Place of a method in DECIDING_ORDER, from 0; of one that is not there, its length."""
    return [*DECIDING_ORDER, method].index(method)
