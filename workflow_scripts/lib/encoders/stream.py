"""Embedding a stream of images: files are read and decoded by processes, ahead of the model.

With one thread and the model on the CPU, the job's own process does both in turn: a second one
would compete with the model for its core. Processes rather than threads, which would wait for each
other's Python for a tenth of the time that an image needs. They write pixels into memory that they
share with the job's process, and send no more than a few words about them.
"""

import contextlib
import itertools
import mmap
import multiprocessing
import os
import threading
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial

import numpy as np
import torch
from PIL import Image

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images.decode import BadImage, open_rgb

PATIENCE_SECONDS = 600  # for a chunk that a process decodes; a disk may be slow, not so slow
CHUNK = 16  # images that a process decodes at a time: 2.4 MB at 224 x 224


@contextlib.contextmanager
def embedding(encoder, threads=1):
    """Yield a function that embeds images, and may be called again.

    encoder: an `encoders.base.Encoder`. The function takes an iterable of functions that return
    what `open_rgb` takes; where several threads are given, or a GPU, they are pickled and run in
    `threads` processes. It returns an iterator over blocks of unit-norm embeddings, float16 [b, d],
    of the images that can be decoded, in order; and a dict that gets the number of every other
    image -> BadImage meanwhile. They do not depend on the number of threads. The iterator raises
    InputError if a process is killed.
    """
    alone = threads == 1 and encoder.on_cpu
    ahead = 1 if alone else 2 * threads + 2
    slots = shared_slots(ahead, encoder.preprocess(Image.new("RGB", (1, 1))).shape)

    def embed(reads):
        jobs = zip(itertools.cycle(range(ahead)), batched(reads, CHUNK))
        if alone:
            chunks = (decode(slots, encoder.preprocess, job) for job in jobs)
        else:
            chunks = prefetched(partial(_decode, encoder.preprocess), jobs, pool, ahead)
        bad = {}
        return embed_chunks(encoder, chunks, slots, bad), bad

    with contextlib.nullcontext() if alone else decoders(threads, slots) as pool:
        yield embed


def embed_chunks(encoder, chunks, slots, bad):
    """Yield blocks of embeddings, as `embedding` says. chunks: what `decode` returns."""
    waiting = None  # on a GPU, a batch is embedded while the next is put together
    for batch in pixel_batches(chunks, slots, encoder.batch_size, bad, not encoder.on_cpu):
        started = encoder.image_features(batch)
        if waiting is not None:
            yield encoder.unit(waiting).astype(np.float16)
        waiting = started
    if waiting is not None:
        yield encoder.unit(waiting).astype(np.float16)


# ---- decoding -------------------------------------------------------------------------------


def shared_slots(number, shape):
    """Memory for the pixels of chunks, uint8 [number, CHUNK, *shape], shared with processes that
    are forked later. Anonymous, so that no limit of /dev/shm holds for it."""
    memory = mmap.mmap(-1, number * CHUNK * int(np.prod(shape)))
    return torch.frombuffer(memory, dtype=torch.uint8).view(number, CHUNK, *shape)


def decode(slots, preprocess, job):
    """Decode a chunk of images into a slot, those that can be decoded at its start.

    preprocess: function (RGB PIL image) -> uint8 tensor [3, h, w]. job: (number of the slot,
    functions as `embedding` takes them). Returns (number of the slot, for every image None or
    its BadImage).
    """
    slot, reads = job
    good, reasons = 0, []
    for read in reads:
        try:
            slots[slot, good] = preprocess(open_rgb(read()))
            reasons.append(None)
            good += 1
        except BadImage as reason:
            reasons.append(reason)
    return slot, reasons


def pixel_batches(chunks, slots, size, bad, pinned=False):
    """Yield batches of pixels, uint8 [size, 3, h, w], the last one of fewer.

    They lie in two buffers in turn: a batch is gone once the second one after it is asked for.
    chunks: what `decode` returns. bad: a dict that gets the number of every image without pixels
    -> its BadImage. pinned: whether a GPU copies from the buffers.
    """
    seen, filled = 0, 0
    new = partial(torch.empty, (size, *slots.shape[2:]), dtype=torch.uint8, pin_memory=pinned)
    buffers = deque([new(), new()])
    for slot, reasons in chunks:
        bad.update((seen + i, reason) for i, reason in enumerate(reasons) if reason is not None)
        seen += len(reasons)
        pixels = slots[slot, : reasons.count(None)]
        while len(pixels):
            taken = min(size - filled, len(pixels))
            buffers[0][filled : filled + taken] = pixels[:taken]
            pixels, filled = pixels[taken:], filled + taken
            if filled == size:
                yield buffers[0]
                buffers.rotate()
                filled = 0
    if filled:
        yield buffers[0][:filled]


# ---- processes ------------------------------------------------------------------------------


def decoders(processes, slots):
    """A pool of processes that run `_decode`."""
    # Forked: they have the slots, and none imports torch again.
    fork = multiprocessing.get_context("fork")
    return ProcessPoolExecutor(
        processes, mp_context=fork, initializer=_begin_decoding, initargs=(slots,)
    )


def _begin_decoding(slots):
    """One thread per process; a process ends with the job that it works for, even a killed one."""
    global _slots
    _slots = slots
    torch.set_num_threads(1)
    job = multiprocessing.parent_process()
    threading.Thread(target=lambda: (job.join(), os._exit(1)), daemon=True).start()


def _decode(preprocess, job):
    """`decode` in a process of a pool."""
    return decode(_slots, preprocess, job)


def prefetched(function, items, pool, ahead):
    """Map `function` over `items` in a pool, in order, at most `ahead` results in advance.

    Raises InputError if a process of the pool is killed, or takes more than PATIENCE_SECONDS.
    """
    pending = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= ahead:
                yield pending.popleft().result(PATIENCE_SECONDS)
        while pending:
            yield pending.popleft().result(PATIENCE_SECONDS)
    except TimeoutError as error:
        for process in list(pool._processes.values()):  # else the pool waits for them
            process.kill()
        raise InputError(
            f"a process that decodes images hangs, for {PATIENCE_SECONDS} s: look whether the disk "
            "or network that holds the images answers, and run again"
        ) from error
    except BrokenProcessPool as error:
        raise InputError(
            "a process that decodes images was killed, perhaps for lack of memory: give the job "
            "more, or the encoder fewer `threads`"
        ) from error


def batched(items, size):
    """Lists of up to `size` consecutive items."""
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch
