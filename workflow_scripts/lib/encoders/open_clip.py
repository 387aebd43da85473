"""CLIP models of open_clip: loading with every silent fallback turned into an error, encoding.

Three things go wrong silently with open_clip and cannot here: a model with random weights, weights
run with the wrong activation (QuickGELU or GELU), and minutes of retries without a network.
"""

import contextlib
import difflib
import importlib.metadata
import importlib.util
import json
import logging
import math
from pathlib import Path
from typing import NamedTuple

import open_clip
import torch

from workflow_scripts.lib.encoders.base import Encoder, check_weights, dtype_of, not_loaded
from workflow_scripts.lib.encoders.checkpoint import read_model_cfg
from workflow_scripts.lib.encoders.files import CONFIG_NAME, WEIGHTS_NAME, sha256_of
from workflow_scripts.lib.encoders.hub import NotInHub, hub_file
from workflow_scripts.lib.errors import InputError, reason

HUB_WEIGHTS_NAME = "open_clip_pytorch_model.bin"  # older repositories of the model hub
TOKENIZER_NAMES = ["tokenizer.json", "tokenizer_config.json"]


class OpenClipEncoder(Encoder):
    """An image and a text model; made by `load`."""

    def __init__(self, model, tokenizer, description, device, batch_size):
        """tokenizer: from a list of n strings to tokens, int [n, length]; None without texts."""
        super().__init__(model, description, device, batch_size)
        self._tokenizer = tokenizer

    def _image_features(self, pixels):
        return self.model.encode_image(pixels)

    def _text_features(self, texts):
        return self.model.encode_text(self._tokenizer(texts).to(self._device))


class Source(NamedTuple):
    """Where a model comes from.

    name: what open_clip calls it. weights: their file. model_cfg: its architecture. tokenizer: None
    without texts. arguments: those of open_clip.create_model that name the weights. identity:
    model, pretrained and sha256 (of the weights) of the description.
    """

    name: str
    weights: Path
    model_cfg: dict
    tokenizer: object
    arguments: dict
    identity: dict


def load(cfg, device, texts):
    """Load the CLIP model that the config block `cfg` describes; see `loading.load_encoder`.

    cfg keys:
        model, pretrained: an architecture of open_clip with a tag ("ViT-B-32-quickgelu" with
            "openai") or with a path of a weights file; or else
        checkpoint: a folder with open_clip_config.json and open_clip_model.safetensors.
    device: a torch.device. texts: whether to load the tokenizer.

    For tags the activation (QuickGELU) is checked against the one used in training; a weights
    file does not tell its activation, so for local weights only names and shapes are checked:
    choose a "-quickgelu" architecture where the weights need it. A weights file is preprocessed as
    the tags of its architecture are (our choice; open_clip would take CLIP's mean and crop).

    The description holds `logit_scale` and `logit_bias` (None but for SigLIP), as the model
    multiplies and shifts cosines by them: logit = logit_scale * cosine + logit_bias.
    Raises InputError.
    """
    if "checkpoint" in cfg:
        source = _checkpoint_source(Path(cfg["checkpoint"]), texts)
    else:
        source = _model_source(cfg.get("model"), cfg.get("pretrained"), texts)
    precision = cfg.get("precision", "fp32")
    model = _create(source, precision, device)
    description = _describe(source, model, precision)
    return OpenClipEncoder(model, source.tokenizer, description, device, cfg.get("batch_size", 256))


def _describe(source, model, precision):
    bias = getattr(model, "logit_bias", None)
    return {
        **source.identity,
        "dim": source.model_cfg["embed_dim"],
        "precision": precision,
        "quick_gelu": source.model_cfg.get("quick_gelu", False),
        "preprocess": json.loads(json.dumps(model.visual.preprocess_cfg)),
        "logit_scale": math.exp(model.logit_scale.item()),
        "logit_bias": None if bias is None else bias.item(),
        "versions": {
            name: importlib.metadata.version(name) for name in ("open_clip_torch", "torch")
        },
    }


def _checkpoint_source(folder, texts):
    config, weights = folder / CONFIG_NAME, folder / WEIGHTS_NAME
    for file in (config, weights):
        if not file.is_file():
            raise InputError(
                f"Encoder checkpoint {folder}: {file.name} is missing; the folder must hold "
                f"{CONFIG_NAME} and {WEIGHTS_NAME}."
            )
    model_cfg = read_model_cfg(folder)
    identity = {"model": folder.name, "pretrained": WEIGHTS_NAME, "sha256": sha256_of(weights)}
    name = f"local-dir:{folder}"
    tokenizer = _load_tokenizer(name, model_cfg) if texts else None
    return Source(name, weights, model_cfg, tokenizer, {}, identity)


def _model_source(model, pretrained, texts):
    if not model or not pretrained:
        raise InputError(
            "An encoder needs 'model' and 'pretrained', or 'checkpoint': "
            "a model without weights has random embeddings."
        )
    model_cfg = _architecture(model)
    tag_cfg = open_clip.get_pretrained_cfg(model, pretrained)
    if tag_cfg:
        _check_activation(model, model_cfg, pretrained, tag_cfg)
    elif not Path(pretrained).is_file():
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(model)) or "none"
        raise InputError(
            f"pretrained: {pretrained!r} is neither a file nor a tag of {model} (tags: {tags})."
        )
    tokenizer = _load_tokenizer(model, model_cfg) if texts else None  # before gigabytes of weights
    if tag_cfg:
        weights, preprocessing = _find_weights(model, pretrained, tag_cfg), tag_cfg
    else:
        weights, pretrained = Path(pretrained), Path(pretrained).name
        preprocessing = _usual_preprocessing(model, weights)
        logging.warning(
            "%s: the activation (QuickGELU or GELU) cannot be checked for a weights file", weights
        )
    arguments = {"pretrained": str(weights), "force_preprocess_cfg": preprocessing}
    identity = {"model": model, "pretrained": pretrained, "sha256": sha256_of(weights)}
    return Source(model, weights, model_cfg, tokenizer, arguments, identity)


def _architecture(model):
    """open_clip's config of a model that it names itself, not one of a hub ("hf-hub:...")."""
    model_cfg = open_clip.get_model_config(model) if ":" not in model else None
    if model_cfg is None:
        close = difflib.get_close_matches(model, open_clip.list_models(), n=3)
        raise InputError(
            f"open_clip has no model {model!r}; close names: {', '.join(close) or '-'}."
        )
    return model_cfg


def _check_activation(model, model_cfg, tag, tag_cfg):
    """open_clip 3 only warns when weights meet the wrong activation."""
    model_quick, tag_quick = model_cfg.get("quick_gelu", False), tag_cfg.get("quick_gelu", False)
    if model_quick != tag_quick:
        other = model.removesuffix("-quickgelu") if model_quick else f"{model}-quickgelu"
        hint = f"use model {other!r}" if other in open_clip.list_models() else "use another tag"
        raise InputError(
            f"QuickGELU mismatch: {tag!r} was trained with quick_gelu={tag_quick}, but {model!r} "
            f"has quick_gelu={model_quick}, so all embeddings would be wrong: {hint}."
        )


def _usual_preprocessing(model, weights):
    """The preprocessing that all tags of a model share, for weights that come without a tag.

    open_clip would take CLIP's, which is wrong for SigLIP, PE and some weights of DFN.
    """
    tags = open_clip.list_pretrained_tags_by_model(model)
    keys = ("mean", "std", "interpolation", "resize_mode")
    known = [
        {key: cfg[key] for key in keys}
        for cfg in (open_clip.get_pretrained_cfg(model, tag) for tag in tags)
    ]
    if any(other != known[0] for other in known):
        logging.warning(
            "%s: the tags of %s differ in their preprocessing; CLIP's is taken. Use a 'checkpoint' "
            "folder, whose %s states it, if that is wrong.", weights, model, CONFIG_NAME,
        )  # fmt: skip
        return None
    return known[0] if known else None


def _find_weights(model, tag, tag_cfg):
    """Path of a tag's weights: from the local cache of the model hub, or else downloaded."""
    repo, _, name = tag_cfg["hf_hub"].rpartition("/")
    names = [f"{Path(name).stem}.safetensors", name] if name else [WEIGHTS_NAME, HUB_WEIGHTS_NAME]
    what = f"The weights of {model} with tag {tag!r}"
    return hub_file(repo, names, what, "set 'pretrained' to a weights file")


def _load_tokenizer(name, model_cfg):
    """open_clip's tokenizer for a model; SigLIP's and some others' are those of transformers."""
    text_cfg = model_cfg.get("text_cfg", {})
    needs = text_cfg.get("hf_tokenizer_name") or text_cfg.get("hf_model_name")
    if needs and importlib.util.find_spec("transformers") is None:
        raise InputError(
            f"Encoder {name} has the tokenizer {needs!r}, which needs the package transformers: "
            "install it (pip install transformers), or choose an encoder with CLIP's tokenizer, "
            "see config/encoders.md."
        )
    tokenizer = _tokenizer(name, text_cfg)
    vocabulary = text_cfg.get("vocab_size", 49408)
    if getattr(tokenizer, "vocab_size", 0) > vocabulary:
        raise InputError(
            f"Encoder {name}: its tokenizer has {tokenizer.vocab_size} tokens but its text model "
            f"only {vocabulary}: set the tokenizer of its training in {CONFIG_NAME}."
        )
    _warn_of_capitals(name, needs, tokenizer)
    return tokenizer


def _warn_of_capitals(name, tokenizer_name, tokenizer):
    """SigLIP was trained on lower case; open_clip's own config says so, a folder's may not."""
    if "siglip" not in (tokenizer_name or "").lower():
        return
    if not torch.equal(tokenizer(["A Red FOX"]), tokenizer(["a red fox"])):
        logging.warning(
            "%s: the texts of SigLIP were lower case without punctuation, but its tokenizer keeps "
            'capitals, so names with capitals get other embeddings: set "tokenizer_kwargs": '
            '{"clean": "canonicalize"} in text_cfg of %s.', name, CONFIG_NAME,
        )  # fmt: skip


def _tokenizer(name, text_cfg):
    folder = None
    theirs = text_cfg.get("hf_tokenizer_name")
    if theirs:  # as open_clip does, but from files: transformers retries for minutes without them
        local = name.startswith("local-dir:")
        folder = name.removeprefix("local-dir:") if local else _tokenizer_folder(name, theirs)
    try:
        if not folder:
            tokenizer = open_clip.get_tokenizer(name)
        else:
            tokenizer = open_clip.tokenizer.HFTokenizer(
                folder,
                context_length=text_cfg.get("context_length", 77),
                tokenizer_mode=text_cfg.get("tokenizer_mode"),
                local_files_only=True,
                **text_cfg.get("tokenizer_kwargs", {}),
            )
        tokenizer(["a fox"])  # damaged files may fail only now
        return tokenizer
    except Exception as error:  # missing and malformed files fail in many ways
        files = f"{folder} ({' and '.join(TOKENIZER_NAMES)})" if folder else CONFIG_NAME
        raise InputError(
            f"Encoder {name}: its tokenizer cannot be loaded from {files}: {reason(error)}; copy "
            f"it again, or set text_cfg in {CONFIG_NAME} as in its training"
        ) from error


def _tokenizer_folder(name, repo):
    """Folder with a tokenizer's files, in the local cache of the model hub."""
    what = f"The tokenizer of {name}"
    remedy = f"put it into a 'checkpoint' folder with {CONFIG_NAME} and {WEIGHTS_NAME}"
    # Not all repositories have it. First, so that a cache with the others was asked for it too.
    with contextlib.suppress(NotInHub):
        hub_file(repo, ["special_tokens_map.json"], what, remedy)
    files = [hub_file(repo, [file], what, remedy) for file in TOKENIZER_NAMES]
    return str(files[0].parent)


def _create(source, precision, device):
    dtype_of(precision)  # raises InputError before the weights are read
    try:
        model = open_clip.create_model(
            source.name,
            precision=precision,
            device=device,
            require_pretrained=True,
            **source.arguments,
        ).eval()
    except Exception as error:  # malformed configs and weights fail in many ways
        config = f" by its {CONFIG_NAME}" if source.name.startswith("local-dir:") else ""
        raise not_loaded(source.name, f"{source.weights}{config}", error) from error
    check_weights(model, source.weights, precision)
    return model
