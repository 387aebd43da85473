"""Tiny models with random weights as local checkpoints, and pictures, for tests of encoders."""

import json
import os
import shutil

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import open_clip
import torch
from PIL import Image
from safetensors.torch import save_file

from workflow_scripts.lib.encoders.loading import load_encoder

MODEL_CFG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}

# The image model is timm's, as those of EVA02, SigLIP and PE are.
TOWER_CFG = MODEL_CFG | {
    "vision_cfg": {"timm_model_name": "test_vit", "timm_pool": "", "timm_proj": "linear",
                   "timm_model_pretrained": False, "image_size": 160},
}  # fmt: skip


def save_checkpoint(folder, seed=0, model_cfg=MODEL_CFG, scale=1.0):
    """Save open_clip_config.json and open_clip_model.safetensors; return the model.

    scale: factor on the projection of texts to their embeddings.
    """
    torch.manual_seed(seed)
    model = open_clip.CLIP(**model_cfg).eval()
    model.text_projection.data *= scale
    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_cfg": model_cfg, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return model


def save_tower(folder, text_cfg=MODEL_CFG["text_cfg"]):
    """Save a checkpoint whose image model is timm's; return the model."""
    model_cfg = TOWER_CFG | {"text_cfg": text_cfg}
    torch.manual_seed(0)
    built = json.loads(json.dumps(TOWER_CFG))  # open_clip changes it
    model = open_clip.CustomTextCLIP(**built).eval()
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": model_cfg | {"custom_text": True}, "preprocess_cfg": {}})
    )
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return model


def load(cfg, **options):
    """The encoder of a config block, of open_clip unless the block has another method."""
    return load_encoder({"method": "open_clip"} | cfg, **options)


def copy_checkpoint(tiny, folder):
    return shutil.copytree(tiny[0], folder / "copy")


def pictures(count):
    noise = np.random.default_rng(0).integers(0, 255, (count, 40, 50, 3), np.uint8)
    return [Image.fromarray(pixels) for pixels in noise]


def fill_cache(cache, repo):
    """An empty snapshot of a repository in a cache folder of the model hub."""
    root = cache / f"models--{repo.replace('/', '--')}"
    (root / "refs").mkdir(parents=True)
    (root / "refs/main").write_text("0" * 40)
    (root / "snapshots" / ("0" * 40)).mkdir(parents=True)
    return root / "snapshots" / ("0" * 40)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)
