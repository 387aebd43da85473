"""How fast images reach a model: decoding by processes, with an encoder that costs next to nothing.

    .venv/bin/python tests/benchmarks/embedding.py [IMAGES]

Photos of 500 x 375 pixels (made here: noise on smooth colours, 50 kB each) become pixels of
224 x 224. CPU time does not depend on what else the machine does; from that of a process that
decodes and of the job's own process follows what more cores can feed. Then our preprocessing of one
image beside open_clip's, whose pixels it has. No test looks at these numbers.
"""

import io
import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from resource import RUSAGE_CHILDREN

import numpy as np
import torch
from open_clip import image_transform
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2]))

from machine import cpu_seconds, processor, used

from workflow_scripts.lib.encoders.stream import embedding
from workflow_scripts.lib.images.decode import open_rgb
from workflow_scripts.lib.images.resize import fit

TARGET_CORES, TARGET_RATE = 16, 10_000


class FakeEncoder:
    """Reads every batch once and embeds each image as its mean colour."""

    dim, batch_size, on_cpu = 3, 64, True
    preprocess = staticmethod(partial(fit, size=224))

    def image_features(self, batch):
        return batch[:, :, ::16, ::16].float().mean(dim=(2, 3))

    def unit(self, features):
        return features.numpy()


def photo(seed):
    """The bytes of a JPEG file."""
    rng = np.random.default_rng(seed)
    colours = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).resize((500, 375))
    pixels = np.asarray(colours) + rng.normal(0, 6, (375, 500, 1)) + rng.normal(0, 3, (375, 500, 3))
    content = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(content, "JPEG", quality=88)
    return content.getvalue()


def measured(reads, threads):
    """(images per second, CPU ms per image of the job's process, and of those that it started)."""
    own, others = used(), used(RUSAGE_CHILDREN)
    start = time.monotonic()
    with embedding(FakeEncoder(), threads) as embed:
        blocks, _ = embed(reads)
        for _ in blocks:
            pass
    seconds = time.monotonic() - start
    own, others = used() - own, used(RUSAGE_CHILDREN) - others
    return len(reads) / seconds, own / len(reads) * 1e3, others / len(reads) * 1e3


def preprocessing(paths):
    """Print the CPU time of our preprocessing and of open_clip's, decoding included."""
    theirs = image_transform(224, is_train=False)
    runs = {
        "open_clip": lambda: [theirs(Image.open(path)) for path in paths],
        "ours": lambda: [fit(open_rgb(path), 224).float() / 255 for path in paths],
    }
    seconds = {name: min(cpu_seconds(run) for _ in range(3)) for name, run in runs.items()}
    print("\n| preprocessing | CPU ms an image | of open_clip's |\n| --- | ---: | ---: |")
    for name, spent in seconds.items():
        ratio = spent / seconds["open_clip"]
        print(f"| {name} | {spent / len(paths) * 1e3:.2f} | {ratio:.2f} |")


def main(images):
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(400):
            Path(folder, f"{number}.jpg").write_bytes(photo(number))
        reads = [partial(Path, folder, f"{number % 400}.jpg") for number in range(images)]
        measured(reads[:400], 1)
        print(
            f"{images:,} images, torch {torch.__version__}; {processor()}, {os.cpu_count()} cores\n"
        )
        print("| processes | images/s | CPU ms an image: decoding | the job's own process |")
        print("| --- | --- | --- | --- |")
        for processes in (1, 2, 4, 8, 16):
            rate, own, others = measured(reads, processes)
            decoding = others if processes > 1 else own
            own = f"{own:.3f}" if processes > 1 else "the same"
            print(f"| {processes} | {rate:,.0f} | {decoding:.2f} | {own} |")
            if processes == 2:
                two = decoding, float(own)
        preprocessing([read() for read in reads[:200]])
    fed, taken = TARGET_CORES * 1e3 / two[0], 1e3 / two[1]
    print(
        f"\n{TARGET_CORES} cores feed {fed:,.0f} images/s, the job's own process takes {taken:,.0f}"
    )
    print(f"(wanted: {TARGET_RATE:,})\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 4000)
