"""The files on disk that an encoder's config block names; nothing here loads a model."""

import functools
import hashlib
from pathlib import Path

from workflow_scripts.lib.sources import times_of

CONFIG_NAME = "open_clip_config.json"
WEIGHTS_NAME = "open_clip_model.safetensors"
# How a weights file's name ends, if it has no slash to tell it from a tag.
WEIGHTS_ENDINGS = (".safetensors", ".pt", ".pth", ".bin")
# What tokenizers of transformers are read from, in a checkpoint folder.
TOKENIZER_PATTERNS = (
    "tokenizer*", "special_tokens_map.json", "added_tokens.json", "spiece.model", "vocab.*",
    "merges.txt",
)  # fmt: skip


def sha256_of(path):
    """SHA-256 of a file, in hexadecimal digits. A file that did not change is read once."""
    return _sha256(str(path), times_of(Path(path).stat()))


@functools.cache
def _sha256(path, times):
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_weights_file(pretrained):
    """Whether `pretrained` is a file on disk, by a slash or its ending; else it is a tag."""
    return "/" in pretrained or pretrained.endswith(WEIGHTS_ENDINGS)


def weights_file(encoder):
    """The weights file on disk that an encoder's config block names, or None."""
    pretrained = encoder.get("pretrained", "")
    return pretrained if is_weights_file(pretrained) else None


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
