"""How well mined names agree with the true class names. Evaluation only: it reads labels.

Names are compared as given: normalise both sides first (`names.normalise`). Of the figures of a
list of positives (ClusterMine's label quality: exact matches, zero-shot accuracy, text and WordNet
similarity to the nearest true name) `name_agreement` gives those that need names only,
`text_agreement` those that need text embeddings, `zero_shot_accuracy` those that need images.
"""

import logging

import numpy as np
import pyarrow.compute as pc

from workflow_scripts.lib.artifacts import read_table
from workflow_scripts.lib.concepts.similarity import top_concepts
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.texts.names import normalise


def true_names_of(indexes, name_of=normalise):
    """The distinct class names in Parquet indexes of images, a set, normalised like a corpus.

    name_of: label -> name, for labels that are ids (`label_names.naming`).
    """
    labels = set()
    for path in indexes:
        labels |= set(pc.unique(read_table(path, ["label"])["label"]).to_pylist())
    return {name_of(label) for label in labels - {None}}


def name_agreement(mined, true, synonyms_of=None, path_similarity=None):
    """Figures from the names alone, as fractions.

    mined, true: sequences of distinct names.
    synonyms_of: name -> set of true names that share a meaning (a WordNet synset) with it.
    path_similarity: name -> 1 / (1 + edges to the nearest meaning of a true name), NaN if the tree
        lacks the name. `tree_functions` gives both. They look at all senses of a name, so names
        with many senses match too easily: read the figures as upper bounds.

    Returns a dict:
    exact_match_rate: share of the mined names that are true names.
    coverage: share of the true names that were mined.
    synonym_match_rate, synonym_coverage: the same where a synonym counts as well (not without
        synonyms_of).
    path_similarity: mean over the mined names of the similarity to the nearest true name (1 for
        an exact or synonym match), names unknown to the tree left out; path_known: share of the
        mined names that are in this mean (neither without path_similarity).
    NaN where a figure is a mean over nothing.
    """
    true_set = set(true)
    found = [{name} & true_set for name in mined]
    result = {"exact_match_rate": _mean(found, bool), "coverage": _covered(found, true_set)}
    if synonyms_of is not None:
        found = [({name} | synonyms_of(name)) & true_set for name in mined]
        result["synonym_match_rate"] = _mean(found, bool)
        result["synonym_coverage"] = _covered(found, true_set)
    if path_similarity is not None:
        values = [
            1.0 if matches else path_similarity(name)
            for name, matches in zip(mined, found, strict=True)
        ]
        known = [value for value in values if not np.isnan(value)]
        result["path_similarity"] = _mean(known, float)
        result["path_known"] = len(known) / len(values) if values else np.nan
    return result


def tree_functions(tree, true):
    """(synonyms_of, path_similarity) of `name_agreement`, from a concept tree (`trees.Tree`)."""
    named = {}
    for name in true:
        for node in tree.nodes(name):
            named.setdefault(node, set()).add(name)

    def synonyms_of(name):
        return set().union(*(named.get(node, ()) for node in tree.nodes(name)))

    def path_similarity(name):
        nodes = tree.nodes(name)
        return tree.path_similarity(nodes, named) if nodes and named else np.nan

    return synonyms_of, path_similarity


def _mean(values, of):
    return float(np.mean([of(value) for value in values])) if len(values) else np.nan


def _covered(found, true):
    return len(set().union(*found)) / len(true) if true else np.nan


def text_agreement(mined_texts, true_texts):
    """The nearest true name of every mined name, by text embedding.

    mined_texts: float32 [P, d], true_texts: float32 [T, d], unit-norm, of one encoder and prompts.
    Returns (nearest int32 [P]: rows of true_texts, cosines float32 [P]). Report the mean cosine:
    text embeddings of unrelated names are similar too, so compare it with that of random names.
    """
    ids, cosines = top_concepts([mined_texts], true_texts, 1)
    return ids[:, 0], cosines[:, 0]


def zero_shot_accuracy(nearest, labels, mined, true, nearest_true):
    """Accuracy of the mined names as zero-shot class names on labelled images.

    nearest: int [N], for every image the mined name with the highest cosine: from
        `top_concepts(blocks, mined_texts, 1)`, which streams the images, or a score file.
    labels: sequence of N class names, None where unknown. mined, true: sequences of P and T names.
    nearest_true: int [P], `text_agreement`'s answer.
    Images without a label, or with one that is not in `true`, are left out.

    A mined name stands for a class in one of two ways (our choice, both reported):
    accuracy_exact: for the true name that it equals; any other mined name is always wrong. So the
        share of images whose class was mined is an upper bound.
    accuracy_nearest: for the true name nearest to it in text similarity (itself, if it is one). It
        forgives synonyms and finer names, and leaves out what the encoder's texts confuse.

    Returns a dict of both fractions, and labelled: the number of images they are over. NaN if 0.
    Raises InputError if the lengths differ.
    """
    if len(nearest) != len(labels) or len(mined) != len(nearest_true):
        raise InputError(
            f"zero-shot accuracy: {len(nearest)} images and {len(labels)} labels, {len(mined)} "
            f"mined names and {len(nearest_true)} nearest true names; each two must be equal"
        )
    row_of = {name: row for row, name in enumerate(true)}
    label = np.array([row_of.get(name, -1) for name in labels], np.int64)
    exact = np.array([row_of.get(name, -1) for name in mined], np.int64)
    by_text = np.where(exact >= 0, exact, nearest_true)
    labelled = label >= 0
    label, nearest = label[labelled], np.asarray(nearest)[labelled]
    return {
        "accuracy_exact": _mean(exact[nearest] == label, float),
        "accuracy_nearest": _mean(by_text[nearest] == label, float),
        "labelled": len(label),
    }


class Judge:
    """The true names and the test images as one encoder embeds them, to judge lists of positives.

    test: `Embeddings` of the test images. labels: their names, as concepts are spelled, None where
    unknown. names: the corpus. vectors: float [V, d], its embeddings. true_names: a set.
    tree: () or the functions of `tree_functions`.
    """

    def __init__(self, test, labels, names, vectors, true_names, tree=()):
        ids = [i for i, name in enumerate(names) if name in true_names]
        self.test, self.labels, self.vectors = test, labels, vectors
        self.true_names, self.tree = true_names, tree
        self.in_corpus = [names[i] for i in ids]
        self.true_texts = np.asarray(vectors[ids], dtype=np.float32)

    def figures(self, names, ids):
        """All figures of one list of positives, a dict. names, ids: their names and concept ids.

        Without true names there are none but n_positives. Those that need embeddings of true names
        are left out if the corpus has no true name.
        """
        row = {"n_positives": len(names)}
        if not self.true_names:
            return row
        row |= {
            "true_names": len(self.true_names),
            "true_names_in_corpus": len(self.in_corpus),
            "exact_matches": len(self.true_names & set(names)),
        }
        row |= name_agreement(names, sorted(self.true_names), *self.tree)
        return row | self._figures_of_texts(names, ids) if self.in_corpus else row

    def _figures_of_texts(self, names, ids):
        texts = np.asarray(self.vectors[ids], dtype=np.float32)
        nearest_true, cosines = text_agreement(texts, self.true_texts)
        nearest, _ = top_concepts(self.test.blocks(), texts, 1)
        accuracy = zero_shot_accuracy(
            nearest[:, 0], self.labels, names, self.in_corpus, nearest_true
        )
        return {"text_similarity": float(cosines.mean())} | accuracy


def check_common_labels(labels, true_names, named, study):
    """Compare the labels of the test images with the true names: none in common is a mistake if
    only one of the two sets has a table of names. Otherwise it may be meant, e.g. of training
    images with coarse labels, and is logged.

    labels: names, None where unknown. named: whether the training and the test images have a table.
    Raises InputError for the mistake.
    """
    labels = {*labels} - {None, ""}
    if not labels or not true_names or labels & true_names:
        return
    message = (
        f"no label of the test images of {study} is the name of a class of its training images: "
        f"{min(labels)!r} and others against {min(true_names)!r} and others"
    )
    if named[0] != named[1]:
        raise InputError(
            f"{message}. Only the {'training' if named[0] else 'test'} images have a table of "
            "names: give the others one too (image_sets.<name>.label_names), or if no class is "
            "meant to be shared, leave the labels of the test images out (labels: none)"
        )
    logging.warning("%s; there is no zero-shot accuracy", message)
