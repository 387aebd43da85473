"""Embedding a stream of images: files are read and decoded by threads, ahead of the model.

With one thread and the model on the CPU, that thread does both in turn: a second one would compete
with the model for its core.
"""

import itertools
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from workflow_scripts.lib.images.decode import BadImage, open_rgb


def embed_stream(encoder, reads, threads=1):
    """Embed images.

    encoder: an `encoders.base.Encoder`. reads: iterable of functions that return what `open_rgb`
    takes; they run in `threads` threads.
    Returns (unit-norm embeddings, float16 [n, d], of the images that can be decoded, in order;
    number of every other image -> BadImage).
    """
    blocks, bad = [np.empty((0, encoder.dim), np.float16)], {}

    def load(read):
        try:
            return encoder.preprocess(open_rgb(read()))
        except BadImage as reason:
            return reason

    def decoded():
        ahead = 2 * encoder.batch_size
        alone = threads == 1 and encoder.on_cpu
        images = map(load, reads) if alone else prefetched(load, reads, threads, ahead)
        for number, image in enumerate(images):
            if isinstance(image, BadImage):
                bad[number] = image
            else:
                yield image

    for batch in batched(decoded(), encoder.batch_size):
        blocks.append(encoder.encode_images(torch.stack(batch)).astype(np.float16))
    return np.concatenate(blocks), bad


def prefetched(function, items, threads, ahead):
    """Map `function` over `items` in threads, in order, at most `ahead` results in advance."""
    pending = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def batched(items, size):
    """Lists of up to `size` consecutive items."""
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch
