"""A tiny CLIP for the demo world, trained from scratch in about two minutes on one CPU thread.

open_clip's own model class (ModifiedResNet and text transformer), tokenizer with the standard CLIP
vocabulary, and contrastive loss (Radford et al. 2021, figure 3), so that every public open_clip
call works on the result and any word can be embedded. Words that no caption held keep embeddings
without meaning. The sizes, captions and schedule are our choice.
"""

import json
import logging
import math
from pathlib import Path

import numpy as np
import open_clip
import torch
from open_clip.loss import ClipLoss
from safetensors.torch import save

from workflow_scripts.lib.artifacts import write_text
from workflow_scripts.lib.demo import drawing, world
from workflow_scripts.lib.job import progress
from workflow_scripts.lib.replacing import replacing

CONTEXT_LENGTH = 16
MODEL = {
    "embed_dim": 64,
    "vision_cfg": {
        "image_size": drawing.SIZE,
        "layers": [1, 1, 1, 1],
        "width": 8,
        "patch_size": None,
    },
    "text_cfg": {
        "context_length": CONTEXT_LENGTH,
        "vocab_size": 49408,
        "width": 32,
        "heads": 2,
        "layers": 2,
    },
}
MEAN, STD = 0.5, 0.25
PREPROCESS = {
    "size": drawing.SIZE,
    "mode": "RGB",
    "mean": [MEAN] * 3,
    "std": [STD] * 3,
    "interpolation": "bicubic",
    "resize_mode": "shortest",
    "fill_color": 0,
}
CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"

TEMPLATES = (
    "a {}",
    "a photo of a {}.",
    "a photo of a {}.",
    "a blurry photo of a {}.",
    "a photo of many {}.",
    "a photo of the large {}.",
    "a photo of the small {}.",
    "the nice {}",
    "This is a {} photo",
)
SYNONYM_SHARE = 0.15  # of captions, for the texture and for the shape
SHADE_SHARE = 0.3  # of captions name the shade instead of the colour
PARTIAL_SHARE = 0.1  # of captions leave out the texture, the colour or both
PLAIN_STEPS = 0.6  # share of the steps with one plain caption, before captions in all variety
WARM_UP = 60  # steps
GRIDS = ((4, 4, 5), (2, 4, 9))  # textures, colours and shapes of a batch, in turn

# Images without an object, one of each kind in every batch, and what they are called.
OBJECT_FREE_WORDS = {
    "textures": ("texture", "pattern", "fabric", "carpet"),
    "noise": ("noise", "mosaic", "gravel", "confetti"),
    "gradients": ("gradient", "sky", "fog", "sunset"),
}


def plain_caption(concept):
    """The full name in the most usual sentence."""
    return f"a photo of a {world.concept_name(concept)}."


def write_caption(concept, shade, rng):
    """A caption as people write them: synonyms, shade words, words left out.

    concept: (texture, colour, shape); shade: the word of the shade that was drawn.
    """
    texture, colour, shape = concept
    if rng.random() < SHADE_SHARE:
        colour = shade
    if rng.random() < SYNONYM_SHARE:
        texture = world.SYNONYMS[texture]
    if rng.random() < SYNONYM_SHARE:
        shape = world.SYNONYMS[shape]
    words = [texture, colour, shape]
    if rng.random() < PARTIAL_SHARE:
        words = [[texture, shape], [colour, shape], [shape]][rng.integers(3)]
    return TEMPLATES[rng.integers(len(TEMPLATES))].format(" ".join(words))


def _render_pool(images, seed):
    """Training images of all 576 compositions in turn: uint8 [N, 3, 64, 64], shade words."""
    concepts = world.compositions()
    pool = np.empty((images, 3, drawing.SIZE, drawing.SIZE), np.uint8)
    shades = []
    for i in range(images):
        rng = np.random.default_rng([seed, i])
        texture, colour, shape = concepts[i % len(concepts)]
        shade, rgb = drawing.pick_shade(colour, rng)
        pool[i] = drawing.to_uint8(drawing.draw_object(texture, rgb, shape, rng))
        shades.append(shade)
    return pool, shades


def _render_object_free(images, seed):
    """Training images of each kind without an object: uint8 [kinds, images, 3, 64, 64]."""
    pool = np.empty((len(drawing.OBJECT_FREE), images, 3, drawing.SIZE, drawing.SIZE), np.uint8)
    for kind, draw in enumerate(drawing.OBJECT_FREE.values()):
        for i in range(images):
            pool[kind, i] = drawing.to_uint8(draw(np.random.default_rng([seed, kind, i])))
    return pool


def _normalise(pixels):
    """uint8 [B, 3, 64, 64] -> the float32 input of the image tower."""
    return (torch.from_numpy(pixels).float() / 255 - MEAN) / STD


def _new_model(folder):
    """The untrained model, and its config file in `folder`."""
    write_text(
        folder / CONFIG_FILE,
        json.dumps({"model_cfg": MODEL, "preprocess_cfg": PREPROCESS}, indent=2) + "\n",
    )
    name = "clustermine_tiny"
    architecture = folder / f"{name}.json"
    try:
        write_text(architecture, json.dumps(MODEL))
        open_clip.add_model_config(architecture)
        return open_clip.create_model(name)
    finally:
        architecture.unlink(missing_ok=True)


def _optimiser(model, lr):
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    rest = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98), fused=True)


def _related_compositions(concepts, grid, rng):
    """Indices of one batch: a random grid of some textures x colours x shapes.

    Random compositions mostly differ in several words, so that learning one would do. In a grid
    every image has neighbours that differ from it in one word only.
    """
    words = (drawing.TEXTURES, list(drawing.COLOURS), list(drawing.SHAPES))
    chosen = [rng.choice(w, n, replace=False) for w, n in zip(words, grid, strict=True)]
    inside = [all(w in c for w, c in zip(concept, chosen, strict=True)) for concept in concepts]
    return np.flatnonzero(inside)


def _save(model, path):
    """Half-precision safetensors without the buffers that open_clip builds itself."""
    weights = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in model.state_dict().items()
        if not name.endswith("attn_mask")
    }
    with replacing(path) as temporary:
        temporary.write_bytes(save(weights))


def _batches(steps, pool, seed):
    """Iterate over the batches, one per step: images uint8 [B, 3, 64, 64] and their B captions."""
    concepts = world.compositions()
    rng = np.random.default_rng(seed)
    logging.info("rendering %d training images", pool)
    pixels, shades = _render_pool(pool, seed)
    object_free = _render_object_free(pool // 24, seed)
    for step in range(steps):
        plain = step < PLAIN_STEPS * steps
        chosen = _related_compositions(concepts, GRIDS[step % 2], rng)
        # image i of the pool shows composition i modulo 576
        rows = chosen + len(concepts) * rng.integers(0, (pool - 1 - chosen) // len(concepts) + 1)
        captions = [
            plain_caption(concepts[c]) if plain else write_caption(concepts[c], shades[i], rng)
            for c, i in zip(chosen, rows, strict=True)
        ]
        captions += [f"a photo of a {rng.choice(words)}." for words in OBJECT_FREE_WORDS.values()]
        others = object_free[range(len(object_free)), rng.integers(0, object_free.shape[1])]
        yield np.concatenate([pixels[rows], others]), captions


def _learning_rate(peak, step, steps):
    """A cosine schedule with linear warm-up."""
    return peak * min(1, (step + 1) / WARM_UP) * (0.5 + 0.5 * math.cos(math.pi * step / steps))


def train(folder, seed=0, steps=1100, pool=12_000, lr=3e-3):
    """Train on rendered images of all 18 shapes and write an open_clip folder.

    A real CLIP has seen far more than one data set, so the shapes that later play OOD are in the
    training data as well. The batches hold related compositions (`_related_compositions`). Files:
    open_clip_config.json and open_clip_model.safetensors (float16, 4 MB), for
    `open_clip.create_model_from_pretrained("local-dir:FOLDER")`.

    steps: optimiser steps; pool: images rendered, at least 576; lr: the peak of a cosine schedule
    with WARM_UP steps of warm-up. Returns the training loss of every step, [steps].
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    tokenizer = open_clip.SimpleTokenizer(context_length=CONTEXT_LENGTH)
    model = _new_model(folder).to(memory_format=torch.channels_last).train()
    optimiser = _optimiser(model, lr)
    contrastive_loss = ClipLoss()

    losses = []
    for step, (pixels, captions) in enumerate(progress(_batches(steps, pool, seed), total=steps)):
        for group in optimiser.param_groups:
            group["lr"] = _learning_rate(lr, step, steps)
        images = _normalise(pixels).to(memory_format=torch.channels_last)
        loss = contrastive_loss(*model(images, tokenizer(captions)))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        losses.append(loss.item())
        if (step + 1) % 100 == 0:
            logging.info("step %d/%d loss %.3f", step + 1, steps, np.mean(losses[-100:]))
    _save(model, folder / WEIGHTS_FILE)
    return losses


@torch.inference_mode()
def _encode_texts(model, concepts):
    tokenizer = open_clip.SimpleTokenizer(context_length=CONTEXT_LENGTH)
    tokens = tokenizer([plain_caption(concept) for concept in concepts])
    return model.encode_text(tokens, normalize=True)


@torch.inference_mode()
def zero_shot_accuracy(folder, images_per_concept=10, seed=12345):
    """Zero-shot accuracy of a checkpoint on fresh renders, read back through open_clip.

    Returns {"id_concepts": ID images against the 60 ID names, "compositions": images of all 576
    compositions against all 576 names}; shares of images, chance is 1/60 and 1/576.
    """
    model, _ = open_clip.create_model_from_pretrained(f"local-dir:{Path(folder).resolve()}")
    model.eval()
    accuracy = {}
    for key, concepts, repeats in (
        ("id_concepts", world.id_concepts(), images_per_concept),
        ("compositions", world.compositions(), max(1, images_per_concept // 5)),
    ):
        texts = _encode_texts(model, concepts)
        right = 0
        for i, concept in enumerate(concepts):
            rng = np.random.default_rng([seed, i])
            shots = [drawing.draw_concept(concept, rng) for _ in range(repeats)]
            images = model.encode_image(
                _normalise(drawing.to_uint8(np.stack(shots))), normalize=True
            )
            right += int(((images @ texts.T).argmax(1) == i).sum())
        accuracy[key] = right / (len(concepts) * repeats)
    return accuracy
