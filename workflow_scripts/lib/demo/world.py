"""The demo world: small rendered images of one object each, named "striped red circle".

An object has one of 18 shapes, 8 colours and 4 textures. 60 of the 384 compositions of the 12 ID
shapes are the in-distribution (ID) classes. Everything else serves as out-of-distribution (OOD)
data: other compositions of the same words, six shapes that no ID class has, and images without an
object. The world is our own invention; `drawing` shows how it looks.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from workflow_scripts.lib.demo.drawing import (
    COLOURS,
    CORRUPTIONS,
    OBJECT_FREE,
    SHADES,
    SHAPES,
    TEXTURES,
    draw_concept,
    to_uint8,
)
from workflow_scripts.lib.errors import InputError

RESPELLED = 3  # every third composition has a second name in the corpus
ID_SEED = 60
NUM_ID_CONCEPTS = 60
LARGEST_TO_SMALLEST = 5.0  # class sizes of an unequal set fall linearly, e.g. 100 down to 20

UNSEEN_SHAPES = ("gear", "hourglass", "semicircle", "spiral", "bolt", "chevron")
ID_SHAPES = tuple(shape for shape in SHAPES if shape not in UNSEEN_SHAPES)
KINDS = {
    "round shape": ("circle", "ring", "crescent", "semicircle", "spiral"),
    "angular shape": ("square", "triangle", "diamond", "bar", "hourglass", "chevron"),
    "pointed shape": ("star", "cross", "arrow", "bolt"),
    "curly shape": ("heart", "flower", "gear"),
}
# Second names of shapes and textures: same look, rarer word.
SYNONYMS = {
    "circle": "disc",
    "square": "box",
    "triangle": "wedge",
    "star": "pentagram",
    "cross": "plus",
    "ring": "hoop",
    "heart": "valentine",
    "diamond": "rhombus",
    "crescent": "moon",
    "arrow": "pointer",
    "flower": "blossom",
    "bar": "strip",
    "gear": "cog",
    "hourglass": "sandglass",
    "semicircle": "dome",
    "spiral": "swirl",
    "bolt": "lightning",
    "chevron": "caret",
    "solid": "plain",
    "striped": "banded",
    "checkered": "checked",
    "dotted": "spotted",
}


# Concepts


def compositions(shapes=SHAPES):
    """All (texture, colour, shape) of `shapes`, in a fixed order: 576 for all 18 shapes."""
    return [(t, c, s) for s in shapes for c in COLOURS for t in TEXTURES]


def id_concepts():
    """The 60 ID classes: a fixed draw from the 384 compositions of the 12 ID shapes."""
    everything = compositions(ID_SHAPES)
    chosen = np.random.default_rng(ID_SEED).choice(len(everything), NUM_ID_CONCEPTS, replace=False)
    return [everything[i] for i in chosen]


def concept_name(concept):
    """("striped", "red", "circle") -> "striped red circle"."""
    return " ".join(concept)


def class_sizes(images, classes, unequal):
    """Images per class, int [classes], summing to `images`.

    Unequal sizes fall linearly from the first class to the last by the factor 5.
    """
    weights = np.linspace(LARGEST_TO_SMALLEST, 1, classes) if unequal else np.ones(classes)
    ends = np.rint(np.cumsum(weights) / weights.sum() * images).astype(int)
    return np.diff(ends, prepend=0)


def corpus_names():
    """[(name, pos)] of the generated part of the demo corpus, no name twice.

    All compositions; partial names (striped circle, red circle, circle); the same with other words
    for shade, shape and texture (crimson disc). Adjectives: the colour, shade and texture words.
    """
    rng = np.random.default_rng(0)
    shape_words = [*SHAPES, *(SYNONYMS[s] for s in SHAPES)]
    texture_words = [*TEXTURES, *(SYNONYMS[t] for t in TEXTURES)]
    shade_words = [shade for shades in SHADES.values() for shade in shades]
    nouns = [concept_name(c) for c in compositions()]
    nouns += [f"{c} {s}" for s in shape_words for c in COLOURS]
    nouns += [f"{t} {s}" for s in SHAPES for t in texture_words]
    nouns += shape_words
    for texture, colour, shape in compositions()[::RESPELLED]:
        shade = list(SHADES[colour])[rng.integers(2)]
        respelled = [
            (texture, shade, shape),
            (texture, colour, SYNONYMS[shape]),
            (SYNONYMS[texture], colour, shape),
        ]
        nouns.append(concept_name(respelled[rng.integers(3)]))
    nouns += [f"{shade} {s}" for s in SHAPES for shade in shade_words]
    adjectives = [*COLOURS, *shade_words, *texture_words]
    return [(n, "noun") for n in dict.fromkeys(nouns)] + [(a, "adjective") for a in adjectives]


def tree_edges():
    """[(child, parent)] of the demo's concept tree; a root has the parent "".

    shape > kind of shape > circle > striped circle > striped red circle, and the other names of
    the corpus as children of what they are kinds of: red circle, disc (circle), striped crimson
    circle (striped red circle). The kinds are our choice.
    """
    colour_of = {shade: colour for colour, shades in SHADES.items() for shade in shades}
    usual = {word: name for name, word in SYNONYMS.items()}
    edges = [("shape", "")] + [(kind, "shape") for kind in KINDS]
    edges += [(shape, kind) for kind, shapes in KINDS.items() for shape in shapes]
    edges += [(f"{t} {s}", s) for s in SHAPES for t in TEXTURES]
    edges += [(concept_name((t, c, s)), f"{t} {s}") for t, c, s in compositions()]
    known = {child for child, _ in edges}
    for name in (name for name, pos in corpus_names() if pos == "noun"):
        if name in known:
            continue
        words = [colour_of.get(word, usual.get(word, word)) for word in name.split()]
        plain = " ".join(words)
        edges.append((name, plain if plain != name and plain in known else words[-1]))
    return edges


# Image sets

_OBJECT_SETS = {
    "id": id_concepts,
    "unseen_shapes": lambda: compositions(UNSEEN_SHAPES),
    "unseen_combinations": lambda: [
        c for c in compositions(ID_SHAPES) if c not in set(id_concepts())
    ],
}
CONTENTS = (*_OBJECT_SETS, *OBJECT_FREE)
SIZES = ("balanced", "unequal")


def check_spec(spec):
    """The spec with its defaults filled in. Raises InputError if a key or value is unknown."""
    full = {"corruption": "none", "sizes": "balanced", **spec}
    allowed = {"content": CONTENTS, "corruption": ("none", *CORRUPTIONS), "sizes": SIZES}
    if set(full) != {"content", "images", "seed", "corruption", "sizes"}:
        raise InputError(
            f"image set {spec}: give content, images and seed, and if wanted corruption and sizes"
        )
    for key, values in allowed.items():
        if full[key] not in values:
            raise InputError(f"image set {spec}: {key} must be one of {', '.join(values)}")
    if full["images"] < 1:
        raise InputError(f"image set {spec}: images must be at least 1")
    return full


def render(spec):
    """Yield (label, uint8 [64, 64, 3]) for every image of a set.

    spec: {content, images, seed, corruption = none, sizes = balanced}. Image i depends on the seed
    and on i alone, so a corrupted set shows the very images of the clean set of the same seed.
    Raises InputError for an unknown key or value.
    """
    spec = check_spec(spec)
    corrupt = CORRUPTIONS.get(spec["corruption"])
    concepts = _OBJECT_SETS[spec["content"]]() if spec["content"] in _OBJECT_SETS else [None]
    sizes = class_sizes(spec["images"], len(concepts), spec["sizes"] == "unequal")
    for i, class_id in enumerate(np.repeat(np.arange(len(concepts)), sizes)):
        rng = np.random.default_rng([spec["seed"], i])
        concept = concepts[class_id]
        if concept is None:
            label, image = spec["content"], OBJECT_FREE[spec["content"]](rng)
        else:
            label, image = "_".join(concept), draw_concept(concept, rng)
        pixels = to_uint8(image).transpose(1, 2, 0)
        if corrupt:
            pixels = to_uint8(corrupt(pixels.astype(np.float32), rng))
        yield label, pixels


def render_set(spec, folder):
    """Write a set as folder/<label>/<00000>.jpg; see `render`. The same spec, the same bytes."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for i, (label, image) in enumerate(render(spec)):
        path = folder / label / f"{i:05d}.jpg"
        if not path.parent.exists():
            path.parent.mkdir()
        Image.fromarray(image).save(path, quality=95, subsampling=0)
