"""A tiny CLIP with random weights saved as a local checkpoint, for the tests of the encoders."""

import json
import os

os.environ["HF_HUB_OFFLINE"] = "1"

import open_clip
import torch
from safetensors.torch import save_file

MODEL_CFG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


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
