"""What a billion images would take on graphics cards: operations that are counted, not measured.

    .venv/bin/python tests/benchmarks/plan.py

A plan: GPU-hours are the operations of the formula over the peak of a card times the share of it
that is reached, which is assumed. What must be read is said beside it, since a stage of few
operations waits for its disk.
"""

import math

GPU_FLOPS = 990e12  # a second; dense bfloat16 of one H100 SXM by its data sheet
SHARE = 0.4  # of it that is reached: assumed
N = 1_000_000_000  # images
K = 10_000  # clusters
WORDS = (20_000, 100_000)
POSITIVES, NEGATIVES = 10_000, 10_000  # words that images are scored with
HIDDEN, BOTTLENECK = 512, 256  # of TEMI's heads
PROBES = 32  # cells that are searched, of C = 4 sqrt(N), by the default
# Name: dimensions of an embedding, pixels of an image's side and a patch's, width, layers.
ENCODERS = {"ViT-B-16": (512, 224, 16, 768, 12), "ViT-L-14": (768, 224, 14, 1024, 24)}
D = ENCODERS["ViT-L-14"][0]  # of all stages after embedding
BY_ROWS, BY_BATCHES = "images (shards)", "images of a batch"


def forward(dim, side, patch, width, layers):
    """Operations that embed an image: patches, layers (24 T w^2 and 4 T^2 w each), projection."""
    patches = (side // patch) ** 2
    tokens = patches + 1
    layer = 24 * tokens * width**2 + 4 * tokens**2 * width
    return 2 * patches * 3 * patch**2 * width + layers * layer + 2 * width * dim


def temi(heads, pairs):
    """Operations of TEMI: a pair is two images, student there and back (6), teacher there (2)."""
    weights = D * HIDDEN + HIDDEN * BOTTLENECK + BOTTLENECK * K
    return pairs * heads * 2 * (6 + 2) * weights


def stages():
    """Rows: stage, what it scatters over, what is reduced, formula, operations, bytes read."""
    rows = 2 * N * D  # float16
    formula = "N (2 p 3 s^2 w + l (24 T w^2 + 4 T^2 w))"
    for name, sizes in ENCODERS.items():
        yield f"embedding, {name}", BY_ROWS, "nothing", formula, N * forward(*sizes), None
    for words in WORDS:
        operations = 2 * N * D * words
        stage = f"matching, {words:,} words"
        yield stage, BY_ROWS, "votes of clusters", "2 N d V", operations, rows
    passes = 20 + 1
    operations, reduced = 2 * N * D * K * passes, "sums of clusters, K d"
    yield "k-means, 20 iterations", BY_ROWS, reduced, "2 N d K 21", operations, passes * rows
    yield "neighbours for TEMI, exact", BY_ROWS, "nothing", "2 N^2 d", 2 * N**2 * D, None
    cells = 4 * math.isqrt(N)
    operations = 2 * N * D * (cells + PROBES * N // cells)
    yield "neighbours in near cells", BY_ROWS, "nothing", "2 N d (C + 32 N / C)", operations, None
    for heads, pairs, what in (
        (50, 100 * N, "50 heads, 100 epochs"),
        (16, 100_000 * 1024, "default: 16 heads, 100,000 steps of 1,024 pairs"),
    ):
        operations, formula = temi(heads, pairs), "16 pairs H (d h + h b + b K)"
        read = 2 * pairs * 2 * D
        yield f"TEMI, {what}", BY_BATCHES, "gradients", formula, operations, read
    texts = POSITIVES + NEGATIVES
    yield "scores, 20,000 words", BY_ROWS, "nothing", "2 N d V", 2 * N * D * texts, rows


def main():
    print(
        f"A plan for {N:,} images, d = {D} after embedding, K = {K:,}; {GPU_FLOPS / 1e12:,.0f} "
        f"TFLOP/s a card by its data sheet, of which {SHARE:.0%} are assumed:\n"
    )
    heads = "stage | scatters over | is reduced | operations | PFLOP | GPU-hours"
    print(f"| {heads} | TB of embeddings read |")
    print("| --- | --- | --- | --- | ---: | ---: | ---: |")
    for stage, axis, reduced, formula, operations, read in stages():
        hours = operations / (GPU_FLOPS * SHARE) / 3600
        told = f"{read / 1e12:,.1f}" if read else ""
        cells = f"{stage} | {axis} | {reduced} | {formula} | {operations / 1e15:,.0f}"
        print(f"| {cells} | {hours:,.2f} | {told} |")
    print()


if __name__ == "__main__":
    main()
