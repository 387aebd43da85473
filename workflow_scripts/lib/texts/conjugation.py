"""CSP's conjugated semantic pool: adjectives joined to broad words (NeurIPS 2024)."""

import numpy as np


def conjugate(adjectives, superclasses, seed=0):
    """Each adjective joined to one random superclass: "furry" -> "furry creature".

    The phrases are new concepts, to be embedded like any other. An adjective's draw depends on the
    seed and on its place in the list.
    """
    drawn = np.random.default_rng(seed).integers(len(superclasses), size=len(adjectives))
    return [f"{word} {superclasses[i]}" for word, i in zip(adjectives, drawn, strict=True)]
