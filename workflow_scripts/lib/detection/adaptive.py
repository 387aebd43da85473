"""OOD scores that learn from the test images: they depend on the order of the stream."""

import numpy as np

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
        return adaptive + np.float32(weight) * plain

    def score(*arrays):
        steps = range(0, len(arrays[0]), STEP)
        return np.concatenate([score_step(*(a[s : s + STEP] for a in arrays)) for s in steps])

    return score


class _Proxies:
    """AdaNeg's memory of one side: the labels written to, their images and entropies."""

    def __init__(self, texts, places):
        self.texts = texts
        self.places = places
        self.images, self.entropies = {}, {}
        self.sums = {}  # of each label's images

    def adapt(self, images, sims, sure, temperature):
        """Write the sure images; returns every image's cosines [b, V] to the proxies of its time.

        sims: [b, V] cosines to the texts, which stay those of labels without images.
        """
        adapted = sims.T.copy()
        if self.sums:
            adapted[list(self.sums)] = self._proxies(list(self.sums)) @ images.T
        rows = np.flatnonzero(sure)
        nearest = sims[rows].argmax(axis=1)
        entropies = -entropy(sims[rows], temperature)
        written, proxies = [], [np.empty((0, images.shape[1]), np.float32)]
        for row, label, own in zip(rows.tolist(), nearest.tolist(), entropies, strict=True):
            if self._write(images[row], label, own):
                written.append((row, label))
                proxies.append(self._proxies([label]))
        cosines = np.concatenate(proxies) @ images.T
        for (row, label), from_now_on in zip(written, cosines, strict=True):
            adapted[label, row:] = from_now_on[row:]
        return adapted.T

    def _proxies(self, labels):
        both = self.texts[labels] + np.stack([self.sums[label] for label in labels])
        return both / np.linalg.norm(both, axis=1, keepdims=True)

    def _write(self, image, label, entropy):
        """Keep an image if there is room or another is less sure; returns whether it was kept."""
        kept = self.images.setdefault(label, [])
        entropies = self.entropies.setdefault(label, [])
        if len(kept) < self.places:
            kept.append(image.copy())
            entropies.append(entropy)
        elif kept and entropy < max(entropies):
            worst = int(np.argmax(entropies))
            kept[worst], entropies[worst] = image.copy(), entropy
        else:
            return False
        self.sums[label] = np.sum(kept, axis=0)
        return True
