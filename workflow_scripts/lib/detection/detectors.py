"""OOD scores of images against positives, negatives or training images. Higher = more ID.

A detector is a function of cosines, `f(positive_sims, **parameters)` or
`f(positive_sims, negative_sims, **parameters)`, that returns float32 [b]. Cosines are arrays of
NumPy or, on a graphics card, torch tensors (`lib/arrays.py`). A new one is one
function, one entry in `methods.METHODS` and one block in `models.py`. Detectors that prepare
something first are functions of what they need, `f(*sources, **parameters)`, that return
such a score function of (images, positive_sims, negative_sims); they are marked `fitted`. Those
that compare images with training images are also told which of them an image is (`own`): they
leave it out.
"""

from contextlib import contextmanager
from functools import partial

import numpy as np

from workflow_scripts.lib.arrays import array_namespace, to_numpy
from workflow_scripts.lib.concepts.similarity import tiles
from workflow_scripts.lib.detection.methods import METHODS, function_of
from workflow_scripts.lib.device import placed
from workflow_scripts.lib.errors import Impossible, InputError, reason
from workflow_scripts.lib.job import progress

ORDER_SEED = 0  # of the order in which a detector with a memory sees the images


def score_embeddings(
    images, positives, negatives, detectors, train=None, clusters=None, own=None, missing=None
):
    """`score_blocks` of all images: in order, but for stateful detectors in a random order.

    A detector with a memory must not see one image set after the other. The order is the same for
    all detectors and lists of texts (our choice); scores are returned in the images' order. Those
    of a detector with a memory are of one stream of all images: for lists and decisions, which
    need a score per image. Tables take those of `score_pairs`.
    images: `Embeddings`, which are streamed. Other arguments and results as in `score_blocks`.
    """
    stateful = _stateful(detectors)
    others = {name: block for name, block in detectors.items() if name not in stateful}
    blocks = progress(images.blocks(), unit="block")
    scores, nearest, cosines = score_blocks(
        blocks, positives, negatives, others, train, clusters, own, missing
    )
    if stateful:
        scores |= _score_shuffled(
            images, np.arange(images.rows), positives, negatives, stateful, missing
        )
    return scores, nearest, cosines


def score_pairs(images, positives, negatives, detectors, pairs, missing=None):
    """Scores of the detectors with a memory, of every pair of image sets in a stream of its own.

    The memory starts empty for every pair and its images come shuffled, so that the pair's scores
    depend on no other set (as the authors of AdaNeg run it).
    pairs: pair -> int [n], the rows of its images. Other arguments as in `score_embeddings`.
    Returns pair -> {(detector, negatives): float32 [n]}.
    """
    stateful = _stateful(detectors)
    return {
        pair: _score_shuffled(images, rows, positives, negatives, stateful, missing)
        for pair, rows in pairs.items()
        if stateful
    }


def _stateful(detectors):
    return {n: block for n, block in detectors.items() if METHODS[block["method"]].stateful}


def _score_shuffled(images, rows, positives, negatives, detectors, missing):
    """The scores of `score_blocks` of these rows, seen in a random order."""
    order = np.random.default_rng(ORDER_SEED).permutation(len(rows))
    blocks = progress(images.blocks(rows=rows[order]), unit="block")
    shuffled, _, _ = score_blocks(blocks, positives, negatives, detectors, missing=missing)
    back = np.argsort(order)
    return {key: values[back] for key, values in shuffled.items()}


def score_blocks(
    blocks, positives, negatives, detectors, train=None, clusters=None, own=None, missing=None
):
    """Score a stream of images with several detectors and lists of negatives.

    blocks: iterable of float32 [b, d] unit-norm image embeddings.
    positives: float32 [P, d], or None if no detector needs them.
    negatives: dict of name -> float32 [M, d].
    detectors: dict of name -> {"method": a key of METHODS, **its parameters}.
    train: the `Embeddings` of the training images.
    clusters: the `images.Gaussians` of the training images' clusters.
    own: int [N], the row of every image among the training images, -1 if it is none of them; None
        if no image is.
    missing: a dict that gets (detector, negatives) -> reason of every detector that raises
        Impossible, which then has no scores. None: it is raised.
    Returns (scores, nearest, cosines): scores maps (detector, negatives) to float32 [N], with
    negatives None for detectors that need none; nearest int32 [N] and cosines float32 [N] are the
    positive with the highest cosine, the first of equals (None without positives).
    Every block is multiplied once with the positives and once with each list of negatives; memory
    holds a few products of at most `similarity.TILE` cosines, whatever the number of images. On a
    card all but the scores stays there.
    Raises InputError for an unknown method, a missing source or embeddings that do not fit.
    """
    if positives is not None and not len(positives):
        raise InputError("there are no positives to score against; mine at least one concept")
    positives = placed(positives)
    negatives = {name: placed(texts) for name, texts in negatives.items()}
    sources = {"positives": positives, "train": train, "clusters": clusters}
    plan = _plan(sources, negatives, detectors, missing)
    failed = {} if missing is None else missing
    used = {name: negatives[name] for name in plan if name is not None}
    texts = {} if positives is None else {"positives": positives}
    texts |= {f"negatives {name!r}": used[name] for name in used}
    if train is not None:
        texts["training images"] = next(train.blocks(size=1))
    if clusters is not None:
        texts["cluster means"] = clusters.means[:1]
    scores = {(name, against): [] for against, jobs in plan.items() for name, _ in jobs}
    nearest, cosines = [np.empty(0, np.int32)], [np.empty(0, np.float32)]
    start = 0
    for part in tiles(blocks, texts):
        rows = None if own is None else own[start : start + len(part)]
        start += len(part)
        part, positive_sims = placed(part), None
        if positives is not None:
            positive_sims = _cosines(part, positives)
            best, cosine = _nearest(positive_sims)
            nearest.append(best)
            cosines.append(cosine)
        for name, score in plan.get(None, []):
            if (name, None) not in failed:
                with _recorded((name, None), missing):
                    found = score(part, positive_sims, None, rows)
                    scores[name, None].append(to_numpy(found))
        for against in used:
            negative_sims = _cosines(part, used[against])
            for name, score in plan[against]:
                if (name, against) not in failed:
                    with _recorded((name, against), missing):
                        found = score(part, positive_sims, negative_sims)
                        scores[name, against].append(to_numpy(found))
    empty = np.empty(0, np.float32)
    scores = {
        key: np.concatenate([empty, *values]) for key, values in scores.items() if key not in failed
    }
    if positives is None:
        return scores, None, None
    return scores, np.concatenate(nearest), np.concatenate(cosines)


def column_of(detector, negatives):
    """Name of a score in tables: the detector's, with the name of its negatives if it has such."""
    return detector if negatives is None else f"{detector}:{negatives}"


def with_temperatures(detectors, encoder):
    """The detectors with every `temperature: encoder` replaced by 1 / the encoder's logit scale.

    detectors: as in `score_blocks`. encoder: the description of the encoder that made the
    embeddings, from their metadata. Raises InputError if it does not tell its scale.
    """
    known = {}
    for name, settings in detectors.items():
        if settings.get("temperature") == "encoder":
            scale = encoder.get("logit_scale")
            if not scale:
                raise InputError(
                    f"detectors.{name}.temperature: {encoder.get('model')!r} made these embeddings "
                    "and does not tell its logit scale; give a number, e.g. 0.01"
                )
            settings = settings | {"temperature": 1 / scale}
        known[name] = settings
    return known


def _cosines(images, texts):
    """[b, V], stored concepts first: a group of negatives is then rows of contiguous memory."""
    return (texts @ images.T).T


def _nearest(sims):
    """The first of the highest cosines of every row, int32 [b], and that cosine, of NumPy."""
    xp = array_namespace(sims)
    best = xp.argmax(sims, axis=1)
    cosines = xp.take_along_axis(sims, best[:, None], axis=1)[:, 0]
    return to_numpy(best).astype(np.int32), to_numpy(cosines)


@contextmanager
def _recorded(key, missing):
    """Put the reason of a method that raises Impossible into `missing`; None: it is raised."""
    try:
        yield
    except Impossible as error:
        if missing is None:
            raise
        missing[key] = reason(error)


def _plan(sources, negatives, detectors, missing):
    """What to run: negatives (None if not needed) -> [(detector, score function)]."""
    plan = {}
    for name, settings in detectors.items():
        parameters = dict(settings)
        method = parameters.pop("method")
        if method not in METHODS:
            raise InputError(
                f"detectors.{name}.method: unknown method {method!r}; use one of {sorted(METHODS)}"
            )
        for need in METHODS[method].needs:
            if (not negatives) if need == "negatives" else sources[need] is None:
                raise InputError(f"detectors.{name}: {method} needs {need}, but none are given")
        against = negatives if "negatives" in METHODS[method].needs else {None: None}
        for key, texts in against.items():
            given = [{**sources, "negatives": texts}[need] for need in METHODS[method].needs]
            jobs = plan.setdefault(key, [])
            with _recorded((name, key), missing):
                jobs.append((name, _score_function(method, given, parameters)))
    return plan


def _score_function(method, given, parameters):
    """A key of METHODS as a function of (images, positive_sims, negative_sims), and without
    negatives of `own` too."""
    if METHODS[method].fitted:
        return function_of(method)(*given, **parameters)
    function = partial(function_of(method), **parameters)
    if "negatives" in METHODS[method].needs:
        return lambda images, positive_sims, negative_sims: function(positive_sims, negative_sims)
    return lambda images, positive_sims, negative_sims, own: function(positive_sims)
