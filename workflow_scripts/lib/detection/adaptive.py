"""OOD scores that learn from the test images: they depend on the order of the stream."""

import numpy as np

from workflow_scripts.lib.arrays import array_namespace, beside, device, to_numpy
from workflow_scripts.lib.detection.texts import entropy, neglabel

# Images adapted to at a time; bounds the memory, changes no score.
STEP = 1024


def adaneg(
    positives,
    negatives,
    temperature=0.01,
    groups=5,
    seed=0,
    memory=10,
    threshold=0.5,
    gap=0.5,
    weight=0.1,
):
    """NegLabel's score against proxies that adapt to the test images (AdaNeg, NeurIPS 2024).

    Every label has `memory` slots: its text embedding and up to memory - 1 test images; its proxy
    is their normalised sum (the task-adaptive proxies of the public code). An image with a NegLabel
    score above threshold + gap * (1 - threshold) is written to its nearest positive, one below
    threshold - gap * threshold to its nearest negative. In a full label it replaces the image with
    the highest entropy over the labels of its side, if its own is lower.
    Score: NegLabel's score on the proxies + weight * NegLabel's score on the texts.
    Our choice: images come one by one, each is written before it is scored (the public code does
    so by batches of 256). Scores depend on the order of the images, not on how it is cut.

    positives: float32 [P, d], negatives: float32 [M, d]. temperature, groups, seed: see `neglabel`.
    Returns the score function of (images [b, d], positive_sims [b, P], negative_sims [b, M]).
    """
    positive_proxies = _Proxies(positives, memory - 1)
    negative_proxies = _Proxies(negatives, memory - 1)

    def score_step(images, positive_sims, negative_sims):
        plain = neglabel(positive_sims, negative_sims, temperature, groups, seed)
        sure_id = plain > threshold + gap * (1 - threshold)
        sure_ood = plain < threshold - gap * threshold
        adaptive = neglabel(
            positive_proxies.adapt(images, positive_sims, sure_id, temperature),
            negative_proxies.adapt(images, negative_sims, sure_ood, temperature),
            temperature,
            groups,
            seed,
        )
        return adaptive + weight * plain

    def score(*arrays):
        steps = range(0, len(arrays[0]), STEP)
        scores = [score_step(*(a[s : s + STEP] for a in arrays)) for s in steps]
        return array_namespace(*arrays).concat(scores)

    return score


class _Proxies:
    """AdaNeg's memory of one side: the labels written to, their images and entropies.

    What is written is decided on the host, for all images of a step at once; images and proxies
    stay where the texts are.
    """

    def __init__(self, texts, places):
        self.texts = texts
        self.places = places
        self.images, self.entropies = {}, {}
        self.sums = {}  # of each label's images

    def adapt(self, images, sims, sure, temperature):
        """Write the sure images; returns every image's cosines [b, V] to the proxies of its time.

        sims: [b, V] cosines to the texts, which stay those of labels without images.
        """
        xp = array_namespace(sims)
        adapted = xp.asarray(sims.T, copy=True)
        if self.sums:
            adapted[list(self.sums), :] = self._proxies(list(self.sums)) @ images.T
        rows = np.flatnonzero(to_numpy(sure))
        chosen = sims[beside(rows, sims)]
        nearest, entropies = xp.argmax(chosen, axis=1), -entropy(chosen, temperature)
        decided = zip(rows.tolist(), to_numpy(nearest).tolist(), to_numpy(entropies), strict=True)
        none = xp.zeros((0, images.shape[1]), dtype=images.dtype, device=device(images))
        written, proxies = [], [none]
        for row, label, own in decided:
            if self._write(images[row], label, own):
                written.append((row, label))
                proxies.append(self._proxies([label]))
        cosines = xp.concat(proxies) @ images.T
        for number, (row, label) in enumerate(written):
            adapted[label, row:] = cosines[number, row:]
        return adapted.T

    def _proxies(self, labels):
        xp = array_namespace(self.texts)
        both = self.texts[labels] + xp.stack([self.sums[label] for label in labels])
        return both / xp.linalg.vector_norm(both, axis=1, keepdims=True)

    def _write(self, image, label, entropy):
        """Keep an image if there is room or another is less sure; returns whether it was kept."""
        kept = self.images.setdefault(label, [])
        entropies = self.entropies.setdefault(label, [])
        xp = array_namespace(image)
        if len(kept) < self.places:
            kept.append(xp.asarray(image, copy=True))
            entropies.append(entropy)
        elif kept and entropy < max(entropies):
            worst = int(np.argmax(entropies))
            kept[worst], entropies[worst] = xp.asarray(image, copy=True), entropy
        else:
            return False
        self.sums[label] = xp.sum(xp.stack(kept), axis=0)
        return True
