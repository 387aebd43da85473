"""The tiny CLIP: the shipped checkpoint works as stated, and training writes such a checkpoint."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import open_clip
import torch
from PIL import Image
from safetensors.torch import load_file

from workflow_scripts.lib.demo import tinyclip, world

SHIPPED = Path(__file__).parents[3] / "config/demo/tinyclip"
STATED = {"id_concepts": 0.88, "compositions": 0.57}  # config/demo/README.md


def test_shipped_checkpoint_is_small_and_holds_half_precision():
    path = SHIPPED / "open_clip_model.safetensors"
    assert path.stat().st_size < 5_000_000
    assert {v.dtype for v in load_file(path).values()} <= {torch.float16, torch.int64}


def test_shipped_checkpoint_was_made_with_the_present_model_and_preprocessing():
    config = json.loads((SHIPPED / "open_clip_config.json").read_text(encoding="utf-8"))
    assert config == {"model_cfg": tinyclip.MODEL, "preprocess_cfg": tinyclip.PREPROCESS}


@torch.inference_mode()
def test_shipped_checkpoint_reaches_its_stated_accuracy_through_open_clip():
    """open_clip's own preprocessing and tokenizer, images as a user's files would come."""
    name = f"local-dir:{SHIPPED}"
    model, preprocess = open_clip.create_model_from_pretrained(name)
    tokenizer = open_clip.get_tokenizer(name)
    model.eval()
    concepts = world.id_concepts()
    texts = model.encode_text(
        tokenizer([f"a photo of a {world.concept_name(c)}." for c in concepts]), normalize=True
    )
    spec = {"content": "id", "images": 600, "seed": 987}
    names, pictures = zip(*world.render(spec), strict=True)
    images = torch.stack([preprocess(Image.fromarray(x)) for x in pictures])
    found = (model.encode_image(images, normalize=True) @ texts.T).argmax(1)
    right = np.mean(["_".join(concepts[j]) == n for j, n in zip(found, names, strict=True)])
    assert right == pytest.approx(STATED["id_concepts"], abs=0.06)


def test_zero_shot_accuracy_of_the_shipped_checkpoint():
    accuracy = tinyclip.zero_shot_accuracy(SHIPPED, images_per_concept=5, seed=4)
    assert accuracy["id_concepts"] == pytest.approx(STATED["id_concepts"], abs=0.07)
    assert accuracy["compositions"] == pytest.approx(STATED["compositions"], abs=0.07)


@pytest.mark.slow
def test_short_training_lowers_the_loss_and_repeats_itself(tmp_path):
    options = {"seed": 5, "steps": 12, "pool": 640}
    losses = tinyclip.train(tmp_path / "a", **options)
    assert tinyclip.train(tmp_path / "b", **options) == losses
    assert len(losses) == 12
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    files = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert files == ["open_clip_config.json", "open_clip_model.safetensors"]
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    accuracy = tinyclip.zero_shot_accuracy(tmp_path / "a", images_per_concept=1)
    assert set(accuracy) == {"id_concepts", "compositions"}
    assert all(0 <= value <= 1 for value in accuracy.values())


def test_captions_name_the_concept_in_its_own_or_other_words():
    rng = np.random.default_rng(0)
    captions = [
        tinyclip.write_caption(("striped", "red", "circle"), "crimson", rng) for _ in range(400)
    ]
    found = {w for c in captions for w in c.replace(".", " ").split()}
    words = {"striped", "banded", "red", "crimson", "circle", "disc"}
    templates = {w for t in tinyclip.TEMPLATES for w in t.replace(".", " ").split()}
    assert words <= found <= words | templates
    full = np.mean([sum(w in c for w in words) == 3 for c in captions])
    assert full == pytest.approx(1 - tinyclip.PARTIAL_SHARE, abs=0.08)


def test_captions_fit_the_context():
    longest = "a photo of the large checkered tangerine sandglass."
    tokens = open_clip.SimpleTokenizer(context_length=tinyclip.CONTEXT_LENGTH)([longest])
    assert (tokens == 49407).any()  # the end token is not cut off
    assert tokens[0, -1] == 0
