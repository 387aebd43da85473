"""CLIP models from open_clip: loading with every silent fallback turned into an error, encoding.

Three things go wrong silently with open_clip and cannot here: a model with random weights, weights
run with the wrong activation (QuickGELU or GELU), and minutes of retries without a network.
"""

import contextlib
import difflib
import hashlib
import importlib.metadata
import importlib.util
import json
import logging
import math
import os
import sys
import types
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from workflow_scripts.lib.encoders.hub import NotInHub, hub_file
from workflow_scripts.lib.errors import InputError, reason
from workflow_scripts.lib.images.resize import fit

CONFIG_NAME = "open_clip_config.json"
WEIGHTS_NAME = "open_clip_model.safetensors"
HUB_WEIGHTS_NAME = "open_clip_pytorch_model.bin"  # older repositories of the model hub
TOKENIZER_NAMES = ["tokenizer.json", "tokenizer_config.json"]


class Encoder:
    """A CLIP model in evaluation mode; made by `load_encoder`.

    dim: length of an embedding. batch_size: texts, and by intent images, encoded at once.
    """

    def __init__(self, model, tokenizer, description, device, batch_size):
        self.model = model
        self.dim = description["dim"]
        self.batch_size = batch_size
        self._tokenizer = tokenizer
        self._description = description
        self._device = device
        self._input_dtype = input_dtype(description["precision"])
        self._fit = _fit_arguments(description)
        self._mean, self._std = (
            torch.tensor(description["preprocess"][key], device=device).view(3, 1, 1)
            for key in ("mean", "std")
        )

    def describe(self):
        """What made the embeddings, as a dict of builtin types; equal dicts mean equal encoders."""
        return dict(self._description)

    def preprocess(self, image):
        """An RGB PIL image resized and cropped as the model wants it, uint8 tensor [3, h, w].

        The pixels of open_clip's own preprocessing up to rounding, computed faster. Its conversion
        to float and normalisation run on whole batches, on the model's device.
        """
        return fit(image, **self._fit)

    @torch.inference_mode()
    def encode_images(self, batch):
        """Preprocessed images, uint8 [b, 3, h, w], to unit-norm embeddings, float32 [b, d]."""
        pixels = (batch.to(self._device).float() / 255 - self._mean) / self._std
        return self._unit(self.model.encode_image(pixels.to(self._input_dtype)))

    @torch.inference_mode()
    def encode_texts(self, texts):
        """A list of n strings to unit-norm embeddings, float32 [n, d].

        Not for an encoder loaded with `texts=False`.
        """
        embeddings = np.empty((len(texts), self.dim), np.float32)
        for start in range(0, len(texts), self.batch_size):
            stop = start + self.batch_size
            tokens = self._tokenizer(texts[start:stop]).to(self._device)
            embeddings[start:stop] = self._unit(self.model.encode_text(tokens))
        return embeddings

    def encode_prompts(self, prompts):
        """Embed V concepts, each given as a list of prompts, as float32 [V, d].

        e_j = norm(mean_p norm(g(p(t_j)))), the prompt ensemble of CLIP (arXiv 2103.00020).
        """
        flat = [prompt for group in prompts for prompt in group]
        return ensemble(self.encode_texts(flat), [len(group) for group in prompts])

    def _unit(self, features):
        features = features.float()
        norms = features.norm(dim=-1, keepdim=True)
        if not (torch.isfinite(norms) & (norms > 0)).all():
            precision = self._description["precision"]
            raise InputError(
                f"The encoder's embeddings are zero or not finite in {precision}: use fp32."
            )
        return (features / norms).cpu().numpy()


def ensemble(embeddings, counts):
    """Unit-norm means of consecutive groups of prompt embeddings.

    embeddings: unit-norm float32 [sum(counts), d]. counts: V group sizes, all positive.
    Returns float32 [V, d].
    """
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
    means = np.add.reduceat(embeddings, starts, axis=0) / np.asarray(counts)[:, None]
    return (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)


def load_encoder(cfg, threads=1, texts=True):
    """Load the model that the config block `cfg` describes.

    cfg keys:
        method: timm for an image model without texts (see `encoders_timm.load_timm`), else
            open_clip, with
        model, pretrained: an architecture of open_clip with a tag ("ViT-B-32-quickgelu" with
            "openai") or with a path of a weights file; or else
        checkpoint: a folder with open_clip_config.json and open_clip_model.safetensors.
        precision: fp32 (default), bf16 or fp16. device: auto (default), cpu or cuda.
        batch_size: default 256.
    threads: CPU threads of torch.
    texts: whether texts are to be encoded. If so the tokenizer is loaded, before any weights; if
        not, its files and package (SigLIP's is of transformers) need not be there. The
        description is the same.

    Local weights never touch the network. A tag is taken from the local cache, or downloaded.
    For tags the activation (QuickGELU) is checked against the one used in training; a weights
    file does not tell its activation, so for local weights only names and shapes are checked:
    choose a "-quickgelu" architecture where the weights need it. A weights file is preprocessed as
    the tags of its architecture are (our choice; open_clip would take CLIP's mean and crop).

    The description holds `logit_scale` and `logit_bias` (None but for SigLIP), as the model
    multiplies and shifts cosines by them: logit = logit_scale * cosine + logit_bias.
    Raises InputError.
    """
    local = "checkpoint" in cfg or Path(cfg.get("pretrained") or "").is_file()
    if local:
        os.environ["HF_HUB_OFFLINE"] = "1"  # read by huggingface_hub when open_clip imports it
    torch.set_num_threads(threads)
    device = _device(cfg.get("device", "auto"))
    if cfg.get("method") == "timm":
        from workflow_scripts.lib.encoders.timm import load_timm

        return load_timm(cfg, device)
    if "checkpoint" in cfg:
        source = _checkpoint_source(Path(cfg["checkpoint"]), texts)
    else:
        source = _model_source(cfg.get("model"), cfg.get("pretrained"), texts)
    precision = cfg.get("precision", "fp32")
    model = _create(source, precision, device)
    bias = getattr(model, "logit_bias", None)
    description = {
        **source["identity"],
        "dim": source["model_cfg"]["embed_dim"],
        "precision": precision,
        "quick_gelu": source["model_cfg"].get("quick_gelu", False),
        "preprocess": json.loads(json.dumps(model.visual.preprocess_cfg)),
        "logit_scale": math.exp(model.logit_scale.item()),
        "logit_bias": None if bias is None else bias.item(),
        "versions": {
            name: importlib.metadata.version(name) for name in ("open_clip_torch", "torch")
        },
    }
    return Encoder(model, source["tokenizer"], description, device, cfg.get("batch_size", 256))


def with_weights(cfg, files):
    """The config block `cfg` with its local paths, if any, replaced by where the files are.

    files: paths of the checkpoint folder's files or of the weights file; empty for a tag.
    """
    if files and "checkpoint" in cfg:
        return cfg | {"checkpoint": str(Path(files[0]).parent)}
    return cfg | {"pretrained": str(files[0])} if files else cfg


def _import_without_timm():
    """Import open_clip without timm, and torchvision without torch's compiler.

    A model of open_clip's own classes needs neither, and they are half of the five CPU seconds
    that loading takes in every job. Does nothing if one of them is imported already.
    """
    compiler = types.ModuleType("torch._dynamo.utils")
    compiler.is_compile_supported = lambda device: False  # all that torchvision asks of it
    absent = {"timm": None, "torch._dynamo": types.ModuleType("torch._dynamo")}
    absent["torch._dynamo.utils"] = compiler
    if absent.keys() & sys.modules.keys():
        return
    sys.modules.update(absent)
    try:
        import open_clip  # noqa: F401
    except (ImportError, AttributeError):  # other versions may need more: import all of it then
        for name in [n for n in sys.modules if n.split(".")[0] in ("open_clip", "torchvision")]:
            del sys.modules[name]
    finally:
        for name in absent:
            del sys.modules[name]


def input_dtype(precision):
    """The torch.dtype that a precision's images have, None for fp32. Raises InputError."""
    dtypes = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
    if precision not in dtypes:
        raise InputError(f"encoder precision {precision!r} must be fp32, bf16 or fp16.")
    return dtypes[precision]


def sha256_of(path):
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _device(name):
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("encoder device is cuda but torch sees no GPU: set device to auto or cpu.")
    return torch.device(name)


def _checkpoint_source(folder, texts):
    config, weights = folder / CONFIG_NAME, folder / WEIGHTS_NAME
    for file in (config, weights):
        if not file.is_file():
            raise InputError(
                f"Encoder checkpoint {folder}: {file.name} is missing; the folder must hold "
                f"{CONFIG_NAME} and {WEIGHTS_NAME}."
            )
    try:
        model_cfg = json.loads(config.read_text("utf-8"))["model_cfg"]
    except (ValueError, KeyError) as error:
        raise InputError(
            f"{config} is no open_clip config with a 'model_cfg' ({error!r})"
        ) from error
    if "timm" not in json.dumps(model_cfg):
        _import_without_timm()
    identity = {"model": folder.name, "pretrained": WEIGHTS_NAME, "sha256": sha256_of(weights)}
    name = f"local-dir:{folder}"
    return {
        "name": name,
        "model_cfg": model_cfg,
        "tokenizer": _load_tokenizer(name, model_cfg) if texts else None,
        "arguments": {},
        "identity": identity,
    }


def _model_source(model, pretrained, texts):
    import open_clip

    if not model or not pretrained:
        raise InputError(
            "An encoder needs 'model' and 'pretrained', or 'checkpoint': "
            "a model without weights has random embeddings."
        )
    model_cfg = open_clip.get_model_config(model) if ":" not in model else None
    if model_cfg is None:
        close = difflib.get_close_matches(model, open_clip.list_models(), n=3)
        raise InputError(
            f"open_clip has no model {model!r}; close names: {', '.join(close) or '-'}."
        )
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
        weights = _find_weights(model, pretrained, tag_cfg)
        arguments = {"pretrained": str(weights), "force_preprocess_cfg": tag_cfg}
    else:
        weights, pretrained = Path(pretrained), Path(pretrained).name
        arguments = {
            "pretrained": str(weights),
            "force_preprocess_cfg": _usual_preprocessing(model, weights),
        }
        logging.warning(
            "%s: the activation (QuickGELU or GELU) cannot be checked for a weights file", weights
        )
    return {
        "name": model,
        "model_cfg": model_cfg,
        "tokenizer": tokenizer,
        "arguments": arguments,
        "identity": {"model": model, "pretrained": pretrained, "sha256": sha256_of(weights)},
    }


def _check_activation(model, model_cfg, tag, tag_cfg):
    """open_clip 3 only warns when weights meet the wrong activation."""
    import open_clip

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
    import open_clip

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
    import open_clip

    text_cfg = model_cfg.get("text_cfg", {})
    theirs = text_cfg.get("hf_tokenizer_name")
    needs = theirs or text_cfg.get("hf_model_name")
    if needs and importlib.util.find_spec("transformers") is None:
        raise InputError(
            f"Encoder {name} has the tokenizer {needs!r}, which needs the package transformers: "
            "install it (pip install transformers), or choose an encoder with CLIP's tokenizer, "
            "see config/encoders.md."
        )
    folder = None
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
    except Exception as error:  # missing and malformed files fail in many ways
        where = f" from {folder} ({' and '.join(TOKENIZER_NAMES)})" if folder else ""
        raise InputError(
            f"Encoder {name}: its tokenizer cannot be loaded{where}: {reason(error)}"
        ) from error
    vocabulary = text_cfg.get("vocab_size", 49408)
    if getattr(tokenizer, "vocab_size", 0) > vocabulary:
        raise InputError(
            f"Encoder {name}: its tokenizer has {tokenizer.vocab_size} tokens but its text model "
            f"only {vocabulary}: set the tokenizer of its training in {CONFIG_NAME}."
        )
    return tokenizer


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
    import open_clip

    input_dtype(precision)
    name, arguments = source["name"], source["arguments"]
    try:
        return open_clip.create_model(
            name, precision=precision, device=device, require_pretrained=True, **arguments
        ).eval()
    except Exception as error:  # malformed configs and weights fail in many ways
        raise InputError(f"Encoder {name} cannot be loaded: {reason(error)}") from error


def _fit_arguments(description):
    """The description of a preprocessing as the arguments of `decoding.fit`."""
    preprocess = description["preprocess"]
    arguments = {
        "size": preprocess["size"],
        "mode": preprocess["resize_mode"] or "shortest",
        "interpolation": preprocess["interpolation"] or "bicubic",
        "fill": preprocess["fill_color"],
        "resize": description.get("resize_size"),
    }
    fit(Image.new("RGB", (1, 1)), **arguments)  # raises InputError now and not at the first image
    return arguments
