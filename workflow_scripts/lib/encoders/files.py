"""The files on disk that an encoder's config block names; nothing here loads a model."""

from pathlib import Path

from workflow_scripts.lib.config import weights_file

CONFIG_NAME = "open_clip_config.json"
WEIGHTS_NAME = "open_clip_model.safetensors"
# What tokenizers of transformers are read from, in a checkpoint folder.
TOKENIZER_PATTERNS = (
    "tokenizer*", "special_tokens_map.json", "added_tokens.json", "spiece.model", "vocab.*",
    "merges.txt",
)  # fmt: skip


def weights_files(encoder, located):
    """The weights file, or weights and config of a checkpoint folder; none for a pretrained tag.

    encoder: a config block. located: function that tells where a path of the config is.
    """
    if "checkpoint" in encoder:
        folder = located(encoder["checkpoint"])
        return [f"{folder}/{WEIGHTS_NAME}", f"{folder}/{CONFIG_NAME}"]
    file = weights_file(encoder)
    return [located(file)] if file else []


def tokenizer_files(encoder, located):
    """The tokenizer's files in a checkpoint folder that has a tokenizer of its own, sorted."""
    if "checkpoint" not in encoder:
        return []
    folder = Path(located(encoder["checkpoint"]))
    return sorted({str(path) for pattern in TOKENIZER_PATTERNS for path in folder.glob(pattern)})
