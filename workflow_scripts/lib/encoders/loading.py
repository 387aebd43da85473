"""Loading the encoder of a config block: its method names the module that knows how."""

import os
from importlib import import_module
from pathlib import Path

import torch

from workflow_scripts.lib.device import torch_device
from workflow_scripts.lib.encoders.hub import PINS
from workflow_scripts.lib.errors import InputError

PINNED = "results/weights"  # where a project notes the SHA-256 of what it downloaded


def load_encoder(cfg, threads=1, texts=True, pins=None):
    """Load the model that the config block `cfg` describes; an `encoders.base.Encoder`.

    cfg keys:
        method: open_clip, or timm for an image model without texts. The other keys are those of
            `load` in the module of that name, and for both
        precision: fp32 (default), bf16 or fp16. device: auto (default), cpu or cuda.
        batch_size: default 256.
    threads: CPU threads of torch.
    texts: whether texts are to be encoded. If so the tokenizer is loaded, before any weights; if
        not, its files and package (SigLIP's is of transformers) need not be there. The
        description is the same.
    pins: folder with the SHA-256 of all files that were downloaded for a tag, written when a file
        is first used; another content is an error from then on. None: none is compared.

    Local weights never touch the network. A tag is taken from the local cache, or downloaded.
    Raises InputError.
    """
    if "checkpoint" in cfg or Path(cfg.get("pretrained") or "").is_file():
        os.environ["HF_HUB_OFFLINE"] = "1"  # huggingface_hub reads it when it is imported
    PINS.set(pins)
    torch.set_num_threads(threads)
    device = _device(cfg.get("device", "auto"))
    # Loaded by name, so that the code digest of a job covers the module of its method alone.
    return import_module(f"workflow_scripts.lib.encoders.{cfg['method']}").load(cfg, device, texts)


def with_weights(cfg, files):
    """The config block `cfg` with its local paths, if any, replaced by where the files are.

    files: paths of the checkpoint folder's files or of the weights file; empty for a tag.
    """
    if files and "checkpoint" in cfg:
        return cfg | {"checkpoint": str(Path(files[0]).parent)}
    return cfg | {"pretrained": str(files[0])} if files else cfg


def _device(name):
    device = torch_device()
    if name == "cuda" and device.type == "cpu":
        raise InputError("encoder device is cuda but torch sees no GPU: set device to auto or cpu.")
    return device if name == "auto" else torch.device(name)
